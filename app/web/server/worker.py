"""gunicorn's threaded worker, hardened against slow clients and overload, and drained by a file.

In gunicorn's own, a connection that sends nothing holds a thread for five seconds, and one that sends half a request
holds it for ever: a few dozen of them stop the service. The decision and its limits: docs/adr/0014-overload.md.
"""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path
from typing import Any

from gunicorn.http.errors import (
    ExpectationFailed,
    InvalidHTTPVersion,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)
from gunicorn.http.message import Request
from gunicorn.workers.gthread import _DEFER

from app.errors import InvalidRequest
from app.web.request import request_id_of
from app.web.response import JSON, ErrorDetail, body_of
from app.web.server.load_shedding import LoadSheddingWorker, waiting_for_clients
from app.web.server.plain_http import as_bytes
from app.web.server.threads import WorkerThreads

# A thread that has waited for its client for so long gets another to work in its place.
STUCK_S = 0.2
# A request must have arrived in this time; then its connection is read no further, and its thread finds the end.
ARRIVAL_S = 15.0
# The client must have read the response in this time, counted from the request's first byte.
WHOLE_S = 60.0
_CHECK_EVERY_S = 0.1

_PROBLEMS: tuple[tuple[type[ParseException], int, str, str], ...] = (
    (LimitRequestLine, 414, "uri_too_long", "the request's first line is longer than this server reads"),
    (LimitRequestHeaders, 431, "headers_too_large", "the request has more or longer headers than this server reads"),
    (ExpectationFailed, 417, "expectation_failed", "the only expectation that this server meets is 100-continue"),
    (InvalidHTTPVersion, 400, InvalidRequest.code, "this server speaks HTTP/1.1"),
    (UnsupportedTransferCoding, 400, InvalidRequest.code, "the only transfer coding that this server reads is chunked"),
)
_OTHERWISE = (400, InvalidRequest.code, "the bytes are not an HTTP/1.1 request (RFC 9112)")


def answer_to(error: ParseException) -> bytes:
    """The whole response to bytes that are not a request; it closes the connection.

    Nobody knows where the next request would begin.
    """
    found = next((problem[1:] for problem in _PROBLEMS if isinstance(error, problem[0])), _OTHERWISE)
    status, code, message = found
    body = body_of(ErrorDetail(code, message))
    headers = (("Content-Type", JSON), ("Content-Length", str(len(body))), ("X-Request-Id", request_id_of({})))
    return as_bytes((status, headers, body), close=True)


class PatientWorker(LoadSheddingWorker):
    """The worker that gunicorn's configuration names; it runs any WSGI application."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._checked_at_s = 0.0
        self._drain_file: Path | None = None
        self._drain_file_exists = False

    @property
    def draining(self) -> bool:
        """Whether this process accepts no more requests: it was stopped, or the drain file exists."""
        return self._drain_file_exists or not self.alive

    def drain_while_exists(self, file: Path | None) -> None:
        """Drain as long as `file` exists, which is checked ten times a second. None: drain only when stopped."""
        self._drain_file = file

    def before_request(self, request: Request) -> None:
        """While draining, have the response close its connection: the client's next request goes to another process."""
        if self.draining:
            request.force_close()

    def get_thread_pool(self) -> WorkerThreads:
        """The threads that gunicorn submits requests to."""
        return WorkerThreads(self.cfg.threads)

    def waiting(self) -> int:
        """How many requests wait for a thread."""
        return self.tpool.waiting()

    def handle(self, conn: Any) -> Any:
        """Answer a request in a thread; a new connection without data goes back to wait for some without a thread."""
        if not (conn.initialized or conn.data_ready or conn.wait_for_data(0)):
            return _DEFER
        return super().handle(conn)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer bytes that are not a request like any other bad request; gunicorn handles every other error."""
        if not isinstance(exc, ParseException):
            super().handle_error(req, client, addr, exc)
            return
        self.log.warning("not an HTTP request: %s", type(exc).__name__)
        with contextlib.suppress(OSError):
            client.sendall(answer_to(exc))

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        """Whether the connection stays open after a response."""
        try:
            return bool(super()._keepalive_after(conn, keepalive))
        except ParseException:
            # The rest of the body was malformed. The request is answered already: no second response, just close.
            return False

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """One pass of the event loop; ten times a second, check the threads and the drain file."""
        super().wait_for_and_dispatch_events(min(timeout, _CHECK_EVERY_S))
        now = time.monotonic()
        if now - self._checked_at_s >= _CHECK_EVERY_S:
            self._checked_at_s = now
            self._replace_blocked_threads()
            # Here and never in a request: checking a file may block.
            self._drain_file_exists = self._drain_file is not None and self._drain_file.exists()

    def _cap_keepalive(self, deadline: float) -> None:
        """At a stop, close idle connections by `deadline`, also those that never sent anything.

        gunicorn leaves out the latter, which would then delay the stop for the whole graceful timeout.
        """
        super()._cap_keepalive(deadline)
        for connection in self.pending_conns:
            connection.timeout = min(connection.timeout, deadline)

    def _replace_blocked_threads(self) -> None:
        now = time.monotonic()
        blocked = waiting_for_clients(self.tpool.begun_before(now - STUCK_S))
        # Twice as many: the next requests in the queue may come from clients of the same kind.
        self.tpool.compensate(2 * len(blocked))
        self.blocked_by_clients = 2 * len(blocked) >= self.cfg.threads
        for running in blocked:
            if now - running.since_s > ARRIVAL_S:
                how = socket.SHUT_RDWR if now - running.since_s > WHOLE_S else socket.SHUT_RD
                with contextlib.suppress(OSError):  # the connection may have ended just now
                    running.subject.sock.shutdown(how)
