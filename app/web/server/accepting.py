"""Accepts connections on the event loop: shared fairly between the workers, and never more than the worker can hold."""

from __future__ import annotations

import asyncio
import errno
import logging
import mmap
import socket
import time
from collections.abc import Callable, Sequence

_LOG = logging.getLogger(__name__)
# A worker that has not reported for so long is blocked, stopped or dead: the others do not wait for it.
FRESH_S = 0.25
_FIELDS = 2  # connections, and the monotonic second of the report
# A worker may have so many connections more than the one with the fewest.
LEAD = 4
MOST_CONNECTIONS = 2000
_ACCEPTED_A_TURN = 4
_OTHERS_TURN_S = 0.001
_EXHAUSTED_S = 0.2
_LOG_EVERY_S = 60.0
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


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


class Acceptor:
    """Accepts connections from listening sockets for one worker.

    `connect` makes the protocol of a connection from the client's address and what it must call at its end.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listening: Sequence[socket.socket],
        connect: Callable[[tuple[str, int], Callable[[], None]], asyncio.Protocol],
        shares: ConnectionShares,
        worker: int,
    ) -> None:
        self._loop = loop
        self._listening = listening
        self._connect = connect
        self._shares = shares
        self._worker = worker
        self._count = 0
        self._stopped = False
        self._logged_at_s = -_LOG_EVERY_S
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Accept from now on."""
        self.report()
        for listening in self._listening:
            listening.setblocking(False)
            self._resume(listening)

    def stop(self) -> None:
        """Accept no more; connections that wait are the other workers'."""
        self._stopped = True
        self._shares.leave(self._worker)
        for listening in self._listening:
            self._loop.remove_reader(listening.fileno())
            listening.close()

    def report(self) -> None:
        """Tell the other workers how many connections this one has; at least every `FRESH_S`."""
        if not self._stopped:
            self._shares.report(self._worker, self._count)

    def _resume(self, listening: socket.socket) -> None:
        if not self._stopped:
            self._loop.add_reader(listening.fileno(), self._accept, listening)

    def _pause(self, listening: socket.socket, seconds: float) -> None:
        self._loop.remove_reader(listening.fileno())
        self._loop.call_later(seconds, self._resume, listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_ACCEPTED_A_TURN):
            fewest = self._shares.fewest_of_others(self._worker)
            if self._count >= MOST_CONNECTIONS or (fewest is not None and self._count >= fewest + LEAD):
                self._pause(listening, _OTHERS_TURN_S)
                return
            try:
                client, address = listening.accept()
            except OSError as error:  # most often another worker was faster
                if error.errno in _EXHAUSTED:
                    self._exhausted(listening, error)
                return
            self._count += 1
            self.report()
            task = self._loop.create_task(self._begin(client, address))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _begin(self, client: socket.socket, address: tuple[str, int]) -> None:
        try:
            client.setblocking(False)
            await self._loop.connect_accepted_socket(lambda: self._connect(address, self._lost), client)
        except OSError:  # the client has gone already
            client.close()
            self._lost()

    def _lost(self) -> None:
        self._count -= 1
        self.report()

    def _exhausted(self, listening: socket.socket, error: OSError) -> None:
        """The process has no file descriptor left: the clients wait in the kernel until a connection ends."""
        self._pause(listening, _EXHAUSTED_S)
        now_s = time.monotonic()
        if now_s - self._logged_at_s >= _LOG_EVERY_S:
            self._logged_at_s = now_s
            _LOG.error(
                "cannot_accept",
                extra={"event_fields": {"reason": str(error), "do": "raise the limit of open files (ulimit -n)"}},
            )
