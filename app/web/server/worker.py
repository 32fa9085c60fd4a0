"""The worker that gunicorn's configuration names: an event loop in front of any WSGI application.

gunicorn stays the master: it builds the application before the fork, starts and replaces workers, and passes signals
on. The decision and what was measured: docs/adr/0036-an-event-loop-in-front-of-flask.md.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import uvloop
from gunicorn import SERVER_SOFTWARE
from gunicorn.workers.base import Worker

from app.web.response import Environ
from app.web.server.accepting import Acceptor, ConnectionShares
from app.web.server.bridge import Bridge, FrontDoor
from app.web.server.connection import Clients, Connection

_TICK_S = 0.1


class LoopWorker(Worker):  # type: ignore[misc]  # gunicorn has no annotations
    """Answers from an event loop and a bounded number of threads, and drains by a file or by a signal."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.alive: bool
        self._front: FrontDoor | None = None
        self._bridge: Bridge | None = None
        self._shares = ConnectionShares(1)
        self._most_body_bytes = 0
        self._drain_file: Path | None = None
        self._drain_file_exists = False
        self._at_once = False

    @property
    def draining(self) -> bool:
        """Whether this process accepts no more requests: it was stopped, or the drain file exists."""
        return self._drain_file_exists or not self.alive

    def waiting(self) -> int:
        """How many requests wait to be answered."""
        return self._bridge.waiting() if self._bridge else 0

    def answer_with(self, front: FrontDoor, most_body_bytes: int) -> None:
        """Answer requests by `front`, each with a body of at most so many bytes."""
        self._front = front
        self._most_body_bytes = most_body_bytes

    def share_connections(self, shares: ConnectionShares) -> None:
        """Accept no more than a fair share of this host's connections."""
        self._shares = shares

    def drain_while_exists(self, file: Path | None) -> None:
        """Drain as long as `file` exists, which is checked ten times a second. None: drain only when stopped."""
        self._drain_file = file

    def run(self) -> None:
        """Serve until the master ends this worker, or ends itself."""
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        assert self._front is not None, "post_worker_init has not said what to answer with"
        loop = asyncio.get_running_loop()
        self._take_signals(loop)
        self._bridge = Bridge(self._front, self.cfg.threads, loop)
        clients = Clients(
            self._bridge.serve,
            self._environ(),
            draining=lambda: self.draining,
            keep_alive_s=self.cfg.keepalive,
            most_body_bytes=self._most_body_bytes,
            now_s=loop.time,
        )
        acceptor = Acceptor(loop, self.sockets, partial(Connection, clients), self._shares, self.age)
        acceptor.start()
        while self.alive and os.getppid() == self.ppid:
            await self._tick(clients, acceptor)
        self.alive = False
        acceptor.stop()
        await self._drain(clients, acceptor)
        clients.abort()
        self._bridge.close()

    async def _drain(self, clients: Clients, acceptor: Acceptor) -> None:
        """Wait for the open connections, for as long as gunicorn is configured to."""
        clients.stop()
        until_s = time.monotonic() + self.cfg.graceful_timeout
        while clients.open and time.monotonic() < until_s and not self._at_once:
            await self._tick(clients, acceptor)

    async def _tick(self, clients: Clients, acceptor: Acceptor) -> None:
        self.notify()
        acceptor.report()
        clients.check()
        # Here and never in a request: checking a file may block.
        self._drain_file_exists = self._drain_file is not None and self._drain_file.exists()
        await asyncio.sleep(_TICK_S)

    def _take_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        """The signals that the master sends, at a safe point between two callbacks of the loop."""
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        loop.add_signal_handler(signal.SIGUSR1, self.log.reopen_files)
        for immediate in (signal.SIGINT, signal.SIGQUIT):
            loop.add_signal_handler(immediate, self._stop_at_once)

    def _stop(self) -> None:
        self.alive = False

    def _stop_at_once(self) -> None:
        self.alive, self._at_once = False, True

    def _environ(self) -> Environ:
        return {
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": self.cfg.workers > 1,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            "SERVER_SOFTWARE": SERVER_SOFTWARE,
            "SCRIPT_NAME": "",
        }
