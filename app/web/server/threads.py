"""The threads of one worker: a thread that waits for a slow client is replaced while it waits."""

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
    """One call of `work(subject)`, and the future for its result."""

    future: Future[Any]
    work: Callable[[Any], Any]
    subject: Any


class Running(msgspec.Struct, frozen=True):
    """A job in progress: its subject, the monotonic second when it began, and its thread's identifier."""

    subject: Any
    since_s: float
    thread: int


class WorkerThreads:
    """The part of `concurrent.futures.Executor` that gunicorn uses, and two things to observe: how many jobs wait, and
    which have been running since when."""

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
        """The jobs in progress that began before that second."""
        # The list first: threads add and remove jobs meanwhile, and a list is copied in one step.
        return [running for running in [*self._running.values()] if running.since_s < monotonic_s]

    def compensate(self, blocked: int) -> None:
        """Have as many more threads as are blocked, up to a bound; extra threads end when they are not needed."""
        self._wanted = self._base + min(blocked, MOST_EXTRA)
        self._fill()

    def shutdown(self, wait: bool = False) -> None:  # noqa: ARG002 - gunicorn passes it, as to an executor
        """End the threads once the queue is empty."""
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
            except BaseException as error:  # noqa: BLE001 - the future's owner raises it, as with any executor
                job.future.set_exception(error)
            else:
                job.future.set_result(result)
            finally:
                del self._running[own]
            del job  # while this thread waits for the next one, it must not keep a connection alive
        else:
            return
        with self._lock:
            self._alive -= 1

    def _superfluous(self) -> bool:
        if self._alive <= self._wanted or not self._wanted:
            return False
        # Again under the lock: of several threads that find one too many, only one may end.
        with self._lock:
            if self._alive <= self._wanted:
                return False
            self._alive -= 1
            return True
