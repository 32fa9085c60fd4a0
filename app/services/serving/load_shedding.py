"""When a worker rejects requests: one that would wait too long is rejected at once.

Load is shed before routing, so it affects all versions alike and cannot bias an experiment. Shadow versions go first:
they stop at half of the limit, while every request is still answered.
"""

from __future__ import annotations

from collections.abc import Callable

from app.errors import Overloaded

_RETRY_AFTER_S = 1


class LoadShedding:
    """The limits of one worker. `waiting` returns how many requests wait to be answered; every request calls it."""

    def __init__(self, waiting: Callable[[], int], limit: int) -> None:
        self._waiting = waiting
        self._limit = limit
        self._half = limit // 2

    @property
    def full(self) -> bool:
        """Whether a request must be rejected."""
        return self._waiting() > self._limit

    @property
    def backpressure(self) -> bool:
        """Whether work that nobody waits for must pause."""
        return self._waiting() > self._half

    def refusal(self) -> Overloaded:
        """The error for a rejected request."""
        return Overloaded(
            "overloaded: more requests wait than this service can answer soon; try again", retry_after_s=_RETRY_AFTER_S
        )
