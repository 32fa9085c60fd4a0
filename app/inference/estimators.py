"""Questions about fitted estimators: what is inside, whose classes they are, what decides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np


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


def library_of(part: Any) -> str:
    """The package that defines the class of `part`: `sklearn`, `lightgbm`."""
    return type(part).__module__.partition(".")[0]


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
            # XGBoost hands the setting to its booster in `set_params` only.
            part.set_params(n_jobs=1) if library_of(part) == "xgboost" else setattr(part, "n_jobs", 1)


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


# Their `predict` follows another rule than the largest `predict_proba`: votes, a threshold, decision functions.
_DECIDE_OTHERWISE = (
    "SVC",
    "NuSVC",
    "FixedThresholdClassifier",
    "TunedThresholdClassifierCV",
    "OneVsRestClassifier",
    "OutputCodeClassifier",
    "GaussianProcessClassifier",
    "SelfTrainingClassifier",
    "RadiusNeighborsClassifier",
    "RFE",
    "RFECV",
)
_LIBRARIES = ("sklearn", "lightgbm", "xgboost", "catboost")


# What XGBoost gives as probabilities under any other objective, or one of the user's own, is a score.
_PROBABLE = (None, "binary:logistic", "reg:logistic", "binary:hinge", "multi:softprob", "multi:softmax")


def answers_scores(estimator: Any) -> bool:
    """Whether what the model, or the last step of the pipeline, gives as probabilities is known to be none."""
    model = unwrapped(estimator)
    if by_scikit_learn(model, "Pipeline"):
        return answers_scores(model.steps[-1][1])
    return library_of(model) == "xgboost" and getattr(model, "objective", None) not in _PROBABLE


def decides_by_probability(estimator: Any) -> bool:
    """Whether its class is that of the largest probability, near-ties aside; False where that is not known."""
    model = unwrapped(estimator)
    if by_scikit_learn(model, "Pipeline"):
        return decides_by_probability(model.steps[-1][1])
    if by_scikit_learn(model, "StackingClassifier"):
        return decides_by_probability(model.final_estimator_)
    return library_of(model) in _LIBRARIES and not by_scikit_learn(model, *_DECIDE_OTHERWISE)


# They choose columns by name, or call a function that may.
_BY_NAME = ("ColumnTransformer", "FunctionTransformer", "TransformedTargetRegressor")


def forget_names(estimator: Any) -> None:
    """Take the names of columns from an estimator that does not need them, so that it reads arrays: frames are slow.

    Only for estimators that are scikit-learn's in all their parts: for others it is not known what reads the names.
    """
    parts = list(parts_of(estimator))
    if not all(by_scikit_learn(part) and not by_scikit_learn(part, *_BY_NAME) for part in parts):
        return
    if any(hasattr(part, "_sklearn_output_config") for part in parts):
        return
    for part in parts:
        vars(part).pop("feature_names_in_", None)
