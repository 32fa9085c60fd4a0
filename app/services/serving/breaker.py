"""A circuit breaker per version: stop asking what keeps failing, and try it again after a while.

Shows the breakers of one worker: a gauge of each, and one line in the log when it opens and when it closes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Protocol


class Breaker:
    """Opens after `failures` failures in a row for `open_s` seconds, then lets one probe through.

    `clock` is monotonic seconds. States: `closed`, `open`, `half_open`. Thread-safe; reading while closed takes no
    lock, because every request does it.
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
        """`closed`, `open` or `half_open` (a probe may go or is under way)."""
        opened_at = self._opened_at
        if opened_at is None:
            return "closed"
        return "open" if self._clock() - opened_at < self._open_s else "half_open"

    def allows(self) -> bool:
        """Whether a request may be sent; in the half-open state only one caller at a time gets a yes."""
        if self._opened_at is None:
            return True
        with self._lock:
            if self.state == "closed":
                return True
            if self.state == "open":
                return False
            now = self._clock()
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


_LOG = logging.getLogger(__name__)


class BreakerMetrics(Protocol):
    """The gauge."""

    def breaker(self, version: str, is_open: bool) -> None: ...


class BreakerWatch:
    """Looks when it is asked to, away from the response path; for one thread. Half open is open still."""

    def __init__(self, metrics: BreakerMetrics) -> None:
        self._metrics = metrics
        self._open: dict[str, bool] = {}

    def look(self, breakers: Mapping[str, Breaker]) -> None:
        """Show what has changed since the last look. A version that is gone is not open."""
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
