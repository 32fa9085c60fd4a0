"""Counts what was served and what failed, in batches."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from app.domain.prediction import Exposure

_LOG = logging.getLogger(__name__)
_CIRCUIT_OPEN = "circuit_open"
_LOG_EVERY_S = 1.0


class ServingMetrics(Protocol):
    """What is counted for each version. A batch is one request, however many rows it has."""

    def served(self, version: str, latencies_s: Sequence[float], requests: int) -> None: ...

    def failed(self, version: str, reason: str) -> None: ...


def count_served(exposures: Sequence[Exposure], metrics: ServingMetrics) -> None:
    """Count each exposure as one request of the version that answered, and the versions that were not asked."""
    latencies_s: dict[str, list[float]] = {}
    for exposure in exposures:
        latencies_s.setdefault(exposure.version, []).append(exposure.latency_s)
        for failure in exposure.failures:
            if failure.reason == _CIRCUIT_OPEN:  # what a version raised has been reported on its own
                metrics.failed(failure.version, _CIRCUIT_OPEN)
    for version, latencies in latencies_s.items():
        metrics.served(version, latencies, len(latencies))


class FailureReports:
    """What versions raised on the response path, to be counted and logged away from it. Thread-safe.

    Each failure is counted; the log has one line a version and second at most. `clock` is monotonic seconds.
    """

    def __init__(self, event: str, count: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._event = event
        self._count = count
        self._clock = clock
        self._lock = threading.Lock()
        self._new: dict[str, tuple[int, str]] = {}
        self._unlogged: dict[str, tuple[int, str]] = {}
        self._logged_at_s: dict[str, float] = {}

    def add(self, version: str, reason: str) -> None:
        """Note one failure of `version`."""
        with self._lock:
            self._new[version] = (self._new.get(version, (0, ""))[0] + 1, reason)

    def report(self) -> None:
        """Count what is new, and log what is due."""
        if self._new:
            with self._lock:
                new, self._new = self._new, {}
            for version, (failures, reason) in new.items():
                self._unlogged[version] = (self._unlogged.get(version, (0, ""))[0] + failures, reason)
                for _ in range(failures):
                    self._count(version)
        if self._unlogged:
            self._log_due()

    def _log_due(self) -> None:
        now = self._clock()
        for version in [*self._unlogged]:
            if now - self._logged_at_s.get(version, float("-inf")) >= _LOG_EVERY_S:
                failures, reason = self._unlogged.pop(version)
                self._logged_at_s[version] = now
                fields = {"version": version, "failures": failures, "reason": reason}
                _LOG.error(self._event, extra={"event_fields": fields})
