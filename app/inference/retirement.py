"""Versions that are not loaded: retired ones, and the candidate that waits to be let in. They stay in their folders,
signed, and one table beside the versions names them.

Like the aliases, the table is not signed: it can only choose among versions, each of which is verified before it is
used. A release that knows no candidates takes one for retired, which keeps it from being loaded too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from app.domain.contract import FeatureContract
from app.domain.manifest import Manifest
from app.errors import ArtefactRefused, RegistryConflict, StoreUnavailable, UnknownVersion
from app.inference.artefact import claimed_date, claimed_ordinal, claimed_sum
from app.inference.registry import ModelRegistry
from app.inference.storage import RETIRED
from app.services.ports import LoadedModels, RefusedVersion, RetiredVersion, RetirementRecord

_CHAMPION = "champion"
_SECONDS = len("2026-11-20T12:00:00")  # a manifest says no more


class Retirement(msgspec.Struct, frozen=True, kw_only=True):
    """When a version was retired (UTC), by whom and why. A `candidate` was published so, and waits to be let in.

    `ordinal` is that of the version, None if its manifest could not be read: the table must not count for another
    version that gets the name after the folder was removed.
    """

    ordinal: int | None
    at: str
    by: str
    note: str | None = None
    candidate: bool = False


_TABLE = msgspec.json.Decoder(dict[str, Retirement])


def retired_versions(
    registry: ModelRegistry, decided: Mapping[str, RetirementRecord] | None = None
) -> dict[str, Retirement]:
    """The versions that are not to be loaded, by name. Raises `ArtefactRefused` if their table cannot be read.

    `decided` is what the store says, which is asked without it. A version that became champion after it was retired is
    none of them.
    """
    registry.storage.refresh()
    table = registry.repaired(RETIRED, lambda: _read(registry))
    return _seen(registry, decided).counting(table)


class _Seen(NamedTuple):
    """What was read of a registry: the names of its versions in order of publication, and which is the champion.

    `decided` is what the store said then.
    """

    registry: ModelRegistry
    names: tuple[str, ...]
    champion: str | None
    decided: Mapping[str, RetirementRecord]

    def counting(self, table: Mapping[str, Retirement]) -> dict[str, Retirement]:
        """The entries that count: of versions that are there, and are not the champion.

        Of table and store, the newer entry counts: each may have been restored from a backup, and a crash may have
        left the table behind.
        """
        found = {name: self._entry(name, table.get(name), self.decided.get(name)) for name in self.names}
        return {name: entry for name, entry in found.items() if entry is not None}

    def absent(self) -> dict[str, Retirement]:
        """The retired versions that only registries of other hosts have, or none any more."""
        shared = self.registry.rows is not None and self.registry.rows.shared
        names = {name for name, each in self.decided.items() if shared and name not in self.names and not each.since}
        return self._replace(names=tuple(sorted(names))).counting({})

    def _entry(self, name: str, entry: Retirement | None, decided: RetirementRecord | None) -> Retirement | None:
        folder = self.registry.root / name
        if entry is not None and (name == self.champion or entry.ordinal not in (None, claimed_ordinal(folder))):
            entry = None
        if decided is None or (entry is not None and entry.at > decided.at):
            return entry
        if not decided.retired:
            return None
        # Whoever retires a candidate has seen it wait; a version that was retired before keeps who was first.
        if decided.used or (entry is not None and not entry.candidate) or _is_later(folder, decided):
            return entry
        return Retirement(ordinal=claimed_ordinal(folder), at=decided.at, by=decided.by, note=decided.note)

    def again(self) -> _Seen:
        """The same, with what the store says now."""
        return self._replace(decided=_decided(self.registry))

    def kept(self, table: Mapping[str, Retirement]) -> dict[str, Retirement]:
        """The entries that count, and those of versions that are not there: one may be a candidate that another process
        is publishing."""
        return {name: each for name, each in table.items() if name not in self.names} | self.counting(table)


def _is_later(folder: Path, decided: RetirementRecord) -> bool:
    """Whether the version was made or published after the entry, which is about another one of its name."""
    return claimed_date(folder)[:_SECONDS] > decided.at[:_SECONDS] or claimed_sum(folder) in decided.since


def _seen(registry: ModelRegistry, decided: Mapping[str, RetirementRecord] | None = None) -> _Seen:
    champion = None
    with contextlib.suppress(ArtefactRefused):
        champion = registry.aliases().get(_CHAMPION)
    return _Seen(registry, registry.names(), champion, _decided(registry) if decided is None else decided)


def _decided(registry: ModelRegistry) -> Mapping[str, RetirementRecord]:
    if registry.rows is not None:
        with contextlib.suppress(StoreUnavailable):
            return registry.rows.retirements()
    return {}


def served_names(registry: ModelRegistry) -> tuple[str, ...]:
    """The names of the versions that are to be served, broken ones too, in order of publication.

    If the table of retired ones cannot be read, the store alone says which those are.
    """
    try:
        retired = retired_versions(registry)
    except ArtefactRefused:
        retired = _seen(registry).counting({})
    return tuple(name for name in registry.names() if name not in retired)


def candidate_of(registry: ModelRegistry) -> str | None:
    """The version that waits to be let in; None if none does. Raises `ArtefactRefused` if the table cannot be read."""
    return next((name for name, each in retired_versions(registry).items() if each.candidate), None)


def as_candidate(registry: ModelRegistry, by: str, at: str) -> Callable[[Manifest], None]:
    """For `ModelRegistry.publish`: the version waits to be let in, and an older candidate is retired.

    It is in the table before any process can see it, so none loads it. Called within `storage.writing`. Raises
    `RegistryConflict` if nothing is served yet: the first versions have nothing to wait for.
    """

    def enter(manifest: Manifest) -> None:
        if not served_names(registry):
            raise RegistryConflict("no version is in service yet, so none can wait: train without --candidate first")
        note = f"{manifest.version} took its place before it was let in"

        def entered(data: bytes | None) -> bytes:
            table = _seen(registry).kept(_decoded(registry, data))
            for name, each in table.items():
                if each.candidate:
                    table[name] = Retirement(ordinal=each.ordinal, at=at, by=by, note=note)
            table[manifest.version] = Retirement(ordinal=manifest.ordinal, at=at, by=by, candidate=True)
            return _encoded(table)

        registry.storage.swap(RETIRED, entered)

    return enter


def retired_models(
    registry: ModelRegistry,
    before: LoadedModels | None,
    refused: list[RefusedVersion],
    decided: Mapping[str, RetirementRecord] | None,
) -> dict[str, RetiredVersion]:
    """The retired versions as loaded models have them; those of `before` and the store's if their table cannot be read.

    Then the reason is added to `refused`. `decided` is what the store says; None if it cannot be asked.
    """
    known = {} if before is None else before.retired
    try:
        names = retired_versions(registry, decided or {})
        known = {} if decided is not None else known
    except ArtefactRefused as error:
        refused.append(RefusedVersion(name=RETIRED, reason=error.message))
        names = _seen(registry, decided or {}).counting({})
    names = _seen(registry, decided or {}).absent() | names
    return {**known, **{name: _described(registry, name, each.candidate) for name, each in names.items()}}


def _described(registry: ModelRegistry, name: str, candidate: bool) -> RetiredVersion:
    try:
        manifest = registry.manifest(name)
    except (ArtefactRefused, UnknownVersion):
        return RetiredVersion(0, FeatureContract(task="classification", target="", features=()), candidate)
    # As the log numbers the classes, which is how labels of its predictions are numbered too.
    contract = msgspec.structs.replace(manifest.contract, classes=registry.classes(manifest))
    return RetiredVersion(manifest.ordinal, contract, candidate)


class TableChange(NamedTuple):
    """The versions that a change retired or brought back, and the names of those that are served after it."""

    changed: tuple[str, ...]
    served: tuple[str, ...]


class RetiredTable:
    """Changes of what is retired: first what a change would do, by table and store, then its entry in the table.

    In between the store gets its row, under a lock of all writers. So what a change would do follows from what was read
    of the registry before.

    Only within `storage.writing`. Every call raises `OSError`, and `ArtefactRefused` for a table that cannot be read.
    """

    def __init__(self, registry: ModelRegistry) -> None:
        registry.storage.fetch()
        self._registry = registry
        self._table = registry.repaired(RETIRED, lambda: _read(registry))
        self._seen, rows = _seen(registry), registry.rows
        self._published = set(self._seen.names)
        with contextlib.suppress(StoreUnavailable):
            self._published.update(row.version for row in (() if rows is None else rows.known()))

    def served(self, retired: Collection[str]) -> tuple[str, ...]:
        """The versions that are not `retired`, in order of publication."""
        return tuple(name for name in self._seen.names if name not in retired)

    def retire(
        self, choose: Callable[[Mapping[str, Retirement]], Collection[str]], *, knows_champion: bool = False
    ) -> TableChange:
        """What retiring the versions that `choose` returns for the entries that count would change, all or none.

        A version that is retired already stays as it is. Raises `UnknownVersion`, and `RegistryConflict` if the
        champion is among them or no version would be left. `knows_champion`: `choose` goes by that of the deployment,
        which this registry's alias may not have followed.
        """
        retired = self._counting()
        wanted = choose(retired)
        self._require_retirable(wanted, retired, None if knows_champion else self._seen.champion)
        new = tuple(name for name in wanted if name not in retired or retired[name].candidate)
        return TableChange(new, self.served({*retired, *new}))

    def restore(self, versions: Collection[str]) -> TableChange:
        """What taking the versions back into service would change, all or none. Raises `UnknownVersion`."""
        self._require_known(versions, self._published)
        retired = self._counting()
        back = tuple(name for name in dict.fromkeys(versions) if name in retired)
        return TableChange(back, self.served(retired.keys() - set(back)))

    def write(
        self, retired: Collection[str] = (), restored: Collection[str] = (), *, by: str, note: str | None, at: str
    ) -> None:
        """Enter a change, made at `at` (UTC), and what the store says otherwise than the table. Durable on return."""
        entries = {
            name: Retirement(ordinal=claimed_ordinal(self._registry.root / name), at=at, by=by, note=note)
            for name in retired
            if name in self._seen.names  # of any other one the store's entry is enough
        }
        seen = _seen(self._registry)

        def entered(data: bytes | None) -> bytes:
            table = {**seen.kept(_decoded(self._registry, data)), **entries}
            return _encoded({name: each for name, each in table.items() if name not in restored})

        self._registry.storage.swap(RETIRED, entered)

    def _counting(self) -> dict[str, Retirement]:
        # The store again: its rows are what changes between hosts.
        seen = self._seen.again()
        return seen.absent() | seen.counting(self._table)

    def _require_retirable(self, versions: Collection[str], retired: Collection[str], champion: str | None) -> None:
        self._require_known(versions, self._published)
        if champion in versions:
            raise RegistryConflict(f"{champion} is the champion, so nothing was retired: promote another first")
        if versions and not self.served({*retired, *versions}):
            raise RegistryConflict("no version would be left to serve, so nothing was retired: publish another first")

    def _require_known(self, versions: Collection[str], known: Collection[str]) -> None:
        # Not `registry.manifest`: a version whose file is damaged can be retired too.
        for name in sorted(set(versions) - set(known)):
            raise UnknownVersion(f"there is no version {name[:64]!r} in the model registry", field="version")


def _read(registry: ModelRegistry) -> dict[str, Retirement]:
    path = registry.root / RETIRED
    return _decoded(registry, path.read_bytes() if path.exists() else None)


def _decoded(registry: ModelRegistry, data: bytes | None) -> dict[str, Retirement]:
    try:
        return _TABLE.decode(data or b"{}")
    except msgspec.DecodeError as error:
        raise ArtefactRefused(registry.root / RETIRED, f"is not a table of retired versions: {error}") from error


def _encoded(table: Mapping[str, Retirement]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(dict(table), order="sorted"), indent=2)
