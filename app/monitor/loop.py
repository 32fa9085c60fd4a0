"""The monitor's loop: process what is new, publish what has changed, rest, and outlive an unavailable store."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

from app.domain.report import ExperimentReport
from app.errors import StoreUnavailable
from app.monitor.projection import BATCH_ROWS
from app.services.boundaries import FaultBoundary

_LOG = logging.getLogger(__name__)
POLL_S = 0.25
_OUTAGE_S = 1.0
_FOLLOWS, _UNAVAILABLE, _BACK = "monitor_follows", "monitor_store_unavailable", "monitor_store_back"
_PUBLISH_S = 1.0
# Well below the 30 s after which `/health` calls the monitor stale.
_HEARTBEAT_S = 2.0

AfterReports = Callable[[Sequence[ExperimentReport]], None]


class Loop:
    """Runs the projections' steps one after another; a part that fails does not stop the others.

    `steps` are functions by name that process one batch and return its number of rows. About once a second `publish`
    makes the reports that are due, `after_reports` are called with them in order if there are any, and then `ticks`
    (functions by name), with or without reports. `heartbeat` records that all of the log has been processed. `prepare`
    is called first in every run, until it returns true; it may take long, and so asks the function that it is given
    whether to go on. `behind` are steps of what nobody waits for, after the others: what they have left, or a failure
    in one, is no reason to call the monitor late. All of these may raise `StoreUnavailable`. `clock` is monotonic
    seconds.
    """

    def __init__(
        self,
        steps: Mapping[str, Callable[[], int]],
        publish: Callable[[], Sequence[ExperimentReport]],
        heartbeat: Callable[[], None],
        after_reports: Sequence[AfterReports] = (),
        ticks: Mapping[str, Callable[[], None]] | None = None,
        clock: Callable[[], float] = time.monotonic,
        prepare: Callable[[Callable[[], bool]], bool] = lambda _going_on: True,
        behind: Mapping[str, Callable[[], int]] | None = None,
    ) -> None:
        self._steps = steps
        self._publish = publish
        self._heartbeat = heartbeat
        self._after_reports = after_reports
        self._ticks = ticks or {}
        self._clock = clock
        self._prepare = prepare
        self._behind = behind or {}
        self._published_s = self._heartbeat_s = float("-inf")
        self._unavailable = False
        self._boundaries: dict[str, FaultBoundary] = {}
        self._boundaries_behind: dict[str, FaultBoundary] = {}

    def run(self, stop: threading.Event, alone: Callable[[], bool] = lambda: True) -> None:
        """Loop until `stop` is set or `alone` is false (another monitor may run); both are checked between ticks."""

        def going_on() -> bool:
            return not stop.is_set() and alone()

        ready = False
        while going_on():
            try:
                ready = ready or bool(self._guarded("preparation", partial(self._prepare, going_on)))
                rest_s = self.tick() if ready else _OUTAGE_S
                self._log_back()
            except StoreUnavailable as error:
                self._log_unavailable(error)
                rest_s = _OUTAGE_S
            stop.wait(rest_s)

    def tick(self) -> float:
        """One step of every projection, and whatever is due; returns the seconds to rest. Raises `StoreUnavailable`."""
        rows = [self._guarded(name, work) for name, work in self._steps.items()]
        # A batch that is not full reached the end of the log: resting then lets the next one gather.
        caught_up = max(rows, default=0) < BATCH_ROWS
        left = [self._guarded(name, work, self._boundaries_behind) for name, work in self._behind.items()]
        rest_s = POLL_S if max(left, default=0) < BATCH_ROWS else 0.0
        now_s = self._clock()
        if now_s - self._published_s >= _PUBLISH_S:
            self._published_s = now_s
            self._guarded("reports", self._publish_and_act)
            for name, work in self._ticks.items():
                self._guarded(name, work)
        if not caught_up:
            return 0.0
        # No heartbeat while a part fails: its state is not current, and the age of the heartbeat raises the alert.
        failing = any(boundary.failing for boundary in self._boundaries.values())
        if now_s - self._heartbeat_s >= _HEARTBEAT_S and not failing:
            self._heartbeat_s = now_s
            self._heartbeat()
        return rest_s

    def _publish_and_act(self) -> None:
        made = self._publish()
        for act in self._after_reports if made else ():
            act(made)

    def _guarded(
        self, name: str, work: Callable[[], int | None], boundaries: dict[str, FaultBoundary] | None = None
    ) -> int:
        """The rows that `work` processed, 0 where it failed: a bug in one part must not stop the others."""
        kept = self._boundaries if boundaries is None else boundaries
        boundary = kept.get(name) or kept.setdefault(
            name,
            # An unavailable store concerns every part alike: `run` handles it.
            FaultBoundary(_LOG, "monitor_part_failed", fields={"part": name}, once=True, passing=(StoreUnavailable,)),
        )
        with boundary:
            return work() or 0
        return 0

    def _log_unavailable(self, error: StoreUnavailable) -> None:
        if not self._unavailable:
            _LOG.error(_UNAVAILABLE, extra={"event_fields": {"reason": error.message}})
        self._unavailable = True

    def _log_back(self) -> None:
        if self._unavailable:
            _LOG.info(_BACK)
        self._unavailable = False


class Lock(Protocol):
    """The lock that lets one monitor run at a time."""

    def acquire(self) -> bool:
        """Whether the lock is ours now; does not wait. Raises `StoreUnavailable`."""
        ...

    def held(self) -> bool:
        """Whether it still is ours."""
        ...


def wait_for(lock: Lock, stop: threading.Event, poll_s: float = 0.5, *, lost: bool = False) -> bool:
    """Wait until the lock is ours, and log that it is, and each change of what it waits for; False where `stop` was set
    first.

    `lost`: it was ours until now.
    """
    logged = None
    if lost:
        logged = _FOLLOWS
        reason = "the store was away or has given its lock away: another monitor may lead"
        _LOG.warning(_FOLLOWS, extra={"event_fields": {"reason": reason}})
    while (obstacle := _obstacle(lock)) is not None:
        event, reason = obstacle
        if event != logged:
            _log_end_of(logged)
            logged = event
            level = logging.ERROR if event == _UNAVAILABLE else logging.INFO
            _LOG.log(level, event, extra={"event_fields": {"reason": reason}})
        if stop.wait(poll_s):
            return False
    _log_end_of(logged)
    _LOG.info("monitor_leads")
    return True


def _log_end_of(logged: str | None) -> None:
    if logged == _UNAVAILABLE:
        _LOG.info(_BACK)


def _obstacle(lock: Lock) -> tuple[str, str] | None:
    """Why the lock is not ours, as a log event and its reason; None where it is."""
    try:
        return None if lock.acquire() else (_FOLLOWS, "another monitor runs on this data")
    except StoreUnavailable as error:
        return _UNAVAILABLE, error.message
