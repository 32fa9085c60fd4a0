"""Train several variants on one split, rank them by cross-validation, and publish the best (`train --variants`)."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from app.domain.manifest import REFERENCE_FILE
from app.errors import DataRefused, InvalidRequest, SettingError
from app.inference.artefact import Artefact
from app.inference.latency import beside_champion
from app.inference.model_files import ESTIMATOR
from app.inference.publication import publish, require_new
from app.inference.registry import ModelRegistry
from app.training.cross_validation import CrossValidated, Fold, Rank, cross_validated, folds_of, ranked
from app.training.evaluation import ClassFigures, Figures
from app.training.fit import Fitted, Prepared, fit, prepare
from app.training.session import (
    Progress,
    PublishedVersion,
    SessionResult,
    TrainingRequest,
    assign_alias,
    entry,
    require_free,
    training_draft,
)
from app.training.variants import VariantCatalogue


class ComparedVariant(msgspec.Struct, frozen=True, kw_only=True):
    """A variant that was fitted: its figures over the folds, and what serving it takes.

    `standard_error` is that of the difference to the best of those that were left for its place, in the units of the
    loss (share of rows, or squared units of the target), `difference` the difference. `fit_s` is the time of the fit on
    all training rows (s), `size_bytes` what the serving runtime loads, `p95_us` the 95th percentile of the time for a
    single row in that runtime (µs; None if it was not measured). `version` is its name if it was published.
    """

    variant: str
    cross_validated: Figures
    difference: float
    standard_error: float
    fit_s: float
    size_bytes: int
    runtime: str
    p95_us: float | None
    version: str | None
    why: str


class VariantComparison(msgspec.Struct, frozen=True):
    """The variants from the best on, the reasons why others could not be fitted, and the session with the published."""

    variants: tuple[ComparedVariant, ...]
    failed: Mapping[str, str]
    session: SessionResult


class _Candidate(msgspec.Struct, frozen=True):
    """A fitted variant, ready to be published: `artefact` is it in a registry that is thrown away."""

    fitted: Fitted
    validated: CrossValidated
    artefact: Artefact
    size_bytes: int
    p95_us: float | None


def train_several(
    request: TrainingRequest,
    names: Sequence[str],
    top: int,
    registry: ModelRegistry,
    catalogue: VariantCatalogue,
    progress: Progress,
) -> VariantComparison:
    """Fit the variants, publish the `top` best if each of these passes the gate. `progress` gets each step as a text.

    A variant that cannot be fitted is left out. Raises as `train` does, and `DataRefused` if none can be fitted.
    """
    if top > len(names):
        raise InvalidRequest(f"--top {top} is more than the {len(names)} variants", field="top")
    if request.candidate_by is not None and top > 1:
        raise InvalidRequest("one candidate waits at most: add --top 1", field="top")
    if request.version is not None:
        if top > 1:
            raise InvalidRequest("--version names one version: add --top 1", field="version")
        require_free(registry, request.version)
    checked = request.checked(progress)
    prepared = prepare(checked, request.seed)
    with tempfile.TemporaryDirectory(prefix="bakeoff-variants-") as folder:
        # Published there first: size and latency are those of what will serve, whichever variant is chosen.
        scratch = ModelRegistry(Path(folder), b"thrown away with the folder")
        candidates, failed = _candidates(names, prepared, request.seed, catalogue, scratch, progress)
        order = ranked(
            {name: each.validated.losses for name, each in candidates.items()},
            {name: each.size_bytes for name, each in candidates.items()},
        )
        chosen = [rank.variant for rank in order[:top]]
        request.gate.check([(name, candidates[name].fitted) for name in chosen])
        published = {name: _published(candidates[name], request, registry) for name in chosen}
    variants = tuple(_compared(rank, candidates, published) for rank in order)
    return VariantComparison(variants, failed, SessionResult(checked.report, tuple(published.values())))


def _candidates(
    names: Sequence[str],
    prepared: Prepared,
    seed: int,
    catalogue: VariantCatalogue,
    scratch: ModelRegistry,
    progress: Progress,
) -> tuple[dict[str, _Candidate], dict[str, str]]:
    """The variants that could be fitted, and why others could not."""
    folds = folds_of(prepared, seed)
    candidates, failed = dict[str, _Candidate](), dict[str, str]()
    for name in names:
        try:
            candidates[name] = _candidate(name, prepared, folds, seed, catalogue, scratch, progress)
        except (DataRefused, SettingError) as error:
            failed[name] = error.message
    if not candidates:
        raise DataRefused("no variant can be fitted: " + "; ".join(failed.values()))
    return candidates, failed


def _candidate(
    name: str,
    prepared: Prepared,
    folds: Sequence[Fold],
    seed: int,
    catalogue: VariantCatalogue,
    scratch: ModelRegistry,
    progress: Progress,
) -> _Candidate:
    variant = catalogue.variant(name)
    validated = cross_validated(name, variant, prepared, folds, seed, progress)
    progress(f"{name}: fitting on all training rows")
    fitted = fit(name, variant, prepared, seed)
    progress(f"{name}: converting to ONNX and measuring parity")
    draft = msgspec.structs.replace(training_draft("", fitted, prepared, seed), version=None)
    manifest = publish(scratch, fitted.estimator, draft)
    latency = beside_champion(scratch, manifest.version)
    served = [file for part, file in manifest.files.items() if part not in _besides_serving(manifest.runtime)]
    return _Candidate(
        fitted=fitted,
        validated=validated,
        artefact=scratch.verified(manifest.version),
        size_bytes=sum(file.bytes for file in served),
        p95_us=None if latency is None else latency.p95_us,
    )


def _besides_serving(runtime: str) -> tuple[str, ...]:
    return (REFERENCE_FILE,) if runtime == "sklearn" else (REFERENCE_FILE, ESTIMATOR)


def _published(candidate: _Candidate, request: TrainingRequest, registry: ModelRegistry) -> PublishedVersion:
    artefact, waits = candidate.artefact, entry(registry, request.candidate_by)
    if waits is not None:
        require_new(registry, artefact.manifest.model_sha256)
    manifest = registry.publish(artefact.manifest, artefact.files, request.version, waits)
    alias = assign_alias(registry, manifest.version) if waits is None else None
    return PublishedVersion(manifest, alias, candidate.fitted.warnings)


def _compared(
    rank: Rank, candidates: Mapping[str, _Candidate], published: Mapping[str, PublishedVersion]
) -> ComparedVariant:
    candidate, version = candidates[rank.variant], published.get(rank.variant)
    return ComparedVariant(
        variant=rank.variant,
        cross_validated=candidate.validated.figures,
        difference=rank.difference,
        standard_error=rank.standard_error,
        fit_s=candidate.fitted.fit_s,
        size_bytes=candidate.size_bytes,
        runtime=candidate.artefact.manifest.runtime,
        p95_us=candidate.p95_us,
        version=None if version is None else version.manifest.version,
        why=_why(rank, candidate.validated.figures),
    )


def _why(rank: Rank, figures: Figures) -> str:
    measure = "accuracy" if isinstance(figures, ClassFigures) else "mean squared error"
    direction = "highest" if isinstance(figures, ClassFigures) else "lowest"
    if rank.variant == rank.best:
        return f"it has the {direction} cross-validated {measure} of those left for this place"
    return (
        f"its {measure} is within one standard error of {rank.best}'s (difference {rank.difference:.3g}, standard "
        f"error {rank.standard_error:.3g}), and its model is smaller"
    )
