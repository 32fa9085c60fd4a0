"""Publish a model that was fitted elsewhere (`bakeoff publish`).

The way: load the model, read the reference data and match them to it, measure its figures on them, publish. There is
no quality gate.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
import numpy as np

from app.domain.contract import Feature, FeatureContract, Task
from app.domain.manifest import Manifest, MlflowModel, Source
from app.domain.prediction import Outputs
from app.drift.reference import DriftReference, ReferenceAnswers, build_reference
from app.drift.reference_notes import reference_notes
from app.errors import DataRefused
from app.inference.graph_file import GraphModel
from app.inference.model_files import loads_model
from app.inference.own_code import PREFIX
from app.inference.publication import VersionDraft, publish
from app.inference.registry import ModelRegistry
from app.training import checks, column_checks
from app.training.checks import labelled, leak
from app.training.class_names import naming, require_agreement
from app.training.columns import Column
from app.training.cross_fit import cross_fit
from app.training.dataset import Dataset, from_csv
from app.training.encoders import Encoding, encodings
from app.training.evaluation import errors_in, score
from app.training.external_model import ExternalModel, ask, truth_for
from app.training.external_probes import opened
from app.training.external_reference import answerable_rows, as_fitted, columns_for, extra_columns, features_of_model
from app.training.features import digest, examples_of, rows_of
from app.training.findings import CHECKS, DataReport, Finding
from app.training.fit import collect_user_warnings
from app.training.session import Progress, PublishedVersion, SessionResult, assign_alias, require_free
from app.training.sources.code_folder import code_files
from app.training.sources.files import load_model
from app.training.sources.mlflow_registry import fetch
from app.training.task import Truth, rare_classes

# The model was fitted elsewhere, so there is no seed of a split; the drift reference draws its sample with this one.
_SEED = 0
# Of names, which requests are matched by before; of categories, which columns that are open say.
_IN_THE_REPORT = re.compile(r"X (does not have valid|has) feature names|Found unknown categories")
# Float32 sums to 1 within this.
_ROUNDED = 1e-3
ReferenceIs: TypeAlias = Literal["holdout", "training", "unknown"]
_NOTED = (column_checks.constant, column_checks.row_number, column_checks.mixed, column_checks.identifier)
_OF_CATEGORIES = (column_checks.mixed, column_checks.identifier)


class PublishRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The model, the version to publish it as (None: the next free number), and the reference data.

    The model is a file, or `mlflow`, the address of a registered one; `code` is a folder with its own modules. The
    reference is a file, or `reference_artifact` of the run that the MLflow model is of. `missing` are the texts
    that mean a missing value in them (None: nothing was said). `reference_is` says whether the model was fitted on
    them.
    """

    model: Path | None = None
    reference: Path | None = None
    target: str
    mlflow: str | None = None
    reference_artifact: str | None = None
    code: Path | None = None
    missing: tuple[str, ...] | None = None
    version: str | None = None
    reference_is: ReferenceIs = "unknown"


class _Given(msgspec.Struct, frozen=True):
    """What a request names, read; `mlflow` is where the model came from, if that was MLflow."""

    model: ExternalModel
    dataset: Dataset
    mlflow: MlflowModel | None = None
    warnings: tuple[str, ...] = ()


class Reference(msgspec.Struct, frozen=True):
    """The reference data as the model reads them, with the contract that follows from both."""

    dataset: Dataset
    contract: FeatureContract
    rows: np.ndarray
    truth: Truth
    report: DataReport


def publish_external(request: PublishRequest, registry: ModelRegistry, progress: Progress) -> SessionResult:
    """Publish the model with the contract, figures and drift reference that the reference data give.

    `progress` gets each step as a text. Raises `DataRefused` if model and data give no contract or no reference,
    `RegistryConflict`, `InvalidRequest`.
    """
    # Before the file is loaded: unpickling runs its code, which a request that must fail has no need of.
    if request.version is not None:
        require_free(registry, request.version)
    with tempfile.TemporaryDirectory(prefix="bakeoff-") as folder:
        given = _given(request, Path(folder), progress)
        model, dataset = given.model, given.dataset
    reference = matched_reference(model, dataset)
    progress("answering the reference rows")
    with collect_user_warnings() as said:
        draft = external_draft(model, reference, request.version, request.reference_is)
    draft = msgspec.structs.replace(draft, source=msgspec.structs.replace(draft.source, mlflow=given.mlflow))
    progress("publishing: converting to ONNX and measuring parity")
    manifest = publish(registry, model.estimator, draft)
    warnings = (*given.warnings, *model.warnings, *_of_answering(said), *_doubtful(model, reference))
    warnings += _needed_where_served(registry, manifest)
    notes = reference_notes(manifest.version, DriftReference.from_json(draft.reference))
    published = PublishedVersion(manifest, assign_alias(registry, manifest.version), warnings, notes)
    return SessionResult(reference.report, (published,))


def _given(request: PublishRequest, folder: Path, progress: Progress) -> _Given:
    """The model and its reference, read; what has to be downloaded is put into `folder`."""
    fetched = None
    if request.mlflow is not None:
        progress(f"downloading {request.mlflow}")
        fetched = fetch(request.mlflow, folder, request.reference_artifact)
    progress(f"loading {request.mlflow or request.model}")
    code = request.code or (fetched.code if fetched else None)
    file, reference = (fetched.file, fetched.reference) if fetched else (request.model, None)
    reference = reference or request.reference
    if file is None or reference is None:
        raise DataRefused("publish needs a model and a reference")
    model = load_model(file, None if code is None else code_files(code), request.mlflow)
    progress(f"reading {request.reference_artifact or reference}")
    dataset = from_csv(reference, request.target, request.missing)
    if fetched is None:
        return _Given(model, dataset)
    if fetched.reference is not None:
        name = f"artefact {request.reference_artifact} of MLflow run {fetched.source.run_id}"
        dataset = msgspec.structs.replace(dataset, name=name)
    return _Given(model, dataset, fetched.source, fetched.warnings)


def _of_answering(said: Sequence[str]) -> tuple[str, ...]:
    """The warnings that the model gives while it answers, without those that the report has in its own words."""
    return tuple(f"when it answers, the model warns: {text}" for text in said if not _IN_THE_REPORT.match(text))


def _doubtful(model: ExternalModel, reference: Reference) -> tuple[str, ...]:
    """The warning that probabilities do not add up to 1, or that an ONNX file's label is not the likeliest class."""
    outputs = ask(model, reference.contract, reference.rows)
    if outputs.probabilities is None or outputs.class_ids is None:
        return ()
    if not isinstance(model.estimator, GraphModel):
        sums = outputs.probabilities.sum(axis=1)
        if np.abs(sums - 1).max(initial=0.0) <= _ROUNDED:
            return ()
        return (
            f"its probabilities add up to {sums.min():.3g} to {sums.max():.3g} in a row, not to 1, and are served as "
            "they are; log-loss and Brier score are computed of their shares",
        )
    own = np.take_along_axis(outputs.probabilities, outputs.class_ids[:, np.newaxis], axis=1)
    count = int((own[:, 0] < outputs.probabilities.max(axis=1)).sum())
    if not count:
        return ()
    told = "see that the graph's probabilities are in the order of its classes"
    return (f"its label is not the class of the largest probability on {count} of {len(own)} rows: {told}",)


def _needed_where_served(registry: ModelRegistry, manifest: Manifest) -> tuple[str, ...]:
    """The warning that the API needs packages for this version which are not among its own."""
    if not manifest.requires or not loads_model(manifest, registry.verified(manifest.version).files):
        return ()
    packages = ", ".join(f"{name} {version}" for name, version in manifest.requires.items())
    return (f"the API can serve it only where {packages} is installed too",)


def matched_reference(model: ExternalModel, dataset: Dataset) -> Reference:
    """The reference data under the model's columns and classes, without rows that it cannot answer.

    Raises `DataRefused` if columns or classes do not match, or no row is left.
    """
    dataset, findings = labelled(dataset, least=1, classes=tuple(str(label) for label in model.labels))
    truth = truth_for(model, dataset.target)
    findings += naming(model.labels, truth.classes)
    chosen = columns_for(model, dataset.columns)
    encoded = encodings(model.estimator, [column.name for column in chosen.columns])
    fitted = [as_fitted(column, encoded.get(column.name)) for column in chosen.columns]
    findings += extra_columns(chosen.extra)
    columns = tuple(column.without_infinities() for column in fitted)
    features = features_of_model(columns, encoded)
    texts = {feature.name for feature, column in zip(features, columns, strict=True) if _is_text(encoded, column)}
    closed = FeatureContract(model.task, dataset.target.name, features, truth.classes)
    found = opened(model, closed, rows_of(columns), texts)
    contract = found.contract
    for column, feature in zip(fitted, contract.features, strict=True):
        findings += _noted(column, feature, dataset.target, model.task)
    findings += found.findings
    answerable = answerable_rows(model, contract, rows_of(columns))
    dataset = msgspec.structs.replace(dataset, columns=columns).take(answerable.positions)
    truth = truth.take(answerable.positions)
    findings += [*answerable.findings, *_noted_rows(dataset, truth)]
    report = DataReport(dataset.rows, len(columns), tuple(findings), ("columns", "unknown categories", *CHECKS))
    return Reference(dataset, answerable.contract, rows_of(dataset.columns), truth, report)


def external_draft(
    model: ExternalModel, reference: Reference, version: str | None, reference_is: ReferenceIs
) -> VersionDraft:
    """Everything that the manifest records of the model; its figures name the reference data as their source."""
    contract, rows, truth = reference.contract, reference.rows, reference.truth
    outputs = ask(model, contract, rows)
    require_agreement(model.labels, truth, outputs)
    drift = build_reference(
        contract, rows, seed=_SEED, answers=reference_answers(model, reference, outputs, reference_is)
    )
    figures = {**msgspec.to_builtins(score(outputs, truth)), "measured_on": "the reference data given to publish"}
    dataset = reference.dataset
    return VersionDraft(
        version=version,
        variant=None,
        contract=contract,
        source=Source(
            dataset=dataset.name,
            target=contract.target,
            rows=len(rows),
            sha256=digest(contract, rows, truth),
            holdout_rows=len(rows),
            missing=dataset.missing,
        ),
        metrics={"holdout": figures},
        data_report=msgspec.to_builtins(reference.report),
        reference=drift.to_json(),
        training_rows=rows,
        examples=examples_of(rows, truth),
        files=model.files,
    )


def reference_answers(
    model: ExternalModel, reference: Reference, outputs: Outputs, reference_is: ReferenceIs
) -> ReferenceAnswers:
    """The answers that live ones are compared with; `outputs` are the model's own to the reference rows.

    On rows that it was fitted on, a model is surer and errs less than it ever will in traffic.
    """
    truth = reference.truth
    if reference_is == "holdout":
        return ReferenceAnswers("holdout", outputs, errors_in(outputs, truth))
    if reference_is == "unknown":
        return ReferenceAnswers("none", missing="it is not known whether the model was fitted on the reference rows")
    if isinstance(model.estimator, GraphModel):
        return ReferenceAnswers(
            "none", missing="an ONNX file has no estimator that could be fitted on parts of the rows"
        )
    if any(name.startswith(PREFIX) for name in model.files or ()):
        reason = "a model with modules of its own is not fitted again on parts of the rows"
        return ReferenceAnswers("none", missing=reason)
    labels = truth.labels if truth.class_ids is None else np.array(model.labels)[truth.class_ids]
    crossed = cross_fit(model.estimator, labels, reference.contract, reference.rows, truth, _SEED)
    if isinstance(crossed, str):
        return ReferenceAnswers("none", missing=crossed)
    return crossed.as_reference(truth)


def _is_text(encoded: Mapping[str, Encoding], column: Column) -> bool:
    return column.name in encoded and encoded[column.name].is_text


def _noted(column: Column, feature: Feature, target: Column, task: Task) -> list[Finding]:
    """The data checks of one column as notes; only infinities are replaced, because no request can carry them.

    A column that the model was fitted on cannot be dropped any more, whatever a check thinks of it.
    """
    finite = column.without_infinities()
    # Texts and dates differ from row to row, which says nothing against them.
    examined = [check for check in _NOTED if not (feature.is_text and check in _OF_CATEGORIES)]
    notes = [check(finite) for check in examined] + [leak(finite, target, task), column_checks.missing_values(finite)]
    infinite = column_checks.infinities(column)
    return ([infinite] if infinite else []) + [found.only_noted() for found in notes if found]


def _noted_rows(dataset: Dataset, truth: Truth) -> list[Finding]:
    """The data checks of the rows as notes: nothing is split here, so copies and rare classes do no harm."""
    notes = (checks.duplicates(checks.first_copies(dataset)), rare_classes(truth, np.arange(dataset.rows)))
    return [found.only_noted() for found in notes if found]
