"""The shelf's aliases follow the configuration: it decides who is champion, they repeat it for people and tools."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol

from app.domain.experiment import Configuration
from app.errors import ArtefactRefused, BakeoffError

_LOG = logging.getLogger(__name__)
CHAMPION, CHALLENGER = "champion", "challenger"


class Aliases(Protocol):
    """The shelf's table of aliases. Raises `ArtefactRefused`, `UnknownVersion` and `OSError`."""

    def aliases(self) -> Mapping[str, str]: ...

    def point(self, alias: str, version: str) -> None: ...


def aliases_after(table: Mapping[str, str], champion: str | None) -> dict[str, str]:
    """The aliases where `champion` leads: a challenger that became champion changes places with the one before."""
    before = table.get(CHAMPION)
    after = dict(table)
    if champion is None or champion == before:
        return after
    if before is not None and table.get(CHALLENGER) == champion:
        after[CHALLENGER] = before
    after[CHAMPION] = champion
    return after


def reconcile_aliases(registry: Aliases, configuration: Configuration) -> bool:
    """Point the aliases where the configuration says, and tell whether they pointed elsewhere.

    Idempotent, and right after a crash at any point: the challenger's goes first, so that half of the work looks like
    none of it. Raises `UnknownVersion`, `ArtefactRefused` and `OSError` (a shelf that is read-only).
    """
    if not configuration.epoch or configuration.champion is None:
        return False
    try:
        table: Mapping[str, str] = registry.aliases()
    except ArtefactRefused:
        table = {}  # a broken table says nothing; pointing writes a new one
    after = aliases_after(table, configuration.champion)
    changed = [alias for alias in sorted(after) if after[alias] != table.get(alias)]
    for alias in changed:
        registry.point(alias, after[alias])
    return bool(changed)


class AliasKeeper:
    """Keeps the aliases of one shelf right, as often as it is called; complains once for each failure in a row."""

    def __init__(self, registry: Aliases) -> None:
        self._registry = registry
        self._complained = False

    def keep(self, configuration: Configuration) -> None:
        """Repair the aliases if they need it. Never raises: readers take the champion from the configuration."""
        try:
            if reconcile_aliases(self._registry, configuration):
                fields = {"champion": configuration.champion, "epoch": configuration.epoch}
                _LOG.info("aliases_moved", extra={"event_fields": fields})
        except (BakeoffError, OSError) as error:
            if not self._complained:
                _LOG.warning("aliases_not_moved", extra={"event_fields": {"reason": str(error)}})
            self._complained = True
        else:
            self._complained = False
