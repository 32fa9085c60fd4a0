"""Shows the breakers of one worker: a gauge of each, and one line in the log when it opens and when it closes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol

from app.services.breaker import Breaker

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
