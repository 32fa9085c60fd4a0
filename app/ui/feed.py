"""The newest known answers of the api, refreshed one at a time.

A live page asks every few seconds. It shows several things, and one call must do: so each tick asks for the thing whose
turn is most overdue, and shows what is known of the others. All visitors of one dashboard share what was asked.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from app.ui.transport import ApiDown, NoResult

GAP_S = 5.0
# How often pages redraw: a little later than a call may be made, for a tick that came early would be wasted.
TICK_S = 5.2
Value = TypeVar("Value")


class FeedSource(msgspec.Struct, frozen=True):
    """A thing to be known: how to ask for it, and after how many seconds it is due again."""

    ask: Callable[[], Any]
    period_s: float


class FeedSnapshot(msgspec.Struct, Generic[Value], frozen=True):
    """What is known of a thing: its last value and when that was read (Unix seconds), and why there is none newer."""

    value: Value | None = None
    read_at: float | None = None
    failure: NoResult | None = None

    def age_s(self, now: float) -> float | None:
        """How old the value is, None where there is none."""
        return None if self.read_at is None else max(0.0, now - self.read_at)


class Feed:
    """Looks at `sources` by name. `clock` gives Unix seconds."""

    def __init__(self, sources: Mapping[str, FeedSource], clock: Callable[[], float] = time.time) -> None:
        self._sources = sources
        self._clock = clock
        self._lock = threading.Lock()
        self._snapshots: dict[str, FeedSnapshot[Any]] = {}
        self._tried_at: dict[str, float] = {}
        self._ticked_at: dict[tuple[str, ...], float] = {}

    def snapshots(self, names: Sequence[str]) -> list[FeedSnapshot[Any]]:
        """The newest looks at `names`; asks for what was never asked, and else for one thing in a tick at most."""
        down: NoResult | None = None
        for name in self._due(tuple(names)):
            # One time-out is enough to know that the api is away; the rest would keep the visitor waiting.
            down = self._missed(name, down) if down is not None else self._ask(name)
        return [self._snapshots.get(name, FeedSnapshot()) for name in names]

    def forget(self, names: Sequence[str] | None = None) -> None:
        """Ask again for `names` (default: all) when they are next looked at; what is known stays until then."""
        with self._lock:
            for name in self._sources if names is None else names:
                self._tried_at.pop(name, None)

    def _due(self, names: tuple[str, ...]) -> list[str]:
        """What to ask for now, marked as tried, so that two visitors do not ask for it at once."""
        now = self._clock()
        with self._lock:
            due = [name for name in names if name not in self._tried_at]
            if not due and now - self._ticked_at.get(names, 0.0) >= GAP_S:
                name = max(names, key=lambda name: self._overdue(name, now))
                due = [name] if self._overdue(name, now) >= 1 else []
            if due:
                self._ticked_at[names] = now
            self._tried_at.update(dict.fromkeys(due, now))
        return due

    def _overdue(self, name: str, now: float) -> float:
        """The age of the last try in periods."""
        return (now - self._tried_at[name]) / self._sources[name].period_s

    def _ask(self, name: str) -> NoResult | None:
        """Ask, and return the failure where nothing answers at all."""
        try:
            self._snapshots[name] = FeedSnapshot(self._sources[name].ask(), self._clock())
        except NoResult as failure:
            # Without its traceback, which would keep the frames of the call alive as long as the failure is shown.
            self._missed(name, failure.with_traceback(None))
            return failure if isinstance(failure, ApiDown) else None
        return None

    def _missed(self, name: str, failure: NoResult) -> NoResult:
        before: FeedSnapshot[Any] = self._snapshots.get(name, FeedSnapshot())
        self._snapshots[name] = FeedSnapshot(before.value, before.read_at, failure)
        return failure
