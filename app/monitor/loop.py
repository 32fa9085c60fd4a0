"""The monitor's loop: take in what is new, publish what has changed, rest, and outlive an absent store."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

from app.domain.log_event import Cursor
from app.domain.report import ExperimentReport
from app.errors import StoreUnavailable
from app.monitor.projection import BATCH_ROWS, Projection, StepStore, step
from app.monitor.publisher import Publisher

_LOG = logging.getLogger(__name__)
POLL_S = 0.25
_OUTAGE_S = 1.0
_PUBLISH_S = 1.0
_BEAT_S = 2.0

AfterReports = Callable[[Sequence[ExperimentReport]], None]


class LoopStore(StepStore, Protocol):
    """The store's side of the loop. Raises `StoreUnavailable`."""

    def heartbeat(self, at: Cursor) -> None: ...


class Loop:
    """Runs folders in turn, each with its own cursor: one that fails does not keep the others.

    `after_reports` is called with the reports just made (for automatic decisions), and then
    `ticks` about once a second, reports or none (for what goes by the clock); `clock` is monotonic seconds.
    """

    def __init__(
        self,
        store: LoopStore,
        projections: Sequence[Projection],
        publisher: Publisher,
        after_reports: Sequence[AfterReports] = (),
        clock: Callable[[], float] = time.monotonic,
        ticks: Mapping[str, Callable[[], None]] | None = None,
    ) -> None:
        self._store = store
        self._folders = projections
        self._publisher = publisher
        self._after_reports = after_reports
        self._clock = clock
        self._ticks = dict(ticks or {})
        self._published_s = self._beaten_s = float("-inf")
        self._away = False
        self._failing: set[str] = set()

    def run(self, stop: threading.Event, alone: Callable[[], bool] = lambda: True) -> None:
        """Until `stop` is set or this is no longer `alone`, both of which are looked at between steps."""
        while not stop.is_set() and alone():
            try:
                rest_s = self.tick()
                self._back()
            except StoreUnavailable as error:
                self._say_away(error)
                rest_s = _OUTAGE_S
            stop.wait(rest_s)

    def tick(self) -> float:
        """One step of every folder, and what is due besides; seconds to rest. Raises `StoreUnavailable`."""
        rows = [self._step(projection) for projection in self._folders]
        # A portion that is not full was all there was: resting then lets a batch gather.
        caught_up = max(rows, default=0) < BATCH_ROWS
        now = self._clock()
        if now - self._published_s >= _PUBLISH_S:
            self._published_s = now
            self._guarded("reports", self._publish)
            for name in self._ticks:
                self._guarded(name, partial(self._tick, name))
        if not caught_up:
            return 0.0
        if now - self._beaten_s >= _BEAT_S and not self._failing:
            self._beaten_s = now
            self._store.heartbeat(Cursor())
        return POLL_S

    def _publish(self) -> int:
        made = self._publisher.publish()
        for act in self._after_reports if made else ():
            act(made)
        return len(made)

    def _tick(self, name: str) -> int:
        self._ticks[name]()
        return 0

    def _step(self, projection: Projection) -> int:
        return self._guarded(projection.name, lambda: step(projection, self._store))

    def _guarded(self, name: str, work: Callable[[], int]) -> int:
        """Do `work`; a fault of ours in one part, logged once, must not stop the others. The state then ages."""
        try:
            done = work()
        except StoreUnavailable:
            raise
        except Exception:  # noqa: BLE001 - logged, and counted by the age of the state
            if name not in self._failing:
                _LOG.exception("monitor_part_failed", extra={"event_fields": {"part": name}})
            self._failing.add(name)
            return 0
        self._failing.discard(name)
        return done

    def _say_away(self, error: StoreUnavailable) -> None:
        if not self._away:
            _LOG.error("monitor_store_unavailable", extra={"event_fields": {"reason": error.message}})
        self._away = True

    def _back(self) -> None:
        if self._away:
            _LOG.warning("monitor_store_back")
        self._away = False


class Lock(Protocol):
    """What makes the monitor one. `acquire` does not wait, and raises `StoreUnavailable`."""

    def acquire(self) -> bool: ...


def wait_for(lock: Lock, stop: threading.Event, poll_s: float = 0.5) -> bool:
    """Wait until the lock is ours, saying once what is waited for; False where `stop` was set first."""
    said = ""
    while (obstacle := _obstacle(lock)) is not None:
        event, reason = obstacle
        if event != said:
            _LOG.warning(event, extra={"event_fields": {"reason": reason}})
            said = event
        if stop.wait(poll_s):
            return False
    return True


def _obstacle(lock: Lock) -> tuple[str, str] | None:
    """What keeps the lock from being ours, as an event and its reason; None where it is."""
    try:
        return None if lock.acquire() else ("monitor_waits", "another monitor runs on this data")
    except StoreUnavailable as error:
        return "monitor_store_unavailable", error.message
