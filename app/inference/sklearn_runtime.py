"""The runtime of the original estimator: for models that do not convert to ONNX, and for settling near-ties."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from app.domain.contract import FeatureContract
from app.domain.prediction import Outputs
from app.errors import ModelFailed


def parts_of(estimator: Any) -> Iterator[Any]:
    """The estimator and every fitted one inside it (steps, branches, members), each once, outer ones first.

    Found through attributes: `get_params` gives the templates of an ensemble's members, not the fitted members.
    """
    seen: set[int] = set()
    waiting = [estimator]
    while waiting:
        thing = waiting.pop(0)
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, list | tuple):
            waiting.extend(thing)
        elif isinstance(thing, dict):
            waiting.extend(thing.values())
        elif isinstance(thing, np.ndarray):
            waiting.extend(thing.ravel().tolist() if thing.dtype == object else ())
        elif hasattr(thing, "get_params") and not isinstance(thing, type):
            yield thing
            waiting.extend(vars(thing).values())


def by_scikit_learn(model: Any, *names: str) -> bool:
    """Whether it is of one of scikit-learn's own classes of these names, or of any if none is given.

    By exact class and module: a subclass, or a class of the same name elsewhere, may compute something else.
    """
    kind = type(model)
    return kind.__module__.startswith("sklearn.") and (not names or kind.__name__ in names)


_SEARCHES = ("GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV")


def unwrapped(estimator: Any) -> Any:
    """The estimator that answers for a search or a frozen one; itself if it is neither."""
    while True:
        if by_scikit_learn(estimator, *_SEARCHES) and hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif by_scikit_learn(estimator, "FrozenEstimator"):
            estimator = estimator.estimator
        else:
            return estimator


def make_single_threaded(estimator: Any) -> None:
    """Set every `n_jobs` in it to 1: a request has one core, and a forest sums its trees in a fixed order only then."""
    for part in parts_of(estimator):
        if getattr(part, "n_jobs", 1) != 1:
            part.n_jobs = 1


def knows_none(estimator: Any) -> bool:
    """Whether it was fitted on data where None, and not NaN, stood for a missing category."""
    for part in parts_of(estimator):
        if getattr(part, "missing_values", np.nan) is None:
            return True
        for categories in getattr(part, "categories_", ()):
            if any(category is None for category in categories):
                return True
    return False


def splits_text(part: Any) -> bool:
    """Whether it is one of scikit-learn's vectorizers: they take a column of texts, and split each into words."""
    return hasattr(part, "build_analyzer")


def reads_texts(estimator: Any) -> bool:
    """Whether it was fitted on a list or series of texts, not on a table: `Pipeline(TfidfVectorizer(), …)`."""
    # Only what was fitted on a table has a number of columns.
    return not hasattr(estimator, "n_features_in_") and any(map(splits_text, parts_of(estimator)))


# Their `predict` is the first class of the largest `predict_proba`, by definition: one call gives both.
_FORESTS = ("RandomForestClassifier", "ExtraTreesClassifier", "DecisionTreeClassifier", "ExtraTreeClassifier")


class SklearnRuntime:
    """Runs a fitted estimator on rows of the contract, on the caller's thread only.

    Class ids come from `predict`, as indices into `classes_` and so into the contract's classes. Raises `ModelFailed`
    if an answer is not finite, and whatever the estimator raises.
    """

    def __init__(self, version: str, estimator: Any, contract: FeatureContract) -> None:
        self._version = version
        make_single_threaded(estimator)
        self._estimator = estimator
        self._inputs = inputs_of(estimator, contract)
        self._classes = np.asarray(estimator.classes_) if contract.task == "classification" else None
        self._has_probabilities = hasattr(estimator, "predict_proba")
        self._predicts_likeliest = self._classes is not None and _predicts_likeliest(estimator)

    def predict(self, rows: np.ndarray) -> Outputs:
        """Class ids, with probabilities if the estimator has them, or values, for `rows` of shape (n, features)."""
        inputs = self._inputs(rows)
        if self._predicts_likeliest:
            probabilities = self._finite(np.asarray(self._estimator.predict_proba(inputs), dtype=np.float64))
            return Outputs(class_ids=probabilities.argmax(axis=1), probabilities=probabilities)
        answers = np.asarray(self._estimator.predict(inputs)).reshape(len(rows))
        if self._classes is None:
            return Outputs(values=self._finite(answers.astype(np.float64)))
        # From `predict` and not from the probabilities: some classifiers decide by another rule (SVC by votes).
        class_ids = np.searchsorted(self._classes, answers)
        if not self._has_probabilities:
            return Outputs(class_ids=class_ids)
        probabilities = np.asarray(self._estimator.predict_proba(inputs), dtype=np.float64)
        return Outputs(class_ids=class_ids, probabilities=self._finite(probabilities))

    def _finite(self, answers: np.ndarray) -> np.ndarray:
        # The sum is finite only if every term is, and one pass over it is cheaper than a mask.
        if not np.isfinite(answers.sum()):
            raise ModelFailed(self._version, "the answer is not finite")
        return answers


def _predicts_likeliest(estimator: Any) -> bool:
    """Whether the model, or the last step of the pipeline, is one of `_FORESTS`."""
    model = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    return type(model).__module__.startswith("sklearn.") and type(model).__name__ in _FORESTS


def inputs_of(estimator: Any, contract: FeatureContract) -> Callable[[np.ndarray], Any]:
    """A function from rows to the form that the estimator was fitted on: a frame by column name, or an array.

    An estimator of texts gets the series of the only column. A missing category becomes NaN, as in data read from a
    file, unless the estimator was fitted on None.
    """
    numeric = [feature.kind == "numeric" for feature in contract.features]
    missing = None if all(numeric) or knows_none(estimator) else np.nan
    if reads_texts(estimator):
        return partial(_texts, missing)
    names = getattr(estimator, "feature_names_in_", None)
    if names is not None:
        return partial(_frame, list(names), numeric, missing)
    return (lambda rows: rows) if missing is None else partial(_array, missing)


def _frame(names: list[str], numeric: list[bool], missing: float | None, rows: np.ndarray) -> Any:
    import pandas as pd  # deferred: slow to import, and only estimators that were fitted on frames need it

    columns = {}
    for index, (name, is_number) in enumerate(zip(names, numeric, strict=True)):
        values = rows[:, index]
        kept = values.astype(np.float64) if is_number else [missing if value is None else value for value in values]
        columns[name] = pd.Series(kept, dtype=np.float64 if is_number else object)
    return pd.DataFrame(columns)


def _texts(missing: float | None, rows: np.ndarray) -> Any:
    import pandas as pd  # deferred, as above

    return pd.Series([missing if value is None else value for value in rows[:, 0].tolist()], dtype=object)


def _array(missing: float | None, rows: np.ndarray) -> np.ndarray:
    filled = [[missing if value is None else value for value in row] for row in rows.tolist()]
    array = np.empty(rows.shape, dtype=object)
    array[:] = filled
    return array
