"""The seeded split into training and hold-out rows.

Build the estimator that fits a feature contract, and shape rows as it wants them.

Fit one variant on the training rows and score it on both sides of the split.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from app.training.user_warnings import collect_user_warnings
from app.training.variants import TrainingVariant, instantiate

HOLDOUT_SHARE = 0.2


class Split(msgspec.Struct, frozen=True):
    """Positions of the training and the hold-out rows, each in random order, together all rows."""

    training: np.ndarray
    holdout: np.ndarray


def stratified(strata: np.ndarray, first: np.ndarray, seed: int, share: float = HOLDOUT_SHARE) -> Split:
    """A split in which each stratum gives `share` of its rows to the hold-out, at least one and never all.

    `strata` (rows,) holds the class ids, or zeros where there are no classes. `first` (rows,) gives the first copy of
    each row: only first copies are drawn, and their copies follow them. A stratum of one row is trained on.
    """
    generator = np.random.default_rng(seed)
    originals = np.flatnonzero(first == np.arange(len(first)))
    held = np.zeros(len(first), dtype=bool)
    for stratum in np.unique(strata):
        members = generator.permutation(originals[strata[originals] == stratum])
        wanted = min(max(1, round(share * len(members))), len(members) - 1)
        held[members[:wanted]] = True
    held = held[first]
    order = generator.permutation(len(first))
    return Split(training=order[~held[order]], holdout=order[held[order]])


MISSING_CATEGORY = "missing"


def pipeline_for(contract: FeatureContract, model: Any, *, scale: bool) -> Any:
    """`model` behind what the features need: imputing, scaling, one-hot encoding; bare where they need nothing.

    With numeric features alone it is to be fitted on plain arrays, else on the frames of `inputs_for`. Unknown
    categories are an error: the contract is closed.
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

    Missing values are NaN in a frame, as in one that was read from a CSV file: scikit-learn's imputers miss None.
    """
    return rows if contract.all_numeric else frame_of(contract, contract.names, rows)


def frame_of(contract: FeatureContract, names: Sequence[str], rows: np.ndarray) -> Any:
    """Rows as a frame with these column names: float64 for numeric features, objects for categorical ones."""
    import pandas as pd  # numeric data never need it

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
        # A column may lack values in all rows of the training side: it must stay a column.
        steps.append(("impute", SimpleImputer(strategy="median", keep_empty_features=True)))
    if scale:
        steps.append(("scale", StandardScaler()))
    return steps


def _encoding(feature: Feature) -> Any:
    """One column a category of the whole data set: one that only the hold-out has is known, not an error."""
    categories = [*feature.categories, MISSING_CATEGORY] if feature.nullable else list(feature.categories)
    encode = OneHotEncoder(categories=[categories], handle_unknown="error", sparse_output=False)
    if not feature.nullable:
        return encode
    impute = SimpleImputer(strategy="constant", fill_value=MISSING_CATEGORY)
    return Pipeline([("impute", impute), ("encode", encode)])


class Prepared(msgspec.Struct, frozen=True):
    """Checked data, split, with the contract that any variant fitted on them will have."""

    checked: CheckedData
    contract: FeatureContract
    rows: np.ndarray
    split: Split


class Fitted(msgspec.Struct, frozen=True):
    """A variant, fitted. `heldout` are its answers to the hold-out rows, `errors` how many of them are wrong classes.

    `warnings` are the warnings that fitting gave, each once.
    """

    variant: str
    estimator: Any
    training: Figures
    holdout: Figures
    heldout: Outputs
    errors: int | None
    warnings: tuple[str, ...] = ()


def prepare(checked: CheckedData, seed: int) -> Prepared:
    """The split, and the contract: ranges of the training rows, categories and gaps of all rows."""
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

    Raises `DataRefused` where the estimator will not be fitted on these data, `SettingError` where the variant is
    wrong.
    """
    contract, truth, split = prepared.contract, prepared.checked.truth, prepared.split
    model = instantiate(name, variant, truth.task, seed)
    estimator = pipeline_for(contract, model, scale=variant.scale)
    rows = prepared.rows[split.training]
    with collect_user_warnings() as warnings:
        try:
            estimator.fit(inputs_for(contract, rows), truth.labels[split.training])
        except (ValueError, TypeError) as error:
            raise DataRefused(f"{name} cannot be fitted on these data: {error}") from error
    trained, held = truth.take(split.training), truth.take(split.holdout)
    heldout = answers(estimator, contract, prepared.rows[split.holdout])
    return Fitted(
        variant=name,
        estimator=estimator,
        training=score(answers(estimator, contract, rows), trained),
        holdout=score(heldout, held),
        heldout=heldout,
        errors=errors_in(heldout, held),
        warnings=tuple(warnings),
    )
