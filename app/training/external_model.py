"""A model that was fitted elsewhere: loaded, described, asked, and its classes matched with the labels of a file."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from app.domain.contract import FeatureContract, Task
from app.domain.prediction import Outputs
from app.errors import DataRefused, ModelFailed
from app.inference.fitted_inputs import fitted_names, fitted_width
from app.inference.graph_file import GraphModel
from app.services.boundaries import attempt
from app.tables.model_columns import source_of
from app.training.class_names import class_names
from app.training.columns import Column
from app.training.evaluation import answers
from app.training.task import Truth, truth_of

# As Excel writes them in other languages. They are not read as booleans: a model may know them as texts.
_FOREIGN_BOOLEANS = (("WAHR", "FALSCH"), ("VRAI", "FAUX"), ("VERO", "FALSO"), ("VERDADERO", "FALSO"))

_SAID = {"the answer is not finite": "an answer is NaN or infinite"}
_MODELS_OF = {"lightgbm": "LGBMClassifier, LGBMRegressor", "xgboost": "XGBClassifier, XGBRegressor"}


class ExternalModel(msgspec.Struct, frozen=True):
    """A fitted estimator and what its attributes tell about it; `warnings` are those of loading it.

    `labels` are its classes, in the order of its ids; none for a regressor. `columns` are the names of the columns
    that it was fitted on and `width` their number, each None if the estimator does not tell. `files` are those that a
    version keeps of it, byte for byte (None: the estimator is pickled).
    """

    estimator: Any
    task: Task
    labels: tuple[Any, ...]
    columns: tuple[str, ...] | None
    width: int | None
    warnings: tuple[str, ...] = ()
    files: Mapping[str, bytes] | None = None


def describe(estimator: Any, origin: str, warnings: tuple[str, ...] = ()) -> ExternalModel:
    """The model that a fitted estimator is; `origin` names it in errors.

    Raises `DataRefused` if it is not fitted, or is neither a classifier nor a regressor with one output.
    """
    _refuse_boosters(estimator, origin)
    if inspect.isclass(estimator):
        kind = _kind(estimator)
        raise DataRefused(
            f"{origin} holds a {kind}, which is not a fitted model: it is the class itself, save a fitted model of it"
        )
    if not hasattr(estimator, "predict"):
        raise DataRefused(f"{origin} holds a {_kind(estimator)}, which is not a fitted model: it has no predict")
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        raise DataRefused(f"{origin}: the {_kind(estimator)} is not fitted") from None
    except TypeError:
        pass  # a model of another library with scikit-learn's interface: the reference rows will show if it works
    task = _task(estimator, origin)
    names = fitted_names(estimator)
    return ExternalModel(
        estimator=estimator,
        task=task,
        labels=_labels(estimator, origin) if task == "classification" else (),
        columns=names,
        width=fitted_width(estimator),
        warnings=warnings,
    )


def of_graph(model: GraphModel) -> ExternalModel:
    """The model that a graph of an ONNX file is; it has no attributes of an estimator to be described by."""
    facts = model.facts
    return ExternalModel(
        estimator=model,
        task="classification" if facts.classes else "regression",
        labels=tuple(model.classes_.tolist()) if facts.classes else (),
        columns=facts.columns,
        width=facts.width,
    )


def _refuse_boosters(estimator: Any, origin: str) -> None:
    """Raise `DataRefused` for the booster inside a model of LightGBM or XGBoost, saved without the model."""
    package = type(estimator).__module__.partition(".")[0]
    if type(estimator).__name__ == "Booster" and package in _MODELS_OF:
        raise DataRefused(
            f"{origin} holds a Booster of {package}, which knows neither its classes nor how to answer a table: "
            f"save the model around it ({_MODELS_OF[package]}) with joblib.dump"
        )


def _task(estimator: Any, origin: str) -> Task:
    # Both ask the estimator's tags, which a model of another library may lack.
    if attempt(is_regressor, estimator) is True:
        return "regression"
    if attempt(is_classifier, estimator) is True or hasattr(estimator, "classes_"):
        return "classification"
    raise DataRefused(f"{origin}: a {_kind(estimator)} is neither a classifier nor a regressor")


def _labels(estimator: Any, origin: str) -> tuple[Any, ...]:
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        raise DataRefused(f"{origin}: the {_kind(estimator)} does not say which classes it knows (classes_)")
    if isinstance(classes, list) or np.ndim(classes) != 1:
        raise DataRefused(f"{origin}: the {_kind(estimator)} has several outputs; only one is supported")
    return tuple(np.asarray(classes).tolist())


def _kind(thing: Any) -> str:
    return thing.__name__ if inspect.isclass(thing) else type(thing).__name__


def ask(model: ExternalModel, contract: FeatureContract, rows: np.ndarray) -> Outputs:
    """The model's answers to `rows`, as `RowParser` gives them. Raises `DataRefused` with the reason if it fails."""
    try:
        return answers(model.estimator, contract, rows)
    except Exception as error:  # whatever a foreign model raises is the reason that is reported
        _refuse_foreign_booleans(contract)
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        if isinstance(error, ModelFailed):
            reason = _SAID.get(error.reason, error.reason)
        raise DataRefused(f"the model cannot answer the reference rows: {reason}") from error


def _refuse_foreign_booleans(contract: FeatureContract) -> None:
    """Raise `DataRefused` for the first column of booleans as a spreadsheet in another language writes them."""
    for feature in contract.features:
        words = {category.strip().upper() for category in feature.categories}
        pair = next((pair for pair in _FOREIGN_BOOLEANS if words and words <= set(pair)), None)
        if pair is not None:
            name = source_of(feature)
            raise DataRefused(f"column {name!r} has {pair[0]} and {pair[1]}: write true and false", field=name)


def truth_for(model: ExternalModel, target: Column) -> Truth:
    """The target as ids of the model's classes, or as numbers for a regressor.

    Labels are compared as text, then as numbers (`1` is `1.0`), then as booleans. Raises `DataRefused` that lists
    labels which are not among the model's classes.
    """
    if model.task == "regression":
        return truth_of(target, "regression")
    names = class_names(model.labels, target)
    position = {**_positions(names), **_positions(model.labels)}
    cells = target.cells if target.cells is not None else tuple(str(value) for value in target.values.tolist())
    ids = [position.get(_key(cell or "", position)) for cell in cells]
    _require_known(target, cells, ids, names)
    class_ids = np.array(ids, dtype=np.int64)
    return Truth(task="classification", labels=np.array(names)[class_ids], classes=names, class_ids=class_ids)


def _require_known(
    target: Column, cells: Sequence[str | None], ids: Sequence[int | None], classes: tuple[str, ...]
) -> None:
    unknown = sorted({str(cell) for cell, known in zip(cells, ids, strict=True) if known is None})
    if unknown:
        listed = ", ".join(map(repr, unknown[:5])) + (" …" if len(unknown) > 5 else "")
        known_ones = ", ".join(classes[:10]) + (" …" if len(classes) > 10 else "")
        raise DataRefused(
            f"the target {target.name!r} has values that are not among the model's classes: {listed}; "
            f"the classes are {known_ones}",
            field=target.name,
        )


def _positions(labels: tuple[Any, ...]) -> dict[object, int]:
    """Class ids by every form in which a file may have a label: its text, its number, `true` for `True`."""
    positions: dict[object, int] = {}
    for index, label in enumerate(labels):
        positions[str(label)] = index
        if isinstance(label, bool):
            positions[str(label).lower()] = index
        elif isinstance(label, int | float):
            positions[float(label)] = index
    return positions


def _key(cell: str, positions: dict[object, int]) -> object:
    if cell in positions:
        return cell
    try:
        return float(cell)
    except ValueError:
        text = cell.strip()
        return text.lower() if text.lower() in ("true", "false") else text
