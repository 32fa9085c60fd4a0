"""Rows of crowds that wait for a later block: a queue a caller, of bounded length and age."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec
import numpy as np

from app.drift.callers import Caller
from app.drift.streams import mixed

MOST_WAITING: Final = 1000
# Requests for which a row waits at most: evidence must be of the present traffic. Looked at once in so many requests.
WAITS_FOR: Final = 500
EXPIRES_EVERY: Final = 100


class Waiting(NamedTuple):
    """A row that waits: its request, its caller, and its place among the rows of a walk. Rows enter in this order."""

    request: int
    caller: Caller
    place: int


class WaitingRow(msgspec.Struct, frozen=True, array_like=True, order=True):
    """A row that waits, as stored: its request, its lot, which is drawn, its caller, and its bins (uint8, streams)."""

    request: int
    lot: int
    caller: Caller
    bins: bytes


class Lots:
    """A hash of the number of each row, of which there are those that were `stored`, and rows from number `first` on.

    Keyed by the reference's `seed`, which clients do not know: nobody can choose which of its rows count. `are_drawn`:
    a lot has decided something.
    """

    def __init__(self, seed: int, stored: Iterable[int], first: int, rows: int) -> None:
        self._seed, self._stored = seed, np.array([*stored], np.int64)
        self._numbers = np.arange(first, first + rows)
        self.are_drawn = False

    @functools.cached_property
    def all(self) -> np.ndarray:
        """The lots of all rows by their places, int64."""
        own = mixed(self._seed ^ 0x5DEECE66D, self._numbers) >> np.uint64(20)
        return np.concatenate([self._stored, own.astype(np.int64)])

    def draw(self, place: int) -> int:
        """The lot of the row at a place, which decides something."""
        self.are_drawn = True
        return int(self.all[place])


class WaitingRows:
    """The rows that wait. Of further rows one in `one_in` is taken; `skipped` counts the others, and those too old."""

    def __init__(self, rows: Iterable[Waiting], one_in: int, skipped: int, lots: Lots) -> None:
        self.one_in, self.skipped = one_in, skipped
        self._lots = lots
        self._queues: dict[Caller, deque[Waiting]] = {}
        self._length = 0
        for row in rows:
            self._queues.setdefault(row.caller, deque()).append(row)
            self._length += 1

    def __len__(self) -> int:
        return self._length

    def __contains__(self, caller: Caller) -> bool:
        return caller in self._queues

    def rows(self) -> tuple[Waiting, ...]:
        """All of them, in the order in which they enter."""
        return tuple(sorted(row for queue in self._queues.values() for row in queue))

    def heads(self) -> list[tuple[Waiting, int]]:
        """The row of each caller whose turn is next, in the order in which they enter, and how many the caller has."""
        return sorted((queue[0], len(queue)) for queue in self._queues.values())

    def put(self, row: Waiting) -> None:
        """Let the row wait, unless the lot is against it. Where too many wait, half of all are let go."""
        if not self._is_kept(row):
            self.skipped += 1
            return
        self._queues.setdefault(row.caller, deque()).append(row)
        self._length += 1
        while self._length > MOST_WAITING:
            # Of those in the queue too, so that the share is one for all.
            self.one_in *= 2
            for caller in list(self._queues):
                self._keep(caller, [each for each in self._queues[caller] if self._is_kept(each)])

    def take(self, row: Waiting) -> None:
        """Remove a caller's first row, which enters a block."""
        queue = self._queues[row.caller]
        queue.popleft()
        self._length -= 1
        self._forget(row.caller)

    def expire(self, requests: int) -> None:
        """Let rows go that have waited for too long, after so many requests."""
        for caller in list(self._queues):
            self._keep(caller, [each for each in self._queues[caller] if each.request >= requests - WAITS_FOR])

    def _is_kept(self, row: Waiting) -> bool:
        return self.one_in == 1 or self._lots.draw(row.place) % self.one_in == 0

    def _keep(self, caller: Caller, kept: list[Waiting]) -> None:
        gone = len(self._queues[caller]) - len(kept)
        if gone:
            self.skipped += gone
            self._length -= gone
            self._queues[caller] = deque(kept)
            self._forget(caller)

    def _forget(self, caller: Caller) -> None:
        if not self._queues[caller]:
            del self._queues[caller]
        if not self._length:
            self.one_in = 1
