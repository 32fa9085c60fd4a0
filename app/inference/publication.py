"""Publish a fitted estimator with everything that serving it needs.

The runtime is chosen here: ONNX if its answers equal the estimator's on the training rows and on random ones.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import msgspec
import numpy as np

from app.domain.cases import case_facts
from app.domain.contract import FeatureContract
from app.domain.manifest import MANIFEST_FORMAT, REFERENCE_FILE, WITHOUT_PICKLE_FORMAT, Manifest, Source
from app.domain.prediction import Outputs
from app.errors import AlreadyPublished, ArtefactRefused, DataRefused, UnknownVersion
from app.inference.artefact import file_sum
from app.inference.estimators import answers_scores
from app.inference.export.choice import ChosenRuntime, by_sklearn, choose, only_by_sklearn
from app.inference.export.parity import Standard, measure, not_measured, random_rows
from app.inference.fitted_inputs import fitted_width
from app.inference.graph_file import GraphModel
from app.inference.model_files import ESTIMATOR, estimator_of, graph_runtime, is_graph_file, requirements_of
from app.inference.registry import ModelRegistry
from app.inference.sklearn_runtime import SklearnRuntime
from app.services.boundaries import attempt

RANDOM_ROWS = 20_000
# Fixed, so that publishing the same model twice measures the same rows.
_SEED = 20261121
# Graphs in half precision round their probabilities to about this.
_ROUNDED = 2e-3
_REPEATED = 100
_LIBRARIES = ("scikit-learn", "numpy", "joblib", "skl2onnx", "onnxruntime")


class VersionDraft(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the manifest records of a version and publishing does not find out itself.

    `version` None takes the next free name. `reference` is the content of the drift reference. `training_rows`, shape
    (rows, features) in `RowParser`'s form, are those that it was fitted on, or the reference rows: parity is measured
    on them, and the manifest's `cases` are facts about them. The contract's classes are in the order of the
    estimator's `classes_`. `files` hold the model as it was given, and its own modules; None pickles the estimator.
    """

    version: str | None
    variant: str | None
    contract: FeatureContract
    source: Source
    metrics: Mapping[str, Mapping[str, object]]
    data_report: Mapping[str, object]
    reference: bytes
    training_rows: np.ndarray
    examples: tuple[tuple[float | str | None, ...], ...] = ()
    files: Mapping[str, bytes] | None = None


def publish(
    registry: ModelRegistry,
    estimator: Any,
    draft: VersionDraft,
    *,
    random: int = RANDOM_ROWS,
    candidate: Callable[[Manifest], None] | None = None,
) -> Manifest:
    """The manifest of the version as published; it is served after the next reload or restart.

    Parity with the estimator is measured on the training rows and on `random` random ones within their ranges. With
    `candidate`, of `as_candidate`, the version waits to be let in. Raises `RegistryConflict`, `InvalidRequest`,
    `DataRefused` if the estimator does not fit the contract or does not answer the training rows, and
    `AlreadyPublished` for a candidate whose model is in the registry already.
    """
    # First, because measuring parity takes long, and a taken name is known at once.
    registry.reserve(draft.version)
    files = {ESTIMATOR: _pickled(estimator)} if draft.files is None else dict(draft.files)
    if candidate is not None:
        require_new(registry, file_sum(files[ESTIMATOR]).sha256)
    # Compared is what will be loaded, and making it single-threaded leaves the caller's estimator alone.
    copy = estimator_of(files)
    _fits(copy, draft.contract)
    chosen = _as_given(files, draft) if is_graph_file(files) else _chosen(copy, draft, random)
    requires = requirements_of(files)
    manifest = Manifest(
        format=MANIFEST_FORMAT if ESTIMATOR in files else WITHOUT_PICKLE_FORMAT,
        version="",
        ordinal=0,
        created_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        variant=draft.variant,
        estimator=described(estimator),
        contract=draft.contract,
        source=draft.source,
        metrics=draft.metrics,
        runtime=chosen.runtime,
        parity=chosen.parity,
        libraries={**library_versions(), **requires},
        requires=requires,
        files={},
        examples=draft.examples,
        cases=case_facts(draft.contract, draft.training_rows),
        data_report=draft.data_report,
    )
    all_files = {**files, REFERENCE_FILE: draft.reference, **chosen.files}
    return registry.publish(manifest, all_files, draft.version, candidate)


def require_new(registry: ModelRegistry, sha256: str) -> None:
    """Raise `AlreadyPublished` if a version has a model file with this SHA-256 (hex), also a retired one."""
    for name in registry.names():
        with contextlib.suppress(ArtefactRefused, UnknownVersion):
            if registry.manifest(name).model_sha256 == sha256:
                raise AlreadyPublished(name)


def library_versions() -> dict[str, str]:
    """The installed versions of Python and of the libraries that a model depends on, by name."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in _LIBRARIES}}


def described(estimator: Any) -> str:
    """The estimator's class, and for a pipeline those of its steps: `Pipeline(StandardScaler, LogisticRegression)`."""
    if isinstance(estimator, GraphModel):
        return "ONNX graph"
    name = type(estimator).__name__
    if not hasattr(estimator, "steps"):
        return name
    return f"{name}({', '.join(step if isinstance(step, str) else described(step) for _, step in estimator.steps)})"


def _as_given(files: Mapping[str, bytes], draft: VersionDraft) -> ChosenRuntime:
    """The graph of an ONNX file: there is nothing else to compare with, so single rows are compared with the batch."""
    runtime = graph_runtime("candidate", draft.contract, files)
    try:
        outputs = runtime.predict(draft.training_rows)
        _require_probabilities_of_graph(outputs)
        if draft.contract.task == "regression" or outputs.probabilities is not None:
            parity = measure(runtime, Standard(rows=draft.training_rows, outputs=outputs))
        else:
            parity = not_measured(Standard(rows=draft.training_rows, outputs=outputs), "")
            parity = msgspec.structs.replace(parity, holds=True, reason=None)
    except DataRefused:
        raise
    except Exception as error:
        raise DataRefused(f"the graph does not answer the rows it is published with: {error}") from error
    if not parity.holds:
        raise DataRefused(f"the graph answers a row alone otherwise than in a batch: {parity.reason}")
    return ChosenRuntime(runtime="onnx", files={}, parity=parity)


def _require_probabilities(estimator: Any, outputs: Outputs) -> None:
    """Raise `DataRefused` if what `predict_proba` gives are scores, as of an objective of the user's own.

    That they add up to 1 is not required: those of models that ask one against the rest do not.
    """
    given = outputs.probabilities
    if given is None:
        return
    if answers_scores(estimator) or given.min(initial=0.0) < -_ROUNDED or given.max(initial=1.0) > 1 + _ROUNDED:
        raise DataRefused(
            f"predict_proba gives no probabilities but scores, from {given.min():.3g} to {given.max():.3g}: fit the "
            "model with an objective that has probabilities, such as the library's own logistic one, or calibrate it "
            "(CalibratedClassifierCV)"
        )


def _require_probabilities_of_graph(outputs: Outputs) -> None:
    """Raise `DataRefused` if what the graph gives as probabilities are none, such as scores before a softmax."""
    given = outputs.probabilities
    if given is None:
        return
    wrong = ((given < -_ROUNDED) | (given > 1 + _ROUNDED)).any(axis=1) | (abs(given.sum(axis=1) - 1) > _ROUNDED)
    if wrong.any():
        raise DataRefused(
            f"the second output of the graph are no probabilities: on {int(wrong.sum())} of {len(given)} rows they are "
            "not from 0 to 1, or do not add up to 1. End the graph with Softmax, or export the label alone"
        )


def _require_repeatable(original: SklearnRuntime, rows: np.ndarray) -> None:
    """Raise `DataRefused` for a model that draws its answers: nothing that is measured on it would hold in traffic."""
    first, second = original.predict(rows[:_REPEATED]), original.predict(rows[:_REPEATED])
    pairs = ((getattr(first, name), getattr(second, name)) for name in ("class_ids", "probabilities", "values"))
    if not all(one is None or np.allclose(one, other, rtol=1e-6, atol=1e-6) for one, other in pairs):
        raise DataRefused("the model answers the same rows differently each time: publish one that does not draw")


def _chosen(estimator: Any, draft: VersionDraft, random: int) -> ChosenRuntime:
    contract, training = draft.contract, draft.training_rows
    original = SklearnRuntime("original", estimator, contract)
    try:
        known = Standard(rows=training, outputs=original.predict(training))
    except Exception as error:
        raise DataRefused(f"the model does not answer the rows it is published with: {error}") from error
    _require_probabilities(estimator, known.outputs)
    _require_repeatable(original, training)
    reason = only_by_sklearn(estimator, contract, known.outputs)
    if reason is not None:
        return by_sklearn(estimator, contract, known, not_measured(known, reason))
    # Random rows too: clients send rows that training did not have, and near-ties lie between them (ADR 0002).
    rows = np.concatenate([training, random_rows(contract, training, random, _SEED)])
    outputs = attempt(original.predict, rows)
    if isinstance(outputs, Exception):
        reason = f"the model itself fails on random rows within the training ranges: {outputs}"
        return by_sklearn(estimator, contract, known, not_measured(known, reason))
    _require_probabilities(estimator, outputs)
    return choose(estimator, contract, Standard(rows=rows, outputs=outputs), original)


def _pickled(estimator: Any) -> bytes:
    import joblib

    buffer = BytesIO()
    try:
        joblib.dump(estimator, buffer)
    except Exception as error:
        raise DataRefused(f"the model cannot be written with joblib: {error}") from error
    return buffer.getvalue()


def _fits(estimator: Any, contract: FeatureContract) -> None:
    """Raise `DataRefused` for an estimator with other columns or classes than the contract's."""
    if not hasattr(estimator, "predict"):
        raise DataRefused(f"a {type(estimator).__name__} is not a model: it has no `predict`")
    width = fitted_width(estimator)
    if width not in (None, len(contract.features)):
        raise DataRefused(f"the model reads {width} columns, the contract has {len(contract.features)} features")
    if contract.task == "regression":
        return
    classes = getattr(estimator, "classes_", None)
    if classes is None or isinstance(classes, list):
        raise DataRefused("the model is not a classifier of one target: it has no single list of classes")
    if len(classes) != len(contract.classes):
        raise DataRefused(f"the model knows {len(classes)} classes, the contract has {len(contract.classes)}")
