"""gunicorn's threaded worker with a lingering close that does not block its event loop.

After the last response, a server must wait for the client to close: closing while bytes are still on their way makes
the kernel reset the connection, and the client loses the response (RFC 9112, section 9.6). gunicorn's own loop waits
up to two seconds for each such client and serves nobody meanwhile.
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
    """Closes connections from its event loop, beside its other work."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # The bytes that each client has sent since. All linger equally long, so insertion order is deadline order.
        self._lingering: dict[Any, int] = {}

    def finish_request(self, conn: Any, fs: Future[Any]) -> None:
        """After a thread is done with a connection: close it, or hand it to gunicorn to wait for the next request."""
        if fs.cancelled() or fs.exception() is not None or not fs.result():
            self.close_lingering(conn)
        else:
            super().finish_request(conn, fs)

    def close_lingering(self, conn: Any) -> None:
        """Half-close, then close when the client does, after 64 KiB or 2 s. The poller must not have the connection."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._on_lingering_readable, conn))
        except (OSError, ValueError, KeyError):  # the client has gone already
            self._close(conn)
            return
        conn.timeout = time.monotonic() + LINGER_S
        self._lingering[conn] = 0

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """One pass of the event loop; afterwards, close the connections that have lingered too long."""
        super().wait_for_and_dispatch_events(timeout)
        now = time.monotonic()
        while self._lingering and (first := next(iter(self._lingering))).timeout <= now:
            self._stop_lingering(first)

    def _on_lingering_readable(self, conn: Any, client: Any) -> None:
        try:
            data = client.recv(_MOST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._lingering[conn] += len(data)
        if not data or self._lingering[conn] > _MOST_BYTES:
            self._stop_lingering(conn)

    def _stop_lingering(self, conn: Any) -> None:
        del self._lingering[conn]
        self.poller.unregister(conn.sock)
        self._close(conn)

    def _close(self, conn: Any) -> None:
        self.nr_conns -= 1
        conn.close()
