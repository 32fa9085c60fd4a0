"""Keeps the registry's aliases in line with the configuration, which decides the champion.

Aliases only repeat it, for people and tools that read the registry.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol

from app.domain.experiment import Configuration
from app.errors import ArtefactRefused, BakeoffError

_LOG = logging.getLogger(__name__)
CHAMPION, CHALLENGER = "champion", "challenger"


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
    """Repairs the aliases of one registry whenever it is called; logs the first of several failures in a row."""

    def __init__(self, registry: Aliases) -> None:
        self._registry = registry
        self._failing = False

    def keep(self, configuration: Configuration) -> None:
        """Repair the aliases if necessary. Never raises: the service itself reads only the configuration."""
        try:
            if reconcile_aliases(self._registry, configuration):
                fields = {"champion": configuration.champion, "epoch": configuration.epoch}
                _LOG.info("aliases_moved", extra={"event_fields": fields})
        except (BakeoffError, OSError) as error:
            if not self._failing:
                _LOG.warning("aliases_not_moved", extra={"event_fields": {"reason": str(error)}})
            self._failing = True
        else:
            self._failing = False
