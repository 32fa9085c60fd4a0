"""An api that answers what it is told to, and remembers what it was asked."""

import http.server
import json
import threading
from contextlib import contextmanager


class SmallApi:
    """`answers` by path: a status and a body."""

    def __init__(self, url):
        self.url, self.answers, self.asked = url, {}, []

    def tell(self, path, body, status=200):
        self.answers[path] = (status, json.dumps(body).encode() if not isinstance(body, bytes) else body)


@contextmanager
def small_api():
    """A running one."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            length = int(self.headers.get("Content-Length") or 0)
            api.asked.append((self.command, self.path, dict(self.headers), self.rfile.read(length)))
            status, body = api.answers[self.path]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    api = SmallApi(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=lambda: server.serve_forever(0.01), daemon=True).start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
