"""An API that gives the answers it was set up with, and records the requests it got."""

import http.server
import json
import threading
from contextlib import contextmanager


class SmallApi:
    """`answers`: a status and a body for each path. `asked`: method, path, headers and body of each request."""

    def __init__(self, url):
        self.url, self.answers, self.asked = url, {}, []

    def answer(self, path, body, status=200):
        self.answers[path] = (status, json.dumps(body).encode() if not isinstance(body, bytes) else body)


@contextmanager
def small_api(delay_s=0.0):
    """A running `SmallApi`, which answers after `delay_s` seconds."""
    closing = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            length = int(self.headers.get("Content-Length") or 0)
            api.asked.append((self.command, self.path, dict(self.headers), self.rfile.read(length)))
            closing.wait(delay_s)
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
        closing.set()
        server.shutdown()
        server.server_close()
