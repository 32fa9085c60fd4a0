"""Fit a variant: split the rows, build the pipeline that the features need, fit it, score both sides of the split.

Everything is seeded: the same data and seed give the same answers.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from app.domain.contract import Feature, FeatureContract
from app.domain.prediction import Outputs
from app.errors import DataRefused
from app.training.checks import CheckedData
from app.training.evaluation import Figures, answers, errors_in, score
from app.training.features import features_of, rows_of
from app.training.task import Truth
from app.training.variants import TrainingVariant, instantiate


@contextmanager
def collect_user_warnings() -> Iterator[list[str]]:
    """A list that is filled when the block ends: the first line of each different `UserWarning`, in order.

    Those are meant for users (no convergence, another library version). Warnings for developers, such as
    `DeprecationWarning`, are left out.
    """
    collected: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        # Python shows a warning once for each line of code: the second version fitted would have none.
        warnings.simplefilter("always")
        yield collected
    for warning in caught:
        first_line = str(warning.message).partition("\n")[0]
        if issubclass(warning.category, UserWarning) and first_line not in collected:
            collected.append(first_line)


HOLDOUT_SHARE = 0.2


class Split(msgspec.Struct, frozen=True):
    """Positions of the training and the hold-out rows, each in random order; every row is in one of them."""

    training: np.ndarray
    holdout: np.ndarray


def stratified(strata: np.ndarray, first: np.ndarray, seed: int, share: float = HOLDOUT_SHARE) -> Split:
    """A split in which each stratum gives `share` of its rows to the hold-out, at least one and never all.

    `strata` (rows,) holds the class ids, or zeros for a regression. `first` (rows,) gives the position of the first
    copy of each row: only first copies are drawn, and copies go where their first one goes, so that no row is both
    trained on and held out. A stratum of one row is trained on.
    """
    generator = np.random.default_rng(seed)
    originals = np.flatnonzero(first == np.arange(len(first)))
    held = np.zeros(len(first), dtype=bool)
    for stratum in np.unique(strata):
        members = generator.permutation(originals[strata[originals] == stratum])
        wanted = min(max(1, round(share * len(members))), len(members) - 1)
        held[members[:wanted]] = True
    held = held[first]
    # Shuffled once more: files are often sorted, and some estimators learn in the order of the rows.
    order = generator.permutation(len(first))
    return Split(training=order[~held[order]], holdout=order[held[order]])


MISSING_CATEGORY = "missing"


def pipeline_for(contract: FeatureContract, model: Any, *, scale: bool) -> Any:
    """`model` behind the steps that the features need: imputing, scaling, one-hot encoding; bare if there are none.

    If all features are numeric it takes plain arrays, else the frames of `inputs_for`. Unknown categories are an
    error, because the contract lists all categories and rejects others.
    """
    if contract.all_numeric:
        steps = [*_numeric_steps(contract.features, scale), ("model", model)]
        return Pipeline(steps) if len(steps) > 1 else model
    numeric = [feature for feature in contract.features if feature.kind == "numeric"]
    parts: list[tuple[str, Any, list[str]]] = []
    if numeric:
        steps = _numeric_steps(numeric, scale)
        parts.append(("numeric", Pipeline(steps) if steps else "passthrough", [feature.name for feature in numeric]))
    for feature in contract.features:
        if feature.kind == "categorical":
            parts.append((feature.name, _encoding(feature), [feature.name]))
    return Pipeline([("features", ColumnTransformer(parts)), ("model", model)])


def inputs_for(contract: FeatureContract, rows: np.ndarray) -> Any:
    """Rows as the estimators of `pipeline_for` take them: the array itself, or a frame by feature name.

    Missing values are NaN in a frame, as in one read from a CSV file: scikit-learn's imputers do not see None.
    """
    return rows if contract.all_numeric else frame_of(contract, contract.names, rows)


def frame_of(contract: FeatureContract, names: Sequence[str], rows: np.ndarray) -> Any:
    """Rows as a frame with these column names: float64 for numeric features, objects for categorical ones."""
    import pandas as pd  # deferred: slow to import, and numeric data never need it

    columns = {}
    for index, (name, feature) in enumerate(zip(names, contract.features, strict=True)):
        values = rows[:, index]
        if feature.kind == "numeric":
            columns[name] = pd.Series(values.astype(np.float64))
        else:
            columns[name] = pd.Series([np.nan if value is None else value for value in values], dtype=object)
    return pd.DataFrame(columns)


def _numeric_steps(features: Sequence[Feature], scale: bool) -> list[tuple[str, Any]]:
    steps: list[tuple[str, Any]] = []
    if any(feature.nullable for feature in features):
        # A column may have no value on the training side: without the setting the imputer would drop it.
        steps.append(("impute", SimpleImputer(strategy="median", keep_empty_features=True)))
    if scale:
        steps.append(("scale", StandardScaler()))
    return steps


def _encoding(feature: Feature) -> Any:
    """One column per category of the whole data set, so that a category only in the hold-out is known too."""
    # Given and not learnt: the contract has the categories of all rows, and the encoder must accept each of them.
    categories = [*feature.categories, MISSING_CATEGORY] if feature.nullable else list(feature.categories)
    encode = OneHotEncoder(categories=[categories], handle_unknown="error", sparse_output=False)
    if not feature.nullable:
        return encode
    impute = SimpleImputer(strategy="constant", fill_value=MISSING_CATEGORY)
    return Pipeline([("impute", impute), ("encode", encode)])


class Prepared(msgspec.Struct, frozen=True):
    """Checked data, split, with the contract that every variant fitted on them has; `rows` are in request form."""

    checked: CheckedData
    contract: FeatureContract
    rows: np.ndarray
    split: Split


class Fitted(msgspec.Struct, frozen=True):
    """A fitted variant with its figures. `holdout_outputs` are its answers to the hold-out rows.

    `errors` counts those of a wrong class (None for a regression). `warnings` are those of fitting, each once.
    `fit_s` is the time that the fit took (s).
    """

    variant: str
    estimator: Any
    training: Figures
    holdout: Figures
    holdout_outputs: Outputs
    errors: int | None
    warnings: tuple[str, ...] = ()
    fit_s: float = 0.0


def prepare(checked: CheckedData, seed: int) -> Prepared:
    """The split, seeded, and the contract: ranges of the training rows, categories and missing values of all rows."""
    dataset, truth = checked.dataset, checked.truth
    strata = np.zeros(dataset.rows, dtype=np.int64) if truth.class_ids is None else truth.class_ids
    split = stratified(strata, checked.first, seed)
    contract = FeatureContract(
        task=truth.task,
        target=dataset.target.name,
        features=features_of(dataset.columns, split.training),
        classes=truth.classes,
    )
    return Prepared(checked=checked, contract=contract, rows=rows_of(dataset.columns), split=split)


def fit(name: str, variant: TrainingVariant, prepared: Prepared, seed: int) -> Fitted:
    """The variant fitted on the training rows. The same data and seed give the same answers to every row.

    Raises `DataRefused` if the estimator cannot be fitted on these data, `SettingError` if the variant is wrong.
    """
    contract, truth, split = prepared.contract, prepared.checked.truth, prepared.split
    rows = prepared.rows[split.training]
    trained, held = truth.take(split.training), truth.take(split.holdout)
    began_s = time.perf_counter()
    with collect_user_warnings() as warnings:
        estimator = fitted_pipeline(name, variant, contract, rows, trained, seed)
    fit_s = time.perf_counter() - began_s
    # Answers of the serving runtime and not of the estimator: the figures are of what clients will get.
    holdout_outputs = answers(estimator, contract, prepared.rows[split.holdout])
    return Fitted(
        variant=name,
        estimator=estimator,
        training=score(answers(estimator, contract, rows), trained),
        holdout=score(holdout_outputs, held),
        holdout_outputs=holdout_outputs,
        errors=errors_in(holdout_outputs, held),
        warnings=tuple(warnings),
        fit_s=fit_s,
    )


def fitted_pipeline(
    name: str, variant: TrainingVariant, contract: FeatureContract, rows: np.ndarray, truth: Truth, seed: int
) -> Any:
    """The variant's estimator behind the steps that the features need, fitted on `rows` and the labels of `truth`.

    Raises as `fit` does.
    """
    estimator = pipeline_for(contract, instantiate(name, variant, truth.task, seed), scale=variant.scale)
    try:
        return estimator.fit(inputs_for(contract, rows), truth.labels)
    except (ValueError, TypeError) as error:
        raise DataRefused(f"{name} cannot be fitted on these data: {error}") from error
