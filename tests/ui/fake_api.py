"""A small api for the pages: canned answers over real HTTP, in this process."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl


class FakeApi:
    """Answers `routes`: path -> body, (status, body), or a function of the request's body. The rest is 404.

    `port` is one on which another of these has stopped; 0 for any.
    """

    def __init__(self, routes, port=0):
        self.routes = dict(routes)
        self.calls = []
        self.asked = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16  # head and body in one packet: apart they wait 40 ms for each other

            def _answer(self):
                if not fake._up:  # a connection from before it was stopped
                    self.close_connection = True
                    return
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path, _, query = self.path.partition("?")
                fake.asked.append((path, dict(parse_qsl(query))))
                body = raw.decode() if self.headers.get("Content-Type") == "text/csv" else json.loads(raw or "null")
                fake.calls.append((self.command, path, body, dict(self.headers)))
                found = fake.routes.get(path, (404, {"error": {"code": "not_found", "message": f"no {path} here"}}))
                if callable(found):
                    found = found(fake.calls[-1][2])
                status, body = found if isinstance(found, tuple) else (200, found)
                content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PATCH = _answer

            def log_message(self, *_):
                """Nothing."""

        self._up = True
        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self):
        """Nothing answers any more. Kept connections are dropped by the client's next call."""
        if self._up:
            self._up = False
            self._server.shutdown()
            self._server.server_close()
            self.routes = {}
            from app.ui import session

            session.client()._http._reads.close()
            session.client()._http._writes.close()

    def paths(self):
        """What was asked, in order."""
        return [path for _, path, _, _ in self.calls]

    def queries(self, path):
        """The query parameters of the calls of `path`, in order."""
        return [query for asked, query in self.asked if asked == path]

    def sent(self, path):
        """The bodies that were sent to `path`."""
        return [body for _, called, body, _ in self.calls if called == path and body is not None]
