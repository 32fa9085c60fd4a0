"""Keeps the registry's aliases in line with the configuration, which decides the champion.

Aliases only repeat it, for people and tools that read the registry, or an MLflow server.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from app.domain.experiment import Configuration
from app.errors import ArtefactRefused, BakeoffError, UnknownVersion
from app.services.boundaries import FaultBoundary

_LOG = logging.getLogger(__name__)
CHAMPION, CHALLENGER = "champion", "challenger"
_MOVES = "the alias moves once it is there"
_POLL_S, _AGAIN_S, _END_S = 1.0, 30.0, 10.0


class Aliases(Protocol):
    """The registry's table of aliases. Raises `ArtefactRefused`, `UnknownVersion` and `OSError`."""

    def aliases(self) -> Mapping[str, str]: ...

    def point(self, alias: str, version: str) -> None: ...


def aliases_after(table: Mapping[str, str], champion: str | None) -> dict[str, str]:
    """The aliases once `champion` leads: a challenger that became champion changes places with the previous one."""
    before = table.get(CHAMPION)
    after = dict(table)
    if champion is None or champion == before:
        return after
    if before is not None and table.get(CHALLENGER) == champion:
        after[CHALLENGER] = before
    after[CHAMPION] = champion
    return after


def reconcile_aliases(registry: Aliases, configuration: Configuration) -> bool:
    """Point the aliases where the configuration says; returns whether any was changed.

    Idempotent, also after a crash in the middle. Raises `UnknownVersion`, `ArtefactRefused`, and `OSError` if the
    registry is read-only.
    """
    if not configuration.epoch or configuration.champion is None:
        return False
    try:
        table: Mapping[str, str] = registry.aliases()
    except ArtefactRefused:
        table = {}  # a broken table is replaced by a new one
    after = aliases_after(table, configuration.champion)
    # In alphabetical order the challenger's alias is first: a crash before the champion's looks as if nothing was done.
    changed = [alias for alias in sorted(after) if after[alias] != table.get(alias)]
    for alias in changed:
        registry.point(alias, after[alias])
    return bool(changed)


class AliasKeeper:
    """Repairs the aliases of one registry whenever it is called, and after a failure not for 30 s.

    Logs the first of several failures in a row. `clock` is in seconds.
    """

    def __init__(self, registry: Aliases, clock: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._clock = clock
        self._failing = False
        self._again_s = -math.inf

    def keep(self, configuration: Configuration) -> None:
        """Repair the aliases if necessary. Never raises: the service itself reads only the configuration."""
        if self._clock() < self._again_s:
            return
        try:
            if reconcile_aliases(self._registry, configuration):
                fields = {"champion": configuration.champion, "epoch": configuration.epoch}
                _LOG.info("aliases_moved", extra={"event_fields": fields})
        except (BakeoffError, OSError) as error:
            if not self._failing:
                lacks = f" of this host (on S3: in its copy); {_MOVES}" if isinstance(error, UnknownVersion) else ""
                _LOG.warning("aliases_not_moved", extra={"event_fields": {"reason": f"{error}{lacks}"}})
            self._failing, self._again_s = True, self._clock() + _AGAIN_S
        else:
            self._failing = False


class ChampionElsewhere:
    """Points the alias `champion` on another server at each new champion, in a thread that nothing waits for.

    `point` moves it to a version of this registry and returns what that is called there; None if it is not there. It
    raises `BakeoffError` where that cannot be done now: then it is tried again every 30 s. It is called once for the
    champion of the start, too, which may have been promoted while this did not run. `clock` is in seconds.
    """

    def __init__(
        self,
        configuration: Callable[[], Configuration | None],
        point: Callable[[str], str | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._configuration = configuration
        self._point = point
        self._clock = clock
        self._done: str | None = None
        self._failing = False
        self._again_s = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mlflow", daemon=True)

    def start(self) -> None:
        """Begin to look at the configuration."""
        self._thread.start()

    def stop(self) -> None:
        """End once a call that runs has ended, for which this waits a while."""
        self._stopping.set()
        self._thread.join(_END_S)

    def tick(self) -> None:
        """Move the alias if the champion is another one. Raises `StoreUnavailable`."""
        configuration = self._configuration()
        champion = None if configuration is None else configuration.champion
        if champion in (None, self._done) or self._clock() < self._again_s:
            return
        self._again_s = self._clock() + _AGAIN_S  # also after an error that nobody expected
        try:
            there = self._point(champion)
        except BakeoffError as error:
            if not self._failing:
                _LOG.warning("mlflow_alias_not_moved", extra={"event_fields": {"reason": error.message}})
            self._failing = True
            return
        self._done, self._failing, self._again_s = champion, False, 0.0
        if there is None:
            _LOG.warning("mlflow_lacks_champion", extra={"event_fields": {"champion": champion}})
        else:
            _LOG.info("mlflow_alias_moved", extra={"event_fields": {"champion": champion, "to": there}})

    def _run(self) -> None:
        boundary = FaultBoundary(_LOG, "mlflow_alias_failed", once=True)
        while not self._stopping.wait(_POLL_S):
            with boundary:
                self.tick()
