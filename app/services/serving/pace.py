"""Whether the loaded versions answer so quickly that an event loop can wait for them."""

from __future__ import annotations

import time
from collections.abc import Mapping

from app.domain.typical_row import typical_row
from app.services.boundaries import attempt
from app.services.ports import LoadedVersion

# Between the two, a version stays what it was: it must not go back and forth.
SLOW_S = 0.005
QUICK_S = 0.0025
_MOST_RISE = 1.5


class Pace:
    """The time that each loaded version needs for one row, in seconds.

    The figure falls at once and rises by half at most: a thread that had to wait for its processor shows up in some
    predictions, a slow model in all of them.
    """

    def __init__(self) -> None:
        self._known: Mapping[str, LoadedVersion] = {}
        self._seconds: dict[str, float] = {}
        self._slow: frozenset[str] = frozenset()

    def slow(self, versions: Mapping[str, LoadedVersion]) -> bool:
        """Whether one of `versions` is slow, or has not been measured yet."""
        return versions is not self._known or bool(self._slow)

    def measure(self, versions: Mapping[str, LoadedVersion]) -> None:
        """Know these versions, and no others, from now on: new ones are asked for one row each."""
        for name, version in versions.items():
            if self._known.get(name) is not version:
                self._seconds.pop(name, None)
                attempt(self._ask, name, version)
        self._seconds = {name: seconds for name, seconds in self._seconds.items() if name in versions}
        self._slow &= frozenset(versions)
        self._known = versions

    def note(self, version: str, seconds: float) -> None:
        """Count one prediction of a row; requests on several threads may do so at once."""
        before = self._seconds.get(version)
        figure = seconds if before is None else min(seconds, _MOST_RISE * before)
        self._seconds[version] = figure
        if figure > SLOW_S:
            if version not in self._slow:
                self._slow |= {version}
        elif figure < QUICK_S and version in self._slow:
            self._slow -= {version}

    def _ask(self, name: str, version: LoadedVersion) -> None:
        rows = version.parser.rows([typical_row(version.contract)])
        for _ in range(2):  # the first prediction also prepares the runtime
            started = time.perf_counter()
            version.runtime.predict(rows)
            self.note(name, time.perf_counter() - started)
