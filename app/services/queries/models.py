"""`GET /models` and `/model/info`: the versions in the model registry, and which of them are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from app.domain.classes import permutation
from app.domain.contract import Task
from app.domain.manifest import REFERENCE_FILE, FileSum, Manifest, Parity, ReferenceHistory, Source
from app.domain.timestamps import iso_utc
from app.errors import ArtefactRefused, UnknownVersion
from app.services.control.aliases import aliases_after
from app.services.ports import LoadedModels
from app.services.serving.live_models import LiveModels
from app.tables.model_columns import FeatureKind


class RegistryReader(Protocol):
    """The model registry as it is now.

    `manifest` and `reference_history` raise `ArtefactRefused` (a wrong signature) and `UnknownVersion`; `aliases`
    raises `ArtefactRefused`.
    """

    def names(self) -> tuple[str, ...]: ...

    def manifest(self, version: str) -> Manifest: ...

    def aliases(self) -> Mapping[str, str]: ...

    def reference_history(self, version: str) -> ReferenceHistory: ...


class FeatureEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A feature with all of its fields, where a manifest leaves out defaults; see `app.domain.contract.Feature`."""

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
    boolean: bool
    dates_like: str | None


class ContractEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The feature contract with all of its fields. `classes` are by class id, none for regression.

    They are named as answers name them. Where the version's own training data spell them differently, these names are
    in `training_classes`, in the same order; else that is null.
    """

    task: Task
    target: str
    features: tuple[FeatureEntry, ...]
    classes: tuple[str, ...]
    training_classes: tuple[str, ...] | None


class ReferenceEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The drift reference that counts for a version: the newest that is valid.

    `number` is 0 for the one that the version was published with, whose `rows` the manifest does not count. Requests
    served from `since` on are compared with it. `dataset` is where its rows came from, and `reference_is` what the
    publisher said of them (null for number 0). `refused` are the reasons why newer ones do not count.
    """

    number: int
    since: str
    rows: int | None
    dataset: str
    reference_is: str | None
    refused: tuple[str, ...] = ()


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One version: its signed manifest, and how this process uses it.

    `sha256` is the checksum of the original model file. `serving`: it is loaded in this process. `routed`: requests
    that force no version may reach it, because it can be asked the same ones as the champion. `retired`: it was taken
    out of service, and the last reload has dropped it. `candidate`: it was published to wait, and was never loaded.
    `runtime`: what runs it. `repeated_share`: the share of the reference's rows that stand in it more than once, null
    for versions published by releases that did not count them. `reference`: the drift reference that counts; null
    without one.
    """

    version: str
    ordinal: int
    aliases: tuple[str, ...]
    serving: bool
    routed: bool
    retired: bool
    candidate: bool
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
    repeated_share: float | None
    reference: ReferenceEntry | None
    data_report: Mapping[str, object]


class ModelListing(msgspec.Struct, frozen=True):
    """Versions by ordinal, the aliases, and the versions that may not be served, each with the reason.

    `excluded` has the reason for each loaded version that cannot be asked the same requests as the champion.
    """

    models: tuple[ModelEntry, ...]
    aliases: Mapping[str, str]
    refused: Mapping[str, str]
    excluded: Mapping[str, str]


class ModelQueries:
    """Reads the registry at each call: a version published a moment ago is listed, though it is not loaded yet."""

    def __init__(self, live: LiveModels, registry: RegistryReader) -> None:
        self._live = live
        self._registry = registry

    def listing(self) -> ModelListing:
        """Every version in the registry, and every loaded one."""
        loaded_models = self._live.loaded_models
        aliases = self._aliases(loaded_models)
        entries = self._loaded(loaded_models, aliases)
        refused = {version.name: version.reason for version in loaded_models.refused}
        for name in self._registry.names():
            if name in loaded_models.versions:
                continue  # what is loaded was verified: whatever has become of the file since
            try:
                manifest = self._registry.manifest(name)
            except (ArtefactRefused, UnknownVersion) as error:
                refused.setdefault(name, error.message)
            else:
                if name not in refused:
                    entries.append(self._entry(manifest, loaded_models, aliases))
        entries.sort(key=lambda entry: entry.ordinal)  # the order of publication; names sort v10 before v2
        return ModelListing(tuple(entries), aliases, refused, loaded_models.excluded)

    def loaded(self) -> ModelListing:
        """The loaded versions only."""
        loaded_models = self._live.loaded_models
        aliases = self._aliases(loaded_models)
        refused = {version.name: version.reason for version in loaded_models.refused}
        return ModelListing(tuple(self._loaded(loaded_models, aliases)), aliases, refused, loaded_models.excluded)

    def entry(self, version: str) -> ModelEntry:
        """One version. Raises `UnknownVersion`; for a refused version its message has the reason."""
        listing = self.listing()
        for entry in listing.models:
            if entry.version == version:
                return entry
        if version in listing.refused:
            raise UnknownVersion(f"version {version!r} is refused: {listing.refused[version]}")
        known = ", ".join(entry.version for entry in listing.models) or "none"
        raise UnknownVersion(f"no version {version[:64]!r} is in the model registry; there are: {known}")

    def _aliases(self, loaded_models: LoadedModels) -> dict[str, str]:
        """The aliases with the champion in force: the registry's own follow the configuration a moment later."""
        # The configuration goes first: the file follows it later, or never if the registry is read-only (ADR 11).
        try:
            table = self._registry.aliases()
        except ArtefactRefused:
            table = loaded_models.aliases
        return aliases_after(table, self._live.configuration.champion)

    def _loaded(self, loaded_models: LoadedModels, aliases: Mapping[str, str]) -> list[ModelEntry]:
        return [
            self._entry(msgspec.convert(version.manifest, Manifest), loaded_models, aliases, version.runtime_name)
            for version in loaded_models.versions.values()
        ]

    def _entry(
        self,
        manifest: Manifest,
        loaded_models: LoadedModels,
        aliases: Mapping[str, str],
        runtime: str | None = None,
    ) -> ModelEntry:
        # What is loaded stays listed, whatever has become of its folder; then no later reference of it counts either.
        try:
            history = self._registry.reference_history(manifest.version)
        except (ArtefactRefused, UnknownVersion):
            history = ReferenceHistory()
        return _entry(manifest, loaded_models, aliases, runtime, reference_entry(manifest, history))


def reference_entry(manifest: Manifest, history: ReferenceHistory) -> ReferenceEntry | None:
    """The reference that counts for the version; None where it has none."""
    newest = history.newest
    if newest is not None:
        return ReferenceEntry(
            number=newest.number,
            since=iso_utc(newest.counts_from_us),
            rows=newest.rows,
            dataset=newest.source.dataset,
            reference_is=newest.reference_is,
            refused=history.refused,
        )
    if REFERENCE_FILE not in manifest.files:
        return None
    return ReferenceEntry(
        number=0,
        since=manifest.created_at,
        rows=None,
        dataset=manifest.source.dataset,
        reference_is=None,
        refused=history.refused,
    )


def _places(manifest: Manifest, loaded_models: LoadedModels) -> Mapping[str, int]:
    """The classes as answers name them, by class id, each with the version's own id of it."""
    own = manifest.contract.classes
    loaded = loaded_models.versions.get(manifest.version)
    names = loaded.contract.classes if loaded is not None else manifest.numbered_classes or own
    places = permutation(names, own)
    return dict(zip(own, range(len(own)), strict=True) if places is None else zip(names, places, strict=True))


def _contract(manifest: Manifest, places: Mapping[str, int]) -> ContractEntry:
    contract, names = manifest.contract, tuple(places)
    trained = tuple(contract.classes[place] for place in places.values())
    return ContractEntry(
        task=contract.task,
        target=contract.target,
        features=msgspec.convert(contract.features, tuple[FeatureEntry, ...], from_attributes=True),
        classes=names,
        training_classes=None if trained == names else trained,
    )


def _figures(figures: Mapping[str, object], places: list[int]) -> Mapping[str, object]:
    """The figures, with the confusion matrix in the order of the classes in answers, and the Brier score of all."""
    matrix: Any = figures.get("confusion_matrix")
    brier = figures.get("brier")
    # Earlier releases had that of one class for two, half of what experiments compare.
    if isinstance(brier, float) and len(places) == 2 and "brier_form" not in figures:
        figures = dict(figures, brier=2 * brier, brier_form="all_classes")
    if not matrix or len(matrix) != len(places):
        return figures
    return {**figures, "confusion_matrix": [[matrix[row][column] for column in places] for row in places]}


def _entry(
    manifest: Manifest,
    loaded_models: LoadedModels,
    aliases: Mapping[str, str],
    runtime: str | None,
    reference: ReferenceEntry | None,
) -> ModelEntry:
    name = manifest.version
    places = _places(manifest, loaded_models)
    loaded = loaded_models.versions.get(name)
    return ModelEntry(
        version=name,
        ordinal=manifest.ordinal,
        aliases=tuple(sorted(alias for alias, target in aliases.items() if target == name)),
        serving=loaded is not None,
        routed=name in loaded_models.compatible,
        retired=name in loaded_models.retired and not loaded_models.retired[name].candidate,
        candidate=name in loaded_models.retired and loaded_models.retired[name].candidate,
        created_at=manifest.created_at,
        variant=manifest.variant,
        estimator=manifest.estimator,
        runtime=runtime or manifest.runtime,
        sha256=loaded.sha256 if loaded is not None else manifest.model_sha256,
        contract=_contract(manifest, places),
        metrics={group: _figures(figures, list(places.values())) for group, figures in manifest.metrics.items()},
        source=manifest.source,
        parity=manifest.parity,
        libraries=manifest.libraries,
        files=manifest.files,
        examples=manifest.examples,
        repeated_share=manifest.cases.repeated_share,
        reference=reference,
        data_report=manifest.data_report,
    )
