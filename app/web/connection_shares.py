"""How many connections each worker of a host has: so that one of them does not accept all that come at once.

Whoever is awake first would: a crowd that connects in a millisecond then has half of the host, and keeps it for as long
as its connections live.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable

# A worker whose figure is older is stuck, stopped or dead, and nobody waits for it.
FRESH_S = 0.25
_FIELDS = 2  # connections, and the monotonic second in which they were told


class ConnectionShares:
    """Figures in memory that is shared by a fork: to be made before it. Without locks: each place has one writer."""

    def __init__(self, places: int, now_s: Callable[[], float] = time.monotonic) -> None:
        self._memory = memoryview(mmap.mmap(-1, 8 * _FIELDS * places)).cast("d")
        self._places = places
        self._now_s = now_s

    def tell(self, worker: int, connections: int) -> None:
        """Say how many connections the worker of that number has now."""
        place = worker % self._places * _FIELDS
        self._memory[place] = max(0, connections)
        self._memory[place + 1] = self._now_s()

    def leave(self, worker: int) -> None:
        """The worker accepts no more: the others need not wait for it."""
        self._memory[worker % self._places * _FIELDS + 1] = 0.0

    def fewest_of_others(self, worker: int) -> int | None:
        """The connections of the other worker that has the fewest; None where no other has told of any lately."""
        own, since = worker % self._places, self._now_s() - FRESH_S
        figures = self._memory.tolist()
        others = [
            figures[place * _FIELDS]
            for place in range(self._places)
            if place != own and figures[place * _FIELDS + 1] > since
        ]
        return int(min(others)) if others else None
