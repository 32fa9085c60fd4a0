"""Build the estimator that fits a feature contract, and shape rows as it wants them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from app.domain.contract import Feature, FeatureContract

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
