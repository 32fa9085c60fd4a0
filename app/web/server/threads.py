"""The threads of one worker: as many as asked for are at work, and those that wait for a slow client do not count."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import msgspec

MOST_EXTRA = 256


class RequestJob(msgspec.Struct, frozen=True):
    """A piece of work: what is called with what, and who wants to know."""

    future: Future[Any]
    work: Callable[[Any], Any]
    subject: Any


class Running(msgspec.Struct, frozen=True):
    """What a thread is at: its subject, the monotonic second in which it began, and the thread's identifier."""

    subject: Any
    since_s: float
    thread: int


class WorkerThreads:
    """What gunicorn uses of an executor, with two things to look at: how many wait, and what runs since when."""

    def __init__(self, threads: int) -> None:
        self._base = threads
        self._wanted = threads
        self._queue: queue.SimpleQueue[RequestJob | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._alive = 0
        self._running: dict[int, Running] = {}
        self.waiting = self._queue.qsize
        self._fill()

    def submit(self, work: Callable[[Any], Any], subject: Any) -> Future[Any]:
        """Call `work(subject)` as soon as a thread is free."""
        future: Future[Any] = Future()
        self._queue.put(RequestJob(future, work, subject))
        return future

    def begun_before(self, monotonic_s: float) -> list[Running]:
        """What has been running since before that second."""
        return [running for running in [*self._running.values()] if running.since_s < monotonic_s]

    def excuse(self, stuck: int) -> None:
        """Let as many more threads work as are stuck, up to a bound; they end when there is no more need."""
        self._wanted = self._base + min(stuck, MOST_EXTRA)
        self._fill()

    def shutdown(self, wait: bool = False) -> None:  # noqa: ARG002 - an executor has it
        """End the threads once they have nothing to do."""
        self._wanted = 0
        for _ in range(self._alive):
            self._queue.put(None)

    def _fill(self) -> None:
        with self._lock:
            while self._alive < self._wanted:
                self._alive += 1
                threading.Thread(target=self._run, name="serve", daemon=True).start()

    def _run(self) -> None:
        own = threading.get_ident()
        while not self._superfluous():
            job = self._queue.get()
            if job is None:
                break
            self._running[own] = Running(job.subject, time.monotonic(), own)
            try:
                result = job.work(job.subject)
            except BaseException as error:  # noqa: BLE001 - whoever waits for it is told
                job.future.set_exception(error)
            else:
                job.future.set_result(result)
            finally:
                del self._running[own]
            del job
        else:
            return
        with self._lock:
            self._alive -= 1

    def _superfluous(self) -> bool:
        if self._alive <= self._wanted or not self._wanted:
            return False
        with self._lock:
            if self._alive <= self._wanted:
                return False
            self._alive -= 1
            return True
