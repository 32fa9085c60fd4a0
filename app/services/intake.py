"""The bounded queue between the answers and the recorder."""

from __future__ import annotations

import threading
from array import array
from collections import Counter, deque
from collections.abc import Mapping, MutableSequence

import msgspec

from app.domain.prediction import Exposure


class Refused(msgspec.Struct, frozen=True):
    """What found the queue full: the number of rows, and of requests by the version that answered."""

    rows: int
    requests: Mapping[str, int]


class Intake:
    """Exposures of up to `limit_rows` rows in all. `put` from any thread, the rest from one."""

    def __init__(self, limit_rows: int) -> None:
        self._limit_rows = limit_rows
        self._lock = threading.Lock()
        self._queue: deque[Exposure] = deque()
        self._numbers: MutableSequence[int] = array("Q", (0, 0))
        self._refused_rows = 0
        self._refused_requests: Counter[str] = Counter()
        self.waiting = 0

    def __bool__(self) -> bool:
        return bool(self._queue) or self._refused_rows > 0

    def put(self, exposure: Exposure) -> None:
        """Take it, or only count it where there is no room."""
        rows = len(exposure.prediction_ids)
        with self._lock:
            if self.waiting + rows > self._limit_rows:
                self._refused_rows += rows
                self._refused_requests[exposure.version] += 1
                return
            self.waiting += rows
            self._numbers[0] += rows
            self._queue.append(exposure)

    def count_into(self, numbers: MutableSequence[int]) -> None:
        """Keep the number of rows accepted in `numbers[0]` from now on."""
        with self._lock:
            numbers[0] = self._numbers[0]
            self._numbers = numbers

    def take(self, rows: int) -> list[Exposure]:
        """The oldest exposures, of about `rows` rows: the last may go beyond."""
        taken: list[Exposure] = []
        total = 0
        while self._queue and total < rows:
            exposure = self._queue.popleft()
            taken.append(exposure)
            total += len(exposure)
        if taken:
            with self._lock:
                self.waiting -= total
        return taken

    def take_refused(self) -> Refused | None:
        """What was refused since the last call, None if nothing."""
        if not self._refused_rows:
            return None
        with self._lock:
            refused = Refused(rows=self._refused_rows, requests=dict(self._refused_requests))
            self._refused_rows = 0
            self._refused_requests.clear()
        return refused
