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
from app.errors import ArtefactRefused, RegistryConflict, UnknownVersion
from app.inference.artefact import claimed_ordinal
from app.inference.registry import ModelRegistry
from app.inference.storage import RETIRED
from app.services.ports import LoadedModels, RefusedVersion, RetiredVersion

_CHAMPION = "champion"


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


def retired_versions(registry: ModelRegistry) -> dict[str, Retirement]:
    """The versions that are not to be loaded, by name. Raises `ArtefactRefused` if their table cannot be read.

    A version that became champion after it was retired is none of them.
    """
    registry.storage.refresh()
    table = registry.repaired(RETIRED, lambda: _read(registry))
    return _counting(registry, table)


def _counting(registry: ModelRegistry, table: Mapping[str, Retirement]) -> dict[str, Retirement]:
    return _seen(registry).counting(table) if table else {}


class _Seen(NamedTuple):
    """What was read of a registry: the names of its versions in order of publication, and which is the champion."""

    root: Path
    names: tuple[str, ...]
    champion: str | None

    def counting(self, table: Mapping[str, Retirement]) -> dict[str, Retirement]:
        """The entries that count: of versions that are there, and are not the champion."""
        return {
            name: table[name]
            for name in self.names
            if name in table
            and name != self.champion
            and table[name].ordinal in (None, claimed_ordinal(self.root / name))
        }

    def kept(self, table: Mapping[str, Retirement]) -> dict[str, Retirement]:
        """The entries that count, and those of versions that are not there: one may be a candidate that another process
        is publishing."""
        counting = self.counting(table)
        return {name: each for name, each in table.items() if name in counting or name not in self.names}


def _seen(registry: ModelRegistry) -> _Seen:
    champion = None
    with contextlib.suppress(ArtefactRefused):
        champion = registry.aliases().get(_CHAMPION)
    return _Seen(registry.root, registry.names(), champion)


def served_names(registry: ModelRegistry) -> tuple[str, ...]:
    """The names of the versions that are to be served, broken ones too, in order of publication.

    All versions, if the table of retired ones cannot be read.
    """
    retired: Collection[str] = ()
    with contextlib.suppress(ArtefactRefused):
        retired = retired_versions(registry)
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
    registry: ModelRegistry, before: LoadedModels | None, refused: list[RefusedVersion]
) -> dict[str, RetiredVersion]:
    """The retired versions as loaded models have them; those of `before` if their table cannot be read.

    Then the reason is added to `refused`.
    """
    try:
        names = retired_versions(registry)
    except ArtefactRefused as error:
        refused.append(RefusedVersion(name=RETIRED, reason=error.message))
        return {} if before is None else dict(before.retired)
    return {name: _described(registry, name, each.candidate) for name, each in names.items()}


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
    """Changes of the table. The registry is read when this is made, and a change is one `swap` of its storage, so that
    a lock that others wait for can be taken in between.

    Only within `storage.writing`. Every call raises `OSError`, and `ArtefactRefused` for a table that cannot be read.
    """

    def __init__(self, registry: ModelRegistry) -> None:
        registry.storage.fetch()
        self._registry = registry
        self._seen = _seen(registry)

    def served(self, retired: Collection[str]) -> tuple[str, ...]:
        """The versions that are not `retired`, in order of publication."""
        return tuple(name for name in self._seen.names if name not in retired)

    def retire(
        self, choose: Callable[[Mapping[str, Retirement]], Collection[str]], by: str, note: str | None, at: str
    ) -> TableChange:
        """Retire what `choose` returns for the entries that count, all or none. `at` is the time in UTC.

        Durable on return. A version that is retired already stays as it is. Calls `choose` again if another host has
        written meanwhile. Raises `UnknownVersion`, and `RegistryConflict` if the champion is among them or no version
        would be left.
        """
        done = TableChange((), ())

        def entered(data: bytes | None) -> bytes:
            nonlocal done
            table = _decoded(self._registry, data)
            retired, kept = self._seen.counting(table), self._seen.kept(table)
            wanted = choose(retired)
            self._require_retirable(wanted, retired)
            new = tuple(name for name in wanted if name not in retired or retired[name].candidate)
            for name in new:
                kept[name] = Retirement(ordinal=claimed_ordinal(self._seen.root / name), at=at, by=by, note=note)
            done = TableChange(new, self.served({*retired, *new}))
            return _encoded(kept)

        self._registry.storage.swap(RETIRED, entered)
        return done

    def restore(self, versions: Collection[str]) -> TableChange:
        """Take the versions back into service, all or none. Durable on return. Raises `UnknownVersion`."""
        self._require_known(versions)
        done = TableChange((), ())

        def left(data: bytes | None) -> bytes:
            nonlocal done
            table = _decoded(self._registry, data)
            retired = self._seen.counting(table)
            back = tuple(name for name in dict.fromkeys(versions) if name in retired)
            done = TableChange(back, self.served(retired.keys() - set(back)))
            return _encoded({name: each for name, each in self._seen.kept(table).items() if name not in versions})

        self._registry.storage.swap(RETIRED, left)
        return done

    def _require_retirable(self, versions: Collection[str], retired: Collection[str]) -> None:
        self._require_known(versions)
        if self._seen.champion in versions:
            raise RegistryConflict(
                f"{self._seen.champion} is the champion, so nothing was retired: promote another first"
            )
        if versions and not self.served({*retired, *versions}):
            raise RegistryConflict("no version would be left to serve, so nothing was retired: publish another first")

    def _require_known(self, versions: Collection[str]) -> None:
        # Not `registry.manifest`: a version whose file is damaged can be retired too.
        unknown = sorted(set(versions) - set(self._seen.names))
        if unknown:
            raise UnknownVersion(f"there is no version {unknown[0][:64]!r} in the model registry", field="version")


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
