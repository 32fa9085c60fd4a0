"""gunicorn's threaded worker that balances connections, rejects requests and closes connections from its event loop.

Rejecting in the loop needs no thread: a thread would have to be free first, and reading a request costs most of what
answering a small one does. Closing in the loop blocks nobody: after the last response a server must wait for the client
to close, because closing while bytes are on their way makes the kernel reset the connection, and the client loses the
response (RFC 9112, section 9.6). gunicorn's own loop waits up to two seconds for each such client and serves nobody
meanwhile. The decision and its limits: docs/adr/0014-overload.md.
"""

from __future__ import annotations

import contextlib
import mmap
import selectors
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import gunicorn
from gunicorn.workers.gthread import _DEFER, ThreadWorker

from app.web.server.plain_http import WholeAnswer
from app.web.server.threads import Running, WorkerThreads

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


# A worker that has not reported for so long is blocked, stopped or dead: the others do not wait for it.
FRESH_S = 0.25
_FIELDS = 2  # connections, and the monotonic second of the report
_GUNICORN = str(Path(gunicorn.__file__).parent)
# How much of a request the loop reads to reject it; a larger one is rejected by a thread.
_PEEKED_BYTES = 16 * 1024


class ConnectionShares:
    """The number of connections of each worker of a host, in memory that the workers share.

    Otherwise the worker that wakes up first accepts a whole crowd that connects in one millisecond, and half of the
    host is idle for as long as those connections live.

    Make it before the fork. It needs no lock: each slot has one writer.
    """

    def __init__(self, slots: int, now_s: Callable[[], float] = time.monotonic) -> None:
        self._memory = memoryview(mmap.mmap(-1, 8 * _FIELDS * slots)).cast("d")
        self._slots = slots
        self._now_s = now_s

    def report(self, worker: int, connections: int) -> None:
        """Publish how many connections the worker of that number has now."""
        slot = worker % self._slots * _FIELDS
        self._memory[slot] = max(0, connections)
        self._memory[slot + 1] = self._now_s()

    def leave(self, worker: int) -> None:
        """The worker accepts no more connections: the others need not wait for it."""
        self._memory[worker % self._slots * _FIELDS + 1] = 0.0

    def fewest_of_others(self, worker: int) -> int | None:
        """The smallest number of connections of any other worker; None if no other has reported lately."""
        own, since = worker % self._slots, self._now_s() - FRESH_S
        figures = self._memory.tolist()
        others = [
            figures[slot * _FIELDS]
            for slot in range(self._slots)
            if slot != own and figures[slot * _FIELDS + 1] > since
        ]
        return int(min(others)) if others else None


class LoadShedder(Protocol):
    """Decides which requests are rejected."""

    @property
    def full(self) -> bool: ...

    def rejection(self, data: bytes, /) -> WholeAnswer | None: ...


class LoadSheddingWorker(LingeringCloseWorker):
    """Rejects requests while its shedder is full.

    `blocked_by_clients` is set while the queue waits for slow clients: that is soon over, so nothing is rejected.
    """

    tpool: WorkerThreads

    def __init__(self, *args: Any, **options: Any) -> None:
        self._shares: ConnectionShares | None = None  # first: gunicorn's own __init__ sets `worker_connections`
        super().__init__(*args, **options)
        self._shedder: LoadShedder | None = None
        self.blocked_by_clients = False

    @property
    def draining(self) -> bool:
        """Whether this process accepts no more requests."""
        return not self.alive

    @property
    def worker_connections(self) -> int:
        """The most connections that this worker may have: one per thread more than the worker with the fewest."""
        fewest = self._shares.fewest_of_others(self.age) if self._shares else None
        return self._most_connections if fewest is None else min(self._most_connections, fewest + self.cfg.threads)

    @worker_connections.setter
    def worker_connections(self, most: int) -> None:
        self._most_connections = most

    def share_connections(self, shares: ConnectionShares) -> None:
        """Accept no more than a fair share of this host's connections from now on."""
        self._shares = shares

    def shed_by(self, shedder: LoadShedder) -> None:
        """Reject requests from the event loop while `shedder` is full, from now on."""
        self._shedder = shedder

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """One pass of the event loop; afterwards, publish the number of connections."""
        super().wait_for_and_dispatch_events(timeout)
        if self._shares is None:
            return
        if self.alive:
            self._shares.report(self.age, self.nr_conns)
        else:
            self._shares.leave(self.age)

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:
        """A kept-alive connection has data: reject its request here, or queue it for a thread."""
        rejection = self._reject(conn)
        if rejection is None:
            super().on_client_socket_readable(conn, client)
            return
        self.keepalived_conns.remove(conn)
        if rejection.close:
            self.poller.unregister(client)
            self.close_lingering(conn)
        else:
            conn.set_timeout()
            self.keepalived_conns.append(conn)

    def on_pending_socket_readable(self, conn: Any, client: Any) -> None:
        """The same for the first request of a connection."""
        rejection = self._reject(conn)
        if rejection is None:
            super().on_pending_socket_readable(conn, client)
            return
        self.poller.unregister(client)
        self.pending_conns.remove(conn)
        self._wait_for_next(conn, not rejection.close)

    def enqueue_req(self, conn: Any) -> None:
        """Queue a connection for a thread; under overload, a new one first waits for its data without a thread."""
        if self._overloaded() and not (conn.initialized or conn.data_ready):
            self._wait_for_next(conn, _DEFER)
        else:
            super().enqueue_req(conn)

    def _overloaded(self) -> bool:
        """Whether too many requests wait for the work of others, rather than for slow clients."""
        if self._shedder is None or not self._shedder.full or self.blocked_by_clients:
            return False
        running = self.tpool.begun_before(time.monotonic())
        return len(waiting_for_clients(running)) < len(running)

    def _wait_for_next(self, conn: Any, result: object) -> None:
        """Treat a connection as if a thread had finished with `result`."""
        finished: Future[object] = Future()
        finished.set_result(result)
        self.finish_request(conn, finished)

    def _reject(self, conn: Any) -> WholeAnswer | None:
        """Reject the request that has arrived; None if a thread must read it, which then still has all of its bytes."""
        if self._shedder is None or not self._overloaded() or self.draining or conn.is_http2:
            return None
        conn.init()
        conn.sock.setblocking(False)
        # Bytes that gunicorn's parser has read already: this request is not the only one on its connection.
        if conn.parser.unreader.buf.getvalue():
            return None
        try:
            data = conn.sock.recv(_PEEKED_BYTES)
        except OSError:
            return None
        rejection = self._shedder.rejection(data)
        if rejection is None:
            conn.parser.unreader.unread(data)
            return None
        return rejection if _sent(conn.sock, rejection.data) else None


def _sent(sock: socket.socket, data: bytes) -> bool:
    """Whether `data` was sent at once and whole; if not, the connection is shut down, and a thread finds its end.

    The loop cannot wait for a client that does not read, and half a response cannot be taken back.
    """
    try:
        if sock.send(data) == len(data):
            return True
    except OSError:
        pass
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    return False


def waiting_for_clients(running: list[Running]) -> list[Running]:
    """The jobs whose thread is in gunicorn's own code, where sockets are read and written, and not in a model's."""
    if not running:
        return []
    frames = sys._current_frames()
    return [
        each
        for each in running
        if each.thread in frames and frames[each.thread].f_code.co_filename.startswith(_GUNICORN)
    ]
