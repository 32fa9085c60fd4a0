"""The versions on the shelf and those that serve, as anyone may read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from app.domain.contract import FeatureKind, Task
from app.domain.manifest import FileSum, Manifest, Parity, Source
from app.errors import ArtefactRefused, UnknownVersion
from app.services.control.aliases import aliases_after
from app.services.ports import Fleet
from app.services.serving.predictor import Live


class ShelfReader(Protocol):
    """The shelf on disk, as it is now. `manifest` and `aliases` raise `ArtefactRefused` for what is not in order."""

    def names(self) -> tuple[str, ...]: ...

    def manifest(self, version: str) -> Manifest: ...

    def aliases(self) -> Mapping[str, str]: ...


class FeatureEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A feature with everything said, where a manifest leaves out what is usual; see `app.domain.contract.Feature`."""

    name: str
    kind: FeatureKind
    minimum: float | None
    maximum: float | None
    median: float | None
    categories: tuple[str, ...]
    choices: tuple[float, ...]
    nullable: bool
    open_categories: bool
    source_name: str | None


class ContractEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The feature contract, with everything said. `classes` are by class id, none for regression."""

    task: Task
    target: str
    features: tuple[FeatureEntry, ...]
    classes: tuple[str, ...]


class CatalogueEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One version: its signed manifest, and its place in the service.

    `sha256` is the checksum of the original model file. `serving` says that this process has it in memory; `routed`
    that unforced requests may reach it (its contract fits the reference's); `runtime` is what runs it.
    """

    version: str
    ordinal: int
    aliases: tuple[str, ...]
    serving: bool
    routed: bool
    created_at: str
    variant: str | None
    estimator: str
    runtime: str
    sha256: str
    contract: ContractEntry
    metrics: Mapping[str, Mapping[str, object]]
    source: Source
    parity: Parity
    libraries: Mapping[str, str]
    files: Mapping[str, FileSum]
    examples: tuple[tuple[float | str | None, ...], ...]
    data_report: Mapping[str, object]


class CatalogueListing(msgspec.Struct, frozen=True):
    """Versions by ordinal, the aliases, and what lies on the shelf and may not be served, with the reason."""

    models: tuple[CatalogueEntry, ...]
    aliases: Mapping[str, str]
    refused: Mapping[str, str]


class Catalogue:
    """Reads the shelf afresh at each call: what was published a moment ago is listed, though not served yet."""

    def __init__(self, live: Live, shelf: ShelfReader) -> None:
        self._live = live
        self._shelf = shelf

    def listing(self) -> CatalogueListing:
        """Everything on the shelf."""
        fleet = self._live.fleet
        aliases = self._aliases(fleet)
        entries = _serving(fleet, aliases)
        refused = {version.name: version.reason for version in fleet.refused}
        for name in self._shelf.names():
            if name in fleet.versions:
                continue
            try:
                manifest = self._shelf.manifest(name)
            except (ArtefactRefused, UnknownVersion) as error:
                refused.setdefault(name, error.message)
            else:
                if name not in refused:
                    entries.append(_entry(manifest, fleet, aliases))
        entries.sort(key=lambda entry: entry.ordinal)
        return CatalogueListing(models=tuple(entries), aliases=aliases, refused=refused)

    def serving(self) -> CatalogueListing:
        """The same for the versions that serve now."""
        fleet = self._live.fleet
        aliases = self._aliases(fleet)
        refused = {version.name: version.reason for version in fleet.refused}
        return CatalogueListing(models=tuple(_serving(fleet, aliases)), aliases=aliases, refused=refused)

    def entry(self, version: str) -> CatalogueEntry:
        """One version. Raises `UnknownVersion`, also where it is on the shelf and refused: the message says so."""
        listing = self.listing()
        for entry in listing.models:
            if entry.version == version:
                return entry
        if version in listing.refused:
            raise UnknownVersion(f"version {version!r} is refused: {listing.refused[version]}")
        known = ", ".join(entry.version for entry in listing.models) or "none"
        raise UnknownVersion(f"no version {version[:64]!r} is on the shelf; there are: {known}")

    def _aliases(self, fleet: Fleet) -> dict[str, str]:
        """The shelf's aliases, with the champion that is in force: the shelf follows a moment later."""
        try:
            table = self._shelf.aliases()
        except ArtefactRefused:
            table = fleet.aliases
        return aliases_after(table, self._live.configuration.champion)


def _serving(fleet: Fleet, aliases: Mapping[str, str]) -> list[CatalogueEntry]:
    return [
        _entry(msgspec.convert(version.manifest, Manifest), fleet, aliases, version.runtime_name)
        for version in fleet.versions.values()
    ]


def _entry(manifest: Manifest, fleet: Fleet, aliases: Mapping[str, str], runtime: str | None = None) -> CatalogueEntry:
    name = manifest.version
    loaded = fleet.versions.get(name)
    model = manifest.files.get("model.joblib")
    return CatalogueEntry(
        version=name,
        ordinal=manifest.ordinal,
        aliases=tuple(sorted(alias for alias, target in aliases.items() if target == name)),
        serving=loaded is not None,
        routed=name in fleet.peers,
        created_at=manifest.created_at,
        variant=manifest.variant,
        estimator=manifest.estimator,
        runtime=runtime or manifest.runtime,
        sha256=loaded.sha256 if loaded is not None else model.sha256 if model is not None else "",
        contract=msgspec.convert(manifest.contract, ContractEntry, from_attributes=True),
        metrics=manifest.metrics,
        source=manifest.source,
        parity=manifest.parity,
        libraries=manifest.libraries,
        files=manifest.files,
        examples=manifest.examples,
        data_report=manifest.data_report,
    )
