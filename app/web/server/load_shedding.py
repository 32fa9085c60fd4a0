"""How many connections each worker of a host has: so that one of them does not accept all that come at once.

Whoever is awake first would: a crowd that connects in a millisecond then has half of the host, and keeps it for as long
as its connections live.

gunicorn's threaded worker with a door: it takes its share of the connections, and where too many requests wait, its
loop turns them away without a thread.

A thread would first have to be free, and reading a request costs most of what a small answer costs: those that are
turned away would hold up those that are not. The choice and its limits: docs/adr/0014-overload.md.
"""

from __future__ import annotations

import contextlib
import mmap
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol

import gunicorn
from gunicorn.workers.gthread import _DEFER

from app.web.server.lingering_close import LingeringCloseWorker
from app.web.server.plain_http import WholeAnswer
from app.web.server.threads import Running, WorkerThreads

# A worker whose figure is older is stuck, stopped or dead, and nobody waits for it.
FRESH_S = 0.25
_FIELDS = 2  # connections, and the monotonic second in which they were told


class ConnectionShares:
    """Figures in memory that is shared by a fork: to be made before it. Without locks: each place has one writer."""

    def __init__(self, places: int, now_s: Callable[[], float] = time.monotonic) -> None:
        self._memory = memoryview(mmap.mmap(-1, 8 * _FIELDS * places)).cast("d")
        self._places = places
        self._now_s = now_s

    def tell(self, worker: int, connections: int) -> None:
        """Say how many connections the worker of that number has now."""
        place = worker % self._places * _FIELDS
        self._memory[place] = max(0, connections)
        self._memory[place + 1] = self._now_s()

    def leave(self, worker: int) -> None:
        """The worker accepts no more: the others need not wait for it."""
        self._memory[worker % self._places * _FIELDS + 1] = 0.0

    def fewest_of_others(self, worker: int) -> int | None:
        """The connections of the other worker that has the fewest; None where no other has told of any lately."""
        own, since = worker % self._places, self._now_s() - FRESH_S
        figures = self._memory.tolist()
        others = [
            figures[place * _FIELDS]
            for place in range(self._places)
            if place != own and figures[place * _FIELDS + 1] > since
        ]
        return int(min(others)) if others else None


_GUNICORN = str(Path(gunicorn.__file__).parent)
# What of a request is looked at to turn it away here: a larger one is turned away by a thread.
_LOOKED_AT_BYTES = 16 * 1024


class LoadShedder(Protocol):
    """Who is turned away where too many wait."""

    @property
    def full(self) -> bool: ...

    def turned_away(self, data: bytes, /) -> WholeAnswer | None: ...


class LoadSheddingWorker(LingeringCloseWorker):
    """Turns away while its door is full; `held_up` says that the queue waits for slow clients, and nobody is."""

    tpool: WorkerThreads

    def __init__(self, *args: Any, **options: Any) -> None:
        self._shares: ConnectionShares | None = None
        super().__init__(*args, **options)
        self._door: LoadShedder | None = None
        self.held_up = False

    @property
    def draining(self) -> bool:
        """Whether this process wants no more requests."""
        return not self.alive

    @property
    def worker_connections(self) -> int:
        """How many connections this worker may have: no more than another has and a thread each besides."""
        fewest = self._shares.fewest_of_others(self.age) if self._shares else None
        return self._most_connections if fewest is None else min(self._most_connections, fewest + self.cfg.threads)

    @worker_connections.setter
    def worker_connections(self, most: int) -> None:
        self._most_connections = most

    def share_connections(self, shares: ConnectionShares) -> None:
        """From now on, accept no more than a fair share of the connections that come to this host."""
        self._shares = shares

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """As it was; then the others are told how many connections there are here now."""
        super().wait_for_and_dispatch_events(timeout)
        if self._shares is None:
            return
        if self.alive:
            self._shares.tell(self.age, self.nr_conns)
        else:
            self._shares.leave(self.age)

    def shed_by(self, door: LoadShedder) -> None:
        """From now on, while `door` is full, turn requests away before a thread takes them up."""
        self._door = door

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:
        """As it was, unless the request is turned away here: then its connection waits for the next one, or ends."""
        refusal = self._turned_away(conn)
        if refusal is None:
            super().on_client_socket_readable(conn, client)
            return
        self.keepalived_conns.remove(conn)
        if refusal.close:
            self.poller.unregister(client)
            self.end(conn)
        else:
            conn.set_timeout()
            self.keepalived_conns.append(conn)

    def on_pending_socket_readable(self, conn: Any, client: Any) -> None:
        """The same for the first request of a connection."""
        refusal = self._turned_away(conn)
        if refusal is None:
            super().on_pending_socket_readable(conn, client)
            return
        self.poller.unregister(client)
        self.pending_conns.remove(conn)
        self._wait_for_next(conn, not refusal.close)

    def enqueue_req(self, conn: Any) -> None:
        """As it was, but where too many wait, a connection that has just come waits for its data without a thread."""
        if self._too_many() and not (conn.initialized or conn.data_ready):
            self._wait_for_next(conn, _DEFER)
        else:
            super().enqueue_req(conn)

    def _too_many(self) -> bool:
        """Whether more wait than the door allows, and for the work of others: a queue behind slow clients is soon
        relieved, and nobody is turned away for it."""
        if self._door is None or not self._door.full or self.held_up:
            return False
        running = self.tpool.begun_before(time.monotonic())
        return len(waiting_for_clients(running)) < len(running)

    def _wait_for_next(self, conn: Any, result: object) -> None:
        """Treat a connection as if a thread had ended with `result`."""
        ended: Future[object] = Future()
        ended.set_result(result)
        self.finish_request(conn, ended)

    def _turned_away(self, conn: Any) -> WholeAnswer | None:
        """How the request that has come was answered here, by the loop; where None, nothing of it is lost."""
        if self._door is None or not self._too_many() or self.draining or conn.is_http2:
            return None
        conn.init()
        conn.sock.setblocking(False)
        if conn.parser.unreader.buf.getvalue():
            return None
        try:
            data = conn.sock.recv(_LOOKED_AT_BYTES)
        except OSError:
            return None
        refusal = self._door.turned_away(data)
        if refusal is None:
            conn.parser.unreader.unread(data)
            return None
        return refusal if _sent(conn.sock, refusal.data) else None


def _sent(sock: socket.socket, data: bytes) -> bool:
    """Send `data` at once and whole; where the client does not take it, its connection ends here: a thread will see."""
    try:
        if sock.send(data) == len(data):
            return True
    except OSError:
        pass
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    return False


def waiting_for_clients(running: list[Running]) -> list[Running]:
    """Those whose thread is in gunicorn's own code, where sockets are read and written, and not in a model's."""
    if not running:
        return []
    frames = sys._current_frames()
    return [
        each
        for each in running
        if each.thread in frames and frames[each.thread].f_code.co_filename.startswith(_GUNICORN)
    ]
