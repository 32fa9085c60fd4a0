"""A training session: train versions from a data set and publish those that pass the quality gate (`bakeoff train`).

The way: choose names and variants, read and check the data, split and fit, apply the gate, publish.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from app.clock import now_us
from app.domain.contract import Task
from app.domain.manifest import Manifest, Source
from app.domain.timestamps import iso_utc
from app.drift.reference import ReferenceAnswers, build_reference
from app.errors import ArtefactRefused, DataRefused, GateFailed, InvalidRequest
from app.inference.artefact import Artefact
from app.inference.publication import VersionDraft, publish, require_new
from app.inference.registry import ModelRegistry
from app.inference.retirement import as_candidate
from app.training.checks import CheckedData, CheckOptions, check
from app.training.dataset import Dataset, load
from app.training.features import digest, examples_of
from app.training.findings import DataReport
from app.training.fit import Fitted, Prepared, fit, prepare
from app.training.variants import VariantCatalogue

CHAMPION, CHALLENGER = "champion", "challenger"
MIN_ACCURACY = 0.90

Progress = Callable[[str], None]


class Gate(msgspec.Struct, frozen=True):
    """The quality gate: the least hold-out figure with which a version is published.

    `min_accuracy` is for classifiers (None: 0.90), `min_r2` for regressors (None: no gate, because which R² is good
    depends on the data). `later`: what is None is not required, because the gate comes with the publication.
    """

    min_accuracy: float | None = None
    min_r2: float | None = None
    later: bool = False

    def fits(self, task: Task) -> None:
        """Raise `DataRefused` if a figure was asked for that models of this task do not have."""
        if task == "regression" and self.min_accuracy is not None:
            raise DataRefused(
                "the target is a quantity, which has no accuracy: use --min-r2 (or --task classification)"
            )
        if task == "classification" and self.min_r2 is not None:
            raise DataRefused("the target is classes, which have no R²: use --min-accuracy (or --task regression)")

    def check(self, named: Sequence[tuple[str, Fitted]]) -> None:
        """Raise `GateFailed` that lists every version below the gate; `named` are (version, fitted variant)."""
        self._check([(version, fitted.variant, msgspec.to_builtins(fitted.holdout)) for version, fitted in named])

    def check_built(self, manifest: Manifest) -> None:
        """The same for a version that was trained into another registry, by the hold-out figures of its manifest."""
        self.fits(manifest.contract.task)
        if "holdout" not in manifest.metrics:
            raise DataRefused(f"{manifest.version} has no hold-out figures for a gate: train it with bakeoff train")
        self._check([(manifest.version, manifest.variant, manifest.metrics["holdout"])])

    def _check(self, named: Sequence[tuple[str, str | None, Mapping[str, Any]]]) -> None:
        failures = [failure for each in named if (failure := self._failure(*each))]
        if failures:
            option = "--min-accuracy" if "accuracy" in named[0][2] else "--min-r2"
            raise GateFailed(
                "; ".join(failures)
                + f": nothing was published. Train another --variant, or lower the quality gate ({option})"
            )

    def _failure(self, version: str, variant: str | None, figures: Mapping[str, Any]) -> str | None:
        least_accuracy = MIN_ACCURACY if self.min_accuracy is None and not self.later else self.min_accuracy
        if "accuracy" in figures:
            name, value, least = "accuracy", figures["accuracy"], least_accuracy
        else:
            name, value, least = "R²", figures["r2"], self.min_r2
        if least is None:
            return None
        # Not `value < least`: an R² that cannot be estimated is NaN, or null in a manifest, and must fail.
        if value is not None and value >= least:
            return None
        shown = float("nan") if value is None else value
        return f"{version} ({variant}): hold-out {name} {shown:.6g} is below {least:g}"


class TrainingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The data, version, variant and rules of a training session.

    `dataset` is the name of a built-in set or the path of a CSV or Parquet file, `target` its column; `missing` are the
    texts that mean a missing value in it (None: nothing was said). `version` and `variant` None: see
    `versions_to_train`. `seed` is that of the split and of the models. `rows` are the data where they come from
    elsewhere, as from the log. `candidate_by` is who publishes a version that waits to be let in (None: it is served
    after the next reload).
    """

    dataset: str = "iris"
    rows: Dataset | None = None
    candidate_by: str | None = None
    target: str | None = None
    missing: tuple[str, ...] | None = None
    version: str | None = None
    variant: str | None = None
    seed: int = 42
    options: CheckOptions = CheckOptions()
    gate: Gate = Gate()

    def data(self) -> Dataset:
        """The rows to train on. Raises `DataRefused`."""
        return load(self.dataset, self.target, self.missing) if self.rows is None else self.rows

    def checked(self, progress: Progress) -> CheckedData:
        """The rows, checked: what `train` trains on. Raises `DataRefused`."""
        progress(f"reading {self.dataset}")
        dataset = self.data()
        progress("checking the data")
        checked = check(dataset, self.options)
        self.gate.fits(checked.truth.task)
        return checked


class PublishedVersion(msgspec.Struct, frozen=True):
    """A version that is in the registry now, the alias that it got, and the warnings of fitting or loading it.

    `notes` say what its drift reference cannot show.
    """

    manifest: Manifest
    alias: str | None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class SessionResult(msgspec.Struct, frozen=True):
    """The report on the data and the versions that were published."""

    report: DataReport
    versions: tuple[PublishedVersion, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the versions."""
        return tuple(version.manifest.version for version in self.versions)


def train(
    request: TrainingRequest, registry: ModelRegistry, catalogue: VariantCatalogue, progress: Progress
) -> SessionResult:
    """Train the versions and publish them if every one passes the gate. `progress` gets each step as a text.

    Raises `DataRefused`, `GateFailed`, `RegistryConflict`, `InvalidRequest`, `SettingError`, and `AlreadyPublished`
    for a candidate whose model is in the registry already.
    """
    # Names first: a name that is taken must not cost an hour of fitting.
    planned = versions_to_train(request, registry, catalogue)
    checked = request.checked(progress)
    prepared = prepare(checked, request.seed)
    fitted = []
    for version, variant in planned:
        progress(f"fitting {version} ({variant})")
        fitted.append((version, fit(variant, catalogue.variant(variant), prepared, request.seed)))
    # Before the first is published: half a pair would leave a registry without a challenger.
    request.gate.check(fitted)
    versions = []
    for version, result in fitted:
        progress(f"publishing {version}: converting to ONNX and measuring parity")
        # A number that nobody asked for is the next one when it is published: another may have it by now. Not that of a
        # first pair: of two hosts that found an empty registry, one publishes, and the other ends with an error.
        name = version if len(planned) > 1 else request.version
        draft = training_draft(name, result, prepared, request.seed)
        manifest = publish(registry, result.estimator, draft, candidate=entry(registry, request.candidate_by))
        alias = assign_alias(registry, manifest.version) if request.candidate_by is None else None
        versions.append(PublishedVersion(manifest, alias, result.warnings))
    return SessionResult(report=checked.report, versions=tuple(versions))


def publish_built(
    artefact: Artefact, registry: ModelRegistry, version: str | None, gate: Gate, candidate_by: str | None
) -> SessionResult:
    """Publish a version that was trained into another registry, if it passes the gate; nothing is fitted or unpickled.

    `version` and `candidate_by` are as in `TrainingRequest`. Raises `GateFailed`, `AlreadyPublished` if the model is in
    the registry already, `RegistryConflict`, `InvalidRequest`.
    """
    if version is not None:
        require_free(registry, version)
    gate.check_built(artefact.manifest)
    require_new(registry, artefact.manifest.model_sha256)
    manifest = registry.publish(artefact.manifest, artefact.files, version, entry(registry, candidate_by))
    alias = assign_alias(registry, manifest.version) if candidate_by is None else None
    report = msgspec.convert(artefact.manifest.data_report, DataReport)
    return SessionResult(report=report, versions=(PublishedVersion(manifest, alias),))


def entry(registry: ModelRegistry, candidate_by: str | None) -> Callable[[Manifest], None] | None:
    """What makes a version of this publisher wait as it is published; None if it is to be served."""
    return None if candidate_by is None else as_candidate(registry, candidate_by, iso_utc(now_us()))


def versions_to_train(
    request: TrainingRequest, registry: ModelRegistry, catalogue: VariantCatalogue
) -> tuple[tuple[str, str], ...]:
    """The (version, variant) pairs to train.

    An empty registry and no version in the request give two, so that there is something to compare: the named
    variant, or the first of the catalogue's pair, and the other one of the pair. Everything else gives one, under the
    named version or the next free number. Raises `RegistryConflict`, `InvalidRequest` and, for an unknown variant,
    `SettingError`.
    """
    variant = request.variant or catalogue.default
    catalogue.variant(variant)
    if request.version is not None:
        require_free(registry, request.version)
        return ((request.version, variant),)
    if registry.names():
        return ((registry.next_name(), variant),)
    first = request.variant or catalogue.first_two[0]
    second = next(name for name in reversed(catalogue.first_two) if name != first)
    name = registry.next_name()
    return ((name, first), (registry.next_name([name]), second))


def require_free(registry: ModelRegistry, version: str) -> None:
    """Raise `InvalidRequest` if this cannot name a version, `RegistryConflict` if it is taken."""
    if version in (CHAMPION, CHALLENGER):
        raise InvalidRequest(f"{version!r} is an alias and cannot name a version: choose another", field="version")
    registry.reserve(version)


def assign_alias(registry: ModelRegistry, version: str) -> str | None:
    """Give a new version the first alias that is free, `champion` or `challenger`; None if both are taken."""
    try:
        taken = registry.aliases()
    except ArtefactRefused:
        taken = {}  # an unreadable table holds nothing to keep; `point` writes a new one
    alias = next((alias for alias in (CHAMPION, CHALLENGER) if alias not in taken), None)
    if alias is not None:
        registry.point(alias, version)
    return alias


def training_draft(version: str | None, fitted: Fitted, prepared: Prepared, seed: int) -> VersionDraft:
    """Everything that the manifest records of a fitted version, with the drift reference of its training rows."""
    checked, split, contract = prepared.checked, prepared.split, prepared.contract
    rows = prepared.rows[split.training]
    # Answers and errors come from the hold-out: on its own training rows a model is better than it will ever serve.
    reference = build_reference(
        contract, rows, seed=seed, answers=ReferenceAnswers("holdout", fitted.holdout_outputs, fitted.errors)
    )
    source = Source(
        dataset=checked.dataset.name,
        target=contract.target,
        rows=checked.dataset.rows,
        sha256=digest(contract, prepared.rows, checked.truth),
        holdout_rows=len(split.holdout),
        seed=seed,
        missing=checked.dataset.missing,
    )
    return VersionDraft(
        version=version,
        variant=fitted.variant,
        contract=contract,
        source=source,
        metrics={"training": msgspec.to_builtins(fitted.training), "holdout": msgspec.to_builtins(fitted.holdout)},
        data_report=msgspec.to_builtins(checked.report),
        reference=reference.to_json(),
        training_rows=rows,
        examples=examples_of(rows, checked.truth.take(split.training)),
    )
