"""What is answered to bytes that the server could not read as a request: they never reach the application.

gunicorn's threaded worker, made safe from slow clients and too many, and drained by a file; it runs plain WSGI.

As it comes, a connection that sends nothing holds a thread for five seconds, and one that begins a request and stops
holds it for ever: a few dozen would end the service. The choice and its limits: docs/adr/0014-overload.md.
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

_PROBLEMS: tuple[tuple[type[ParseException], int, str, str], ...] = (
    (LimitRequestLine, 414, "uri_too_long", "the request's first line is longer than this server reads"),
    (LimitRequestHeaders, 431, "headers_too_large", "the request has more or longer headers than this server reads"),
    (ExpectationFailed, 417, "expectation_failed", "the only expectation that this server meets is 100-continue"),
    (InvalidHTTPVersion, 400, InvalidRequest.code, "this server speaks HTTP/1.1"),
    (UnsupportedTransferCoding, 400, InvalidRequest.code, "the only transfer coding that this server reads is chunked"),
)
_OTHERWISE = (400, InvalidRequest.code, "that is not an HTTP request as RFC 9112 has it")


def answer_to(error: ParseException) -> bytes:
    """The whole answer; the connection ends with it, since nobody knows where the next request would begin."""
    found = next((problem[1:] for problem in _PROBLEMS if isinstance(error, problem[0])), _OTHERWISE)
    status, code, message = found
    body = body_of(ErrorDetail(code, message), "")
    headers = (("Content-Type", JSON), ("Content-Length", str(len(body))), ("X-Request-Id", request_id_of({})))
    return as_bytes((status, headers, body), close=True)


# A thread that has waited for its client for so long gets another to work in its place.
STUCK_S = 0.2
# A request must have arrived in this time; then its connection is read no further: who waits for more finds its end.
ARRIVAL_S = 15.0
# And the answer must be taken in this time, counted from the request's first byte.
WHOLE_S = 60.0
_LOOK_EVERY_S = 0.1


class PatientWorker(LoadSheddingWorker):
    """`waiting()` is how many requests wait for a thread; `draining` says that no more are wanted here."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._looked_at_s = 0.0
        self._drain_file: Path | None = None
        self._told_to_drain = False

    @property
    def draining(self) -> bool:
        """Whether this process wants no more requests: it was told to stop, or the drain file is there."""
        return self._told_to_drain or not self.alive

    def drain_while_there_is(self, file: Path | None) -> None:
        """Drain as long as `file` exists; looked at ten times a second, never in a request. None: only when stopped."""
        self._drain_file = file

    def let_go(self, request: Request) -> None:
        """Before a request is answered: while draining, its answer closes its connection."""
        if self.draining:
            request.force_close()

    def get_thread_pool(self) -> WorkerThreads:
        """Our own threads."""
        return WorkerThreads(self.cfg.threads)

    def waiting(self) -> int:
        """How many requests wait for a thread."""
        return self.tpool.waiting()

    def handle(self, conn: Any) -> Any:
        """Answer a request; a new connection that has not sent anything goes back to be waited for without a thread."""
        if not (conn.initialized or conn.data_ready or conn.wait_for_data(0)):
            return _DEFER
        return super().handle(conn)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """As it was for our own faults; what is not HTTP as we read it is answered like every other bad request."""
        if not isinstance(exc, ParseException):
            super().handle_error(req, client, addr, exc)
            return
        self.log.warning("not an HTTP request: %s", type(exc).__name__)
        with contextlib.suppress(OSError):
            client.sendall(answer_to(exc))

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        """As it was; but an answer was given, so that a body which turns out to be none gets no second one."""
        try:
            return bool(super()._keepalive_after(conn, keepalive))
        except ParseException:
            return False

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """As it was, and a look at the threads in between."""
        super().wait_for_and_dispatch_events(min(timeout, _LOOK_EVERY_S))
        now = time.monotonic()
        if now - self._looked_at_s >= _LOOK_EVERY_S:
            self._looked_at_s = now
            self._relieve()
            self._told_to_drain = self._drain_file is not None and self._drain_file.exists()

    def _cap_keepalive(self, deadline: float) -> None:
        """As it was, and the same for connections that never sent anything: they would hold up the stop for its whole
        patience."""
        super()._cap_keepalive(deadline)
        for connection in self.pending_conns:
            connection.timeout = min(connection.timeout, deadline)

    def _relieve(self) -> None:
        now = time.monotonic()
        stuck = waiting_for_clients(self.tpool.begun_before(now - STUCK_S))
        # What is stuck now is not the end of it: the next in the queue may be of the same kind.
        self.tpool.excuse(2 * len(stuck))
        self.held_up = 2 * len(stuck) >= self.cfg.threads
        for running in stuck:
            if now - running.since_s > ARRIVAL_S:
                how = socket.SHUT_RDWR if now - running.since_s > WHOLE_S else socket.SHUT_RD
                with contextlib.suppress(OSError):  # it may have ended by itself just now
                    running.subject.sock.shutdown(how)
