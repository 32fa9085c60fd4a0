"""How much a worker takes on: what would wait too long is turned away at once, before anything was chosen for it.

Turning away happens before routing, so that it meets all versions alike and cannot bias an experiment. The recorder's
shadow work goes first: it stops at half of the limit, where every answer is still given.
"""

from __future__ import annotations

from collections.abc import Callable

from app.errors import Overloaded

_RETRY_AFTER_S = 1


class LoadShedding:
    """The gate of one worker. `waiting` is how many requests wait for a thread at the moment (cheap: each asks)."""

    def __init__(self, waiting: Callable[[], int], limit: int) -> None:
        self._waiting = waiting
        self._limit = limit
        self._half = limit // 2

    @property
    def full(self) -> bool:
        """Whether a request must be turned away."""
        return self._waiting() > self._limit

    @property
    def backpressure(self) -> bool:
        """Whether work that nobody waits for must stand back."""
        return self._waiting() > self._half

    def refusal(self) -> Overloaded:
        """What to tell who is turned away."""
        return Overloaded("more requests wait than this service can answer soon", retry_after_s=_RETRY_AFTER_S)
