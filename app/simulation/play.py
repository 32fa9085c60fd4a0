"""Play planned requests against the service from several threads, at a given pace, and tell the labels."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol, TypeVar

import msgspec

from app.simulation.client import NO_ANSWER, Accepted, Answer, Outcome, Problem
from app.simulation.plan import Planned
from app.simulation.tally import Tally

NO_FEEDBACK_YET = "this server takes no feedback yet (POST /feedback: 404): it went on without labels"
_TRIES = 4
_LONGEST_PAUSE_S = 2.0
_UNKNOWN_PREDICTION = "unknown_prediction"
_GONE_AFTER = 20
_T = TypeVar("_T")


class Connection(Protocol):
    """One thread's way to the service."""

    def predict(self, row: list[float | str | None], user_id: str | None) -> Answer | Problem: ...

    def tell(self, outcomes: list[Outcome]) -> Accepted | Problem: ...

    def close(self) -> None: ...


class Pace(msgspec.Struct, frozen=True):
    """How fast: `rate` requests a second in all (None: as fast as they are answered) over `concurrency` threads.

    Labels are told `feedback_batch` at a time.
    """

    concurrency: int = 4
    rate: float | None = None
    feedback_batch: int = 50


class Play:
    """One run. `connect` makes a connection for each thread; `plan` is used up."""

    def __init__(self, plan: Iterator[Planned], pace: Pace, connect: Callable[[], Connection], tally: Tally) -> None:
        self._plan = plan
        self._pace = pace
        self._connect = connect
        self._tally = tally
        self._turn = threading.Lock()
        self._stop = threading.Event()
        self._takes_labels = True
        self._unanswered_in_a_row = 0
        self._started = time.monotonic()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to send."""
        self._started = time.monotonic()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self._pace.concurrency)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Send no more; what is under way is finished, and the labels of what was answered are told."""
        self._stop.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end. True when all is done, False when `timeout_s` has passed before."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        connection = self._connect()
        untold: list[Outcome] = []
        while (request := self._next()) is not None:
            answer = self._tried(partial(connection.predict, request.row, request.user_id))
            self._count(request, answer)
            if request.told and isinstance(answer, Answer):
                untold.append(Outcome(answer.prediction_id, request.label))
            if len(untold) >= self._pace.feedback_batch:
                untold = self._tell(connection, untold)
        self._tell(connection, untold)
        connection.close()

    def _next(self) -> Planned | None:
        """The next request when it is due; None at the end."""
        with self._turn:
            request = None if self._stop.is_set() else next(self._plan, None)
        if request is None or self._pace.rate is None:
            return request
        due = self._started + request.index / self._pace.rate
        return None if self._stop.wait(max(0.0, due - time.monotonic())) else request

    def _count(self, request: Planned, answer: Answer | Problem) -> None:
        if isinstance(answer, Answer):
            self._unanswered_in_a_row = 0
            self._tally.answered(answer, request.label)
            return
        self._tally.refused(answer)
        if answer.code != NO_ANSWER:
            return
        self._unanswered_in_a_row += 1
        if self._unanswered_in_a_row >= _GONE_AFTER:
            self._tally.note(f"the server has gone: {answer.message}")
            self.stop()

    def _tell(self, connection: Connection, untold: list[Outcome]) -> list[Outcome]:
        """Tell the labels, and give back what is left to tell: nothing."""
        if untold and self._takes_labels:
            result = self._tried(partial(connection.tell, untold))
            if isinstance(result, Problem) and result.status == 404 and result.code != _UNKNOWN_PREDICTION:
                self._takes_labels = False
                self._tally.note(NO_FEEDBACK_YET)
            else:
                self._tally.told(len(untold), result)
        return []

    def _tried(self, call: Callable[[], _T | Problem]) -> _T | Problem:
        """The result, asked for again where the service says that it is busy."""
        for _ in range(_TRIES - 1):
            result = call()
            if not isinstance(result, Problem) or result.status != 503 or result.retry_after_s is None:
                return result
            self._stop.wait(min(result.retry_after_s, _LONGEST_PAUSE_S))
        return call()
