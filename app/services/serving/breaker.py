"""A circuit breaker for each version: a version that keeps failing is skipped, and probed again after a while."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Protocol

_LOG = logging.getLogger(__name__)


class Breaker:
    """Opens for `open_s` seconds after `failures` failures in a row, then lets one request through as a probe.

    States: `closed`, `open`, `half_open`. Thread-safe. `clock` is monotonic seconds.
    """

    def __init__(self, failures: int, open_s: float, clock: Callable[[], float]) -> None:
        self._limit = failures
        self._open_s = open_s
        self._clock = clock
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._opened_at: float | None = None
        self._probing_since: float | None = None

    @property
    def state(self) -> str:
        """`closed`, `open` or `half_open` (a probe may be sent or is in progress)."""
        opened_at = self._opened_at
        if opened_at is None:
            return "closed"
        return "open" if self._clock() - opened_at < self._open_s else "half_open"

    def allows(self) -> bool:
        """Whether a request may be sent; while half open, to one caller at a time."""
        # No lock while closed: every request comes through here.
        if self._opened_at is None:
            return True
        with self._lock:
            if self.state == "closed":
                return True
            if self.state == "open":
                return False
            now = self._clock()
            # A probe that never reports back must not keep the breaker open for ever.
            if self._probing_since is not None and now - self._probing_since < self._open_s:
                return False
            self._probing_since = now
            return True

    def succeeded(self) -> None:
        """A request was answered."""
        if self._in_a_row == 0 and self._opened_at is None:
            return
        with self._lock:
            self._in_a_row = 0
            self._opened_at = self._probing_since = None

    def failed(self) -> bool:
        """A request failed. True when this one opened the breaker."""
        with self._lock:
            self._in_a_row += 1
            was_open = self._opened_at is not None
            if was_open or self._in_a_row >= self._limit:
                self._opened_at = self._clock()
                self._probing_since = None
            return self._opened_at is not None and not was_open


class BreakerMetrics(Protocol):
    """Shows whether a version's breaker is open."""

    def breaker(self, version: str, is_open: bool) -> None: ...


class BreakerWatch:
    """Shows and logs when breakers open and close, away from the response path. For one thread; half open is open."""

    def __init__(self, metrics: BreakerMetrics) -> None:
        self._metrics = metrics
        self._open: dict[str, bool] = {}

    def check(self, breakers: Mapping[str, Breaker]) -> None:
        """Show what has changed since the last call. The breaker of a version that was removed counts as closed."""
        now = {version: breaker.state != "closed" for version, breaker in breakers.items()}
        for version in self._open.keys() | now.keys():
            is_open, was_open = now.get(version, False), self._open.get(version, False)
            if is_open != was_open or version not in self._open:
                self._metrics.breaker(version, is_open)
            if is_open and not was_open:
                _LOG.error("circuit_opened", extra={"event_fields": {"version": version}})
            if was_open and not is_open:
                _LOG.warning("circuit_closed", extra={"event_fields": {"version": version}})
        self._open = now
