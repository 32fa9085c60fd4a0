"""Cached answers of the API, refreshed one at a time and shared by all visitors of a dashboard.

A live page redraws every few seconds and shows several resources, but may make one call per tick. Each tick therefore
refreshes the resource that is most overdue and shows the cached snapshots of the others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from app.ui.transport import ApiDown, NoResult

GAP_S = 5.0
# Pages redraw slightly less often than a call may be made: a tick that came early would make no call.
TICK_S = 5.2
# A page that is opened, or clicked on, shows nothing that was last asked for longer ago than this.
FRESH_S = 15.0
Value = TypeVar("Value")


class FeedSource(msgspec.Struct, frozen=True):
    """A resource: how to fetch it, and after how many seconds it is due again."""

    ask: Callable[[], Any]
    period_s: float


class FeedSnapshot(msgspec.Struct, Generic[Value], frozen=True):
    """A resource's last value, when it was read (Unix seconds), and the failure of a later try, if any."""

    value: Value | None = None
    read_at: float | None = None
    failure: NoResult | None = None

    def age_s(self, now: float) -> float | None:
        """The value's age in seconds; None without a value."""
        return None if self.read_at is None else max(0.0, now - self.read_at)


class Feed:
    """Snapshots of `sources` by name. `clock` gives Unix seconds."""

    def __init__(self, sources: Mapping[str, FeedSource], clock: Callable[[], float] = time.time) -> None:
        self._sources = sources
        self._clock = clock
        self._lock = threading.Lock()
        self._snapshots: dict[str, FeedSnapshot[Any]] = {}
        self._tried_at: dict[str, float] = {}
        self._ticked_at: dict[tuple[str, ...], float] = {}

    def snapshots(self, names: Sequence[str], *, fresh: bool = False) -> list[FeedSnapshot[Any]]:
        """The newest snapshots of `names`; fetches those never fetched, otherwise at most one per tick.

        `fresh`: also fetches all that were last asked for more than `FRESH_S` ago, as a page does when it is opened.
        """
        due = self._due(tuple(names), fresh)
        was_down = any(self._is_down(name) for name in due)
        down = self._ask_all(due)
        if was_down and down is None:
            # It is back: what failed meanwhile is asked for as when the page is opened.
            self._ask_all([name for name in names if self._is_down(name)])
        return [self._snapshots.get(name, FeedSnapshot()) for name in names]

    def last(self, name: str) -> Any | None:
        """The newest value of that name, None where there is none; asks nobody."""
        return self._snapshots.get(name, FeedSnapshot()).value

    def forget(self, names: Sequence[str] | None = None) -> None:
        """Refresh `names` (default: all) on their next use; the cached values stay until then."""
        with self._lock:
            for name in self._sources if names is None else names:
                self._tried_at.pop(name, None)

    def _ask_all(self, names: Sequence[str]) -> NoResult | None:
        """Fetch each; returns the failure if the API is down."""
        down: NoResult | None = None
        for name in names:
            # One time-out shows that the API is down; trying the rest would keep the visitor waiting.
            down = self._missed(name, down) if down is not None else self._ask(name)
        return down

    def _is_down(self, name: str) -> bool:
        return isinstance(self._snapshots.get(name, FeedSnapshot()).failure, ApiDown)

    def _due(self, names: tuple[str, ...], fresh: bool) -> list[str]:
        """What to fetch now, marked as tried so that two visitors do not fetch it at once."""
        now = self._clock()
        with self._lock:
            oldest = now - FRESH_S if fresh else float("-inf")
            due = [name for name in names if self._tried_at.get(name, float("-inf")) <= oldest]
            if not due and now - self._ticked_at.get(names, 0.0) >= GAP_S:
                name = max(names, key=lambda name: self._overdue(name, now))
                due = [name] if self._overdue(name, now) >= 1 else []
            if due:
                self._ticked_at[names] = now
            self._tried_at.update(dict.fromkeys(due, now))
        return due

    def _overdue(self, name: str, now: float) -> float:
        """The age of the last try, in periods."""
        return (now - self._tried_at[name]) / self._sources[name].period_s

    def _ask(self, name: str) -> NoResult | None:
        """Fetch one resource; returns the failure if the API is down."""
        try:
            self._snapshots[name] = FeedSnapshot(self._sources[name].ask(), self._clock())
        except NoResult as failure:
            # Without its traceback, which would keep the call's frames alive while the failure is shown.
            self._missed(name, failure.with_traceback(None))
            return failure if isinstance(failure, ApiDown) else None
        return None

    def _missed(self, name: str, failure: NoResult) -> NoResult:
        before: FeedSnapshot[Any] = self._snapshots.get(name, FeedSnapshot())
        self._snapshots[name] = FeedSnapshot(before.value, before.read_at, failure)
        return failure
