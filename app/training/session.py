"""Names and aliases of new versions on the shelf.

The quality gate: what a trained version must reach on the hold-out rows to be published.

Train versions from a data set and publish them: the use case behind `bakeoff train`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from app.domain.contract import Task
from app.domain.manifest import Manifest, Source
from app.drift.reference import build_reference
from app.errors import ArtefactRefused, DataRefused, GateFailed, InvalidRequest
from app.inference.publication import VersionDraft, publish
from app.inference.registry import ModelRegistry
from app.training.checks import CheckOptions, check
from app.training.dataset import load
from app.training.evaluation import ClassFigures
from app.training.features import digest, examples_of
from app.training.findings import DataReport
from app.training.fit import Fitted, Prepared, fit, prepare
from app.training.variants import VariantCatalogue

CHAMPION, CHALLENGER = "champion", "challenger"


def require_free(registry: ModelRegistry, version: str) -> None:
    """Raise `InvalidRequest` where that cannot name a version, `RegistryConflict` where it is taken."""
    if version in (CHAMPION, CHALLENGER):
        raise InvalidRequest(f"{version!r} is an alias and cannot name a version", field="version")
    registry.reserve(version)


def assign_alias(registry: ModelRegistry, version: str) -> str | None:
    """Give a new version the alias that is still free: `champion`, then `challenger`; None where both are taken."""
    try:
        taken = registry.aliases()
    except ArtefactRefused:
        taken = {}  # a broken table says nothing; pointing writes a new one
    alias = next((alias for alias in (CHAMPION, CHALLENGER) if alias not in taken), None)
    if alias is not None:
        registry.point(alias, version)
    return alias


MIN_ACCURACY = 0.90


class Gate(msgspec.Struct, frozen=True):
    """The least accuracy of a classifier (None: the default, 0.90) and R² of a regressor (None: no gate)."""

    min_accuracy: float | None = None
    min_r2: float | None = None

    def fits(self, task: Task) -> None:
        """Raise `DataRefused` where a figure was asked for that models of this task do not have."""
        if task == "regression" and self.min_accuracy is not None:
            raise DataRefused(
                "the target is a quantity, which has no accuracy: use --min-r2 (or --task classification)"
            )
        if task == "classification" and self.min_r2 is not None:
            raise DataRefused("the target is classes, which have no R²: use --min-accuracy (or --task regression)")

    def check(self, named: Sequence[tuple[str, Fitted]]) -> None:
        """Raise `GateFailed` with every version that is below the gate."""
        failures = [complaint for version, fitted in named if (complaint := self._complaint(version, fitted))]
        if failures:
            raise GateFailed("; ".join(failures) + ": nothing was published")

    def _complaint(self, version: str, fitted: Fitted) -> str | None:
        figures = fitted.holdout
        if isinstance(figures, ClassFigures):
            name, value = "accuracy", figures.accuracy
            least = MIN_ACCURACY if self.min_accuracy is None else self.min_accuracy
        elif self.min_r2 is None:
            return None
        else:
            name, value, least = "R²", float("nan") if figures.r2 is None else figures.r2, self.min_r2
        if value >= least:
            return None
        return f"{version} ({fitted.variant}): hold-out {name} {value:.6g} is below {least:g}"


Step = Callable[[str], None]


class TrainingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be trained: on which data, as which version of which variant (None: see `versions_to_train`), by which rules."""

    dataset: str = "iris"
    target: str | None = None
    version: str | None = None
    variant: str | None = None
    seed: int = 42
    options: CheckOptions = CheckOptions()
    gate: Gate = Gate()


class PublishedVersion(msgspec.Struct, frozen=True):
    """A version that is now on the shelf, the alias that it got, and what its fitting complained of."""

    manifest: Manifest
    alias: str | None
    warnings: tuple[str, ...] = ()


class SessionResult(msgspec.Struct, frozen=True):
    """The outcome of a training session."""

    report: DataReport
    versions: tuple[PublishedVersion, ...]


def versions_to_train(
    request: TrainingRequest, registry: ModelRegistry, catalogue: VariantCatalogue
) -> tuple[tuple[str, str], ...]:
    """The (version, variant) pairs to train.

    Without a version on an empty shelf two: the named variant, or the first of the catalogue's pair, and the other
    one of the pair. Else one, under the named version or the next free number. Raises `RegistryConflict`,
    `InvalidRequest` and, for an unknown variant, `SettingError`.
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
    return (("v1", first), ("v2", second))


def train(request: TrainingRequest, registry: ModelRegistry, catalogue: VariantCatalogue, step: Step) -> SessionResult:
    """Train, hold against the gate, and publish where all versions pass it. `step` is told what is being done.

    Raises `DataRefused`, `GateFailed`, `RegistryConflict`, `SettingError`.
    """
    planned = versions_to_train(request, registry, catalogue)
    step(f"reading {request.dataset}")
    dataset = load(request.dataset, request.target)
    step("checking the data")
    checked = check(dataset, request.options)
    request.gate.fits(checked.truth.task)
    prepared = prepare(checked, request.seed)
    fitted = []
    for version, variant in planned:
        step(f"fitting {version} ({variant})")
        fitted.append((version, fit(variant, catalogue.variant(variant), prepared, request.seed)))
    request.gate.check(fitted)
    versions = []
    for version, result in fitted:
        step(f"publishing {version}: converting to ONNX and measuring parity")
        manifest = publish(registry, result.estimator, draft_of(version, result, prepared, request.seed))
        versions.append(PublishedVersion(manifest, assign_alias(registry, version), result.warnings))
    return SessionResult(report=checked.report, versions=tuple(versions))


def draft_of(version: str, fitted: Fitted, prepared: Prepared, seed: int) -> VersionDraft:
    """What the shelf is to know of a fitted version."""
    checked, split, contract = prepared.checked, prepared.split, prepared.contract
    rows = prepared.rows[split.training]
    reference = build_reference(
        contract, rows, seed=seed, outputs=fitted.heldout, errors=fitted.errors, holdout=len(split.holdout)
    )
    source = Source(
        dataset=checked.dataset.name,
        target=contract.target,
        rows=checked.dataset.rows,
        sha256=digest(contract, prepared.rows, checked.truth),
        holdout_rows=len(split.holdout),
        seed=seed,
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
