"""A newer drift reference for a published version (`bakeoff publish --refresh-reference`), by this release's rules.

The version stays as it is: its model answers the rows, and its feature contract says which rows fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from app.domain.contract import Feature, FeatureContract
from app.domain.manifest import Manifest, ReferenceManifest, Source
from app.drift.reference import DriftReference, build_reference
from app.drift.reference_notes import reference_notes
from app.errors import ArtefactRefused, DataRefused
from app.inference.artefact import Artefact
from app.inference.graph_file import GraphModel
from app.inference.model_files import estimator_of
from app.inference.publication import library_versions
from app.inference.references import ReferenceDraft
from app.inference.registry import ModelRegistry
from app.tables.counts import counted
from app.tables.meaning import dated
from app.tables.model_columns import places_in_file
from app.training.checks import labelled
from app.training.columns import Column, categorical, known_categories, numeric
from app.training.dataset import BUILTIN_SETS, Dataset, load
from app.training.external_model import ExternalModel, ask, describe, of_graph, truth_for
from app.training.external_reference import extra_columns
from app.training.external_session import Reference, ReferenceIs, reference_answers
from app.training.features import digest, missing_in, rows_of
from app.training.findings import DataReport, Finding
from app.training.session import Progress
from app.training.task import Truth

# That of published models: the same rows give the same reference.
_SEED = 0


class RefreshRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The version, and the rows of its new reference.

    `reference` is a CSV or Parquet file (None: the data that the version was made from), `target` its column with the
    labels (None: the one of the version), and `missing` the texts that mean a missing value (None: those of the
    version). `reference_is` says whether the model was fitted on the rows.
    """

    version: str
    reference: str | None = None
    target: str | None = None
    missing: tuple[str, ...] | None = None
    reference_is: ReferenceIs = "unknown"


class RefreshedReference(msgspec.Struct, frozen=True):
    """The reference as published, what was found in its rows, and what it cannot show."""

    manifest: ReferenceManifest
    reference: DriftReference
    report: DataReport
    notes: tuple[str, ...] = ()


def refresh_reference(request: RefreshRequest, registry: ModelRegistry, progress: Progress) -> RefreshedReference:
    """Give the version a reference of these rows; `progress` gets each step as a text.

    Raises `DataRefused` if the rows do not fit the version's contract, `UnknownVersion` and `ArtefactRefused`.
    """
    artefact = registry.verified(request.version)
    published = artefact.manifest
    progress(f"loading {request.version}")
    model = _model(artefact)
    source = request.reference or _recorded(published)
    progress(f"reading {source}")
    reference = fitting_reference(
        published, model, load(source, request.target or _target(published, source), _missing(request, published))
    )
    progress("answering the reference rows")
    draft = _draft(model, reference, request.reference_is)
    progress("publishing the reference")
    manifest = registry.publish_reference(request.version, draft)
    notes = reference_notes(request.version, draft.reference)
    return RefreshedReference(manifest, draft.reference, reference.report, notes)


def _model(artefact: Artefact) -> ExternalModel:
    """The version's own model. Raises `ArtefactRefused` with what to do if it does not load here."""
    published = artefact.manifest
    try:
        estimator = estimator_of(artefact.files)
    except ImportError as error:
        needed = ", ".join(f"{name} {version}" for name, version in published.requires.items())
        reason = f"its model needs {needed or f'the module {error.name}'}, which is not installed here"
        raise ArtefactRefused(artefact.folder, f"{reason}: publish the reference where it is installed") from error
    except DataRefused as error:
        raise ArtefactRefused(artefact.folder, f"its model {error.message}") from error
    except (Exception, SystemExit) as error:  # whatever a pickle raises here is the reason that is reported
        wrote = f"scikit-learn {published.libraries.get('scikit-learn', 'of that time')}"
        cause = f"{type(error).__name__}: {str(error).partition(chr(10))[0][:300]}"
        reason = f"its model cannot be loaded here ({cause}): publish the reference where {wrote} is installed"
        raise ArtefactRefused(artefact.folder, reason) from error
    model = of_graph(estimator) if isinstance(estimator, GraphModel) else describe(estimator, published.version)
    return msgspec.structs.replace(model, files=artefact.files)


def fitting_reference(published: Manifest, model: ExternalModel, dataset: Dataset) -> Reference:
    """The rows under the version's contract, without those that lack a label or a value which the model needs.

    Raises `DataRefused`, by name, for columns, categories or classes that do not fit, and if no row is left.
    """
    contract = published.contract
    dataset, findings = labelled(dataset, least=1, classes=contract.classes)
    truth = _truth(model, contract, dataset.target)
    chosen = _chosen(published, dataset.columns)
    columns = tuple(_fitting(published, *pair) for pair in zip(contract.features, chosen, strict=True))
    read = {column.name for column in chosen}
    findings += extra_columns([column.name for column in dataset.columns if column.name not in read])
    rows = rows_of(columns)
    _require_known_categories(published, rows)
    positions, gaps = _complete(contract, rows)
    findings += gaps
    if not len(positions):
        reasons = "; ".join(finding.sentence for finding in findings)
        raise DataRefused(f"no row of the reference is left that {published.version} can answer: {reasons}")
    dataset = msgspec.structs.replace(dataset, columns=columns).take(positions)
    report = DataReport(dataset.rows, len(columns), tuple(findings), ("columns", "missing values"))
    return Reference(dataset, contract, rows[positions], truth.take(positions), report)


def _recorded(published: Manifest) -> str:
    recorded = published.source.dataset
    if recorded in BUILTIN_SETS or Path(recorded).is_file():
        return recorded
    raise DataRefused(
        f"{recorded}, which {published.version} was made from, is not there any more: name the rows with --reference"
    )


def _target(published: Manifest, source: str) -> str | None:
    return None if source in BUILTIN_SETS else published.contract.target


def _missing(request: RefreshRequest, published: Manifest) -> tuple[str, ...] | None:
    return published.source.missing if request.missing is None else request.missing


def _truth(model: ExternalModel, contract: FeatureContract, target: Column) -> Truth:
    """The target as ids of the contract's classes, by their names or by the labels that the model was fitted on."""
    names = {name: number for number, name in enumerate(contract.classes)}
    cells = target.cells if target.cells is not None else ()
    if contract.classes and cells and all(cell in names for cell in cells):
        class_ids = np.array([names[cell or ""] for cell in cells], dtype=np.int64)
        return Truth("classification", np.array(contract.classes)[class_ids], contract.classes, class_ids)
    truth = truth_for(model, target)
    return msgspec.structs.replace(truth, classes=contract.classes)


def _chosen(published: Manifest, columns: Sequence[Column]) -> list[Column]:
    """The columns of the contract's features, in its order. Raises `DataRefused` that names those that are missing."""
    contract = published.contract
    places = places_in_file(contract.features, [column.name for column in columns])
    lacking = [name for name, place in zip(contract.names, places, strict=True) if place is None]
    if lacking:
        raise DataRefused(
            f"the reference lacks columns that {published.version} reads: {', '.join(lacking)}", field=lacking[0]
        )
    return [columns[place] for place in places if place is not None]


def _fitting(published: Manifest, feature: Feature, column: Column) -> Column:
    """The column under the feature's name and of its kind. Raises `DataRefused` if a number is a text."""
    if feature.kind == "categorical":
        known = known_categories(column, frozenset(feature.categories), needed=not feature.nullable)
        if feature.dates_like is not None:
            # Versions of earlier releases may know the days of a Parquet file with a time, as midnights.
            cells = [dated(value, feature.dates_like) for value in known.values]
            known = categorical(column.name, cells)
        return msgspec.structs.replace(known, name=feature.name)
    if column.boolean:  # as a request that sends true: the model was fitted on 0 and 1
        flags = [np.nan if value is None else float(value == "true") for value in column.values]
        return numeric(feature.name, np.array(flags))
    if column.kind != "numeric":
        example = column.stray or next(value for value in column.values if value is not None)
        raise DataRefused(
            f"column {column.name!r} has the text {example!r}; {published.version} takes numbers for {feature.name!r}",
            field=feature.name,
        )
    return msgspec.structs.replace(column.without_infinities(), name=feature.name)


def _require_known_categories(published: Manifest, rows: np.ndarray) -> None:
    """Raise `DataRefused` for a value that requests may not have: it would be in the reference and in no traffic."""
    for index, feature in enumerate(published.contract.features):
        known = frozenset(feature.choices or feature.categories)
        if not known or feature.open_categories:
            continue
        unknown = [each for each in rows[:, index].tolist() if each is not None and each == each and each not in known]
        if unknown:
            raise DataRefused(
                f"{feature.name!r} has values that {published.version} does not know, such as {unknown[0]!r}, in "
                f"{counted(len(unknown))} of the reference: remove them, because requests like them are rejected",
                field=feature.name,
            )


def _complete(contract: FeatureContract, rows: np.ndarray) -> tuple[np.ndarray, list[Finding]]:
    """The positions of the rows without a gap where the model needs a value, and the findings about the others."""
    missing = missing_in(rows)
    findings = []
    for index, feature in enumerate(contract.features):
        if feature.nullable:
            missing[:, index] = False
        elif count := int(missing[:, index].sum()):
            message = f"the model does not answer without a value of {feature.name!r}, missing in {counted(count)}"
            findings.append(Finding("missing values", "dropped", message, "those rows are left out", feature.name))
    return np.flatnonzero(~missing.any(axis=1)), findings


def _draft(model: ExternalModel, reference: Reference, reference_is: ReferenceIs) -> ReferenceDraft:
    contract, rows, truth = reference.contract, reference.rows, reference.truth
    answers = reference_answers(model, reference, ask(model, contract, rows), reference_is)
    return ReferenceDraft(
        reference=build_reference(contract, rows, seed=_SEED, answers=answers),
        reference_is=reference_is,
        source=Source(
            dataset=reference.dataset.name,
            target=reference.dataset.target.name,
            rows=len(rows),
            sha256=digest(contract, rows, truth),
        ),
        libraries=library_versions(),
    )
