"""A circuit breaker per version: stop asking what keeps failing, and try it again after a while."""

from __future__ import annotations

import threading
from collections.abc import Callable


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
