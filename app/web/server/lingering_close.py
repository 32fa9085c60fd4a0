"""gunicorn's threaded worker, which lets connections end without waiting for their clients.

After the last answer the client's end must be awaited for a while: a close with bytes still on their way would make the
kernel reset the connection, and cut the answer off. As it comes, the worker's loop waits for that, two seconds at most
for each, and does nothing else meanwhile: ten clients that stay would stop everybody for twenty seconds.
"""

from __future__ import annotations

import selectors
import socket
import time
from concurrent.futures import Future
from functools import partial
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

LINGER_S = 2.0
_MOST_BYTES = 64 * 1024


class LingeringCloseWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no annotations
    """Ends connections beside its other work."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # What each has sent since; in the order in which their time ends.
        self._ending: dict[Any, int] = {}

    def finish_request(self, conn: Any, fs: Future[Any]) -> None:
        """As it was, but for a connection that ends now."""
        if fs.cancelled() or fs.exception() is not None or not fs.result():
            self.end(conn)
        else:
            super().finish_request(conn, fs)

    def end(self, conn: Any) -> None:
        """Say that nothing more comes, and close once the client has said so too, has sent too much, or took too long.

        The connection must not be with the poller.
        """
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._on_last_readable, conn))
        except (OSError, ValueError, KeyError):  # gone already
            self._gone(conn)
            return
        conn.timeout = time.monotonic() + LINGER_S
        self._ending[conn] = 0

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """As it was; then an end is made of those that took too long."""
        super().wait_for_and_dispatch_events(timeout)
        now = time.monotonic()
        while self._ending and (first := next(iter(self._ending))).timeout <= now:
            self._ended(first)

    def _on_last_readable(self, conn: Any, client: Any) -> None:
        try:
            data = client.recv(_MOST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._ending[conn] += len(data)
        if not data or self._ending[conn] > _MOST_BYTES:
            self._ended(conn)

    def _ended(self, conn: Any) -> None:
        del self._ending[conn]
        self.poller.unregister(conn.sock)
        self._gone(conn)

    def _gone(self, conn: Any) -> None:
        self.nr_conns -= 1
        conn.close()
