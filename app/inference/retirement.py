"""Versions that are not loaded: retired ones, and the candidate that waits to be let in. They stay in their folders,
signed, and one table beside the versions names them.

Like the aliases, the table is not signed: it can only choose among versions, each of which is verified before it is
used. A release that knows no candidates takes one for retired, which keeps it from being loaded too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping

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
    """The entries that count: of versions that are there, and are not the champion."""
    table = dict(table)
    if not table:
        return table
    with contextlib.suppress(ArtefactRefused):
        table.pop(registry.aliases().get(_CHAMPION, ""), None)
    return {
        name: table[name]
        for name in registry.names()
        if name in table and table[name].ordinal in (None, claimed_ordinal(registry.root / name))
    }


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
            table = _kept(registry, data)
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


def retire(registry: ModelRegistry, versions: Collection[str], by: str, note: str | None, at: str) -> None:
    """Retire the versions, all of them or none; aliases that point at them are removed. `at` is the time in UTC.

    Durable on return. A version that is retired already stays as it is. Raises `UnknownVersion`, `OSError`,
    `ArtefactRefused` for a table that cannot be read, and `RegistryConflict` if the champion is among them or no
    version would be left.
    """
    with registry.storage.writing():
        registry.storage.fetch()
        _require_known(registry, versions)
        retired, champion = retired_versions(registry), registry.aliases().get(_CHAMPION)
        if champion in versions:
            raise RegistryConflict(f"{champion} is the champion, so nothing was retired: promote another first")
        if not set(registry.names()) - retired.keys() - set(versions):
            raise RegistryConflict("no version would be left to serve, so nothing was retired: publish another first")

        def entered(data: bytes | None) -> bytes:
            table = _kept(registry, data)
            for name in versions:
                if name not in table or table[name].candidate:
                    ordinal = claimed_ordinal(registry.root / name)
                    table[name] = Retirement(ordinal=ordinal, at=at, by=by, note=note)
            return _encoded(table)

        registry.storage.swap(RETIRED, entered)
        # Only then: a crash in between leaves an alias of a version that is not loaded, which nothing needs.
        registry.unpoint(versions)


def restore(registry: ModelRegistry, versions: Collection[str]) -> None:
    """Take the versions back into service. Durable on return. Raises as `retire` does, without `RegistryConflict`."""

    def left(data: bytes | None) -> bytes:
        return _encoded({name: each for name, each in _kept(registry, data).items() if name not in versions})

    with registry.storage.writing():
        registry.storage.fetch()
        _require_known(registry, versions)
        registry.storage.swap(RETIRED, left)


def _require_known(registry: ModelRegistry, versions: Collection[str]) -> None:
    # Not `registry.manifest`: a version whose file is damaged can be retired too.
    unknown = sorted(set(versions) - set(registry.names()))
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


def _kept(registry: ModelRegistry, data: bytes | None) -> dict[str, Retirement]:
    """The entries of the table that count, and those of versions that are not there: one may be a candidate that
    another process is publishing."""
    table, names = _decoded(registry, data), registry.names()
    counting = _counting(registry, table)
    return {name: each for name, each in table.items() if name in counting or name not in names}


def _encoded(table: Mapping[str, Retirement]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(dict(table), order="sorted"), indent=2)
