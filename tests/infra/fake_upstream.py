"""A server in the place of the api, which keeps what it is asked and answers, or breaks off, as it is set to."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec


class Asked(msgspec.Struct, frozen=True):
    """A request as it arrived; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]


class FakeUpstream:
    """Answers readiness with 200 and all else with `status`; the first `broken` requests get no answer at all."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.status = 200
        self.broken = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def reset(self) -> None:
        """As new."""
        self.asked, self.status, self.broken = [], 200, 0

    def stop(self) -> None:
        """No more answers."""
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                ready = self.path.partition("?")[0] == "/health/ready"
                if not ready:
                    headers = {name.lower(): value for name, value in self.headers.items()}
                    upstream.asked.append(Asked(self.command, self.path, headers))
                    if len(upstream.asked) <= upstream.broken:
                        return
                # As an api whose store is away: it is ready for predictions, and that is what the edge has to ask.
                without_store = ready and "X-Attempt-Id" not in self.headers and self.path == "/health/ready"
                self.send_response(503 if without_store else 200 if ready else upstream.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST = do_PATCH = answer

            def log_message(self, *_arguments: object) -> None:
                """Nothing."""

        return Handler
