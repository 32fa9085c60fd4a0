"""Load a model that somebody else fitted, and find out what it is."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import joblib
import msgspec
import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from app.domain.contract import Task
from app.errors import DataRefused
from app.training.complaints import collected


class OwnModel(msgspec.Struct, frozen=True):
    """A fitted estimator, what it answers with, and what loading it complained of.

    `labels` are its classes as it names them, in the order of its ids; none for a regressor. `columns` are the names
    of the columns that it was fitted on and `width` their number, None where it does not say.
    """

    estimator: Any
    task: Task
    labels: tuple[Any, ...]
    columns: tuple[str, ...] | None
    width: int | None
    complaints: tuple[str, ...] = ()


def load_model(path: Path) -> OwnModel:
    """The model in that joblib (or pickle) file. Unpickling runs what the file says: the caller has chosen to trust it.

    Raises `DataRefused` where it cannot be loaded, is not fitted, or is neither a classifier nor a regressor with one
    output.
    """
    if not path.is_file():
        raise DataRefused(f"there is no file {path}")
    with collected() as complaints:
        try:
            estimator = joblib.load(path)
        except Exception as error:  # a pickle can raise anything; it is reported as the reason
            raise DataRefused(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    return describe(estimator, str(path), tuple(complaints))


def describe(estimator: Any, origin: str, complaints: tuple[str, ...] = ()) -> OwnModel:
    """What a fitted estimator is; `origin` names it in errors. Raises `DataRefused`, see `load_model`."""
    if inspect.isclass(estimator) or not hasattr(estimator, "predict"):
        raise DataRefused(f"{origin} holds a {_kind(estimator)}, which is not a fitted model: it has no predict")
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        raise DataRefused(f"{origin}: the {_kind(estimator)} is not fitted") from None
    except TypeError:
        pass  # a model of another library that keeps to the interface; predicting will tell
    task = _task(estimator, origin)
    names = getattr(estimator, "feature_names_in_", None)
    return OwnModel(
        estimator=estimator,
        task=task,
        labels=_labels(estimator, origin) if task == "classification" else (),
        columns=None if names is None else tuple(str(name) for name in names),
        width=getattr(estimator, "n_features_in_", None),
        complaints=complaints,
    )


def _task(estimator: Any, origin: str) -> Task:
    if is_regressor(estimator):
        return "regression"
    if is_classifier(estimator) or hasattr(estimator, "classes_"):
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
