"""Export the steps before a pipeline's model as steps of a plan that repeat scikit-learn's arithmetic to the bit.

A step, or a setting of it, that is not repeated exactly raises `NotExportable`: the pipeline is then converted as a
whole, which parity has to approve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from app.inference.estimators import library_of, unwrapped
from app.inference.fitted_inputs import fitted_width, pandas_categories
from app.inference.plan import Affine, Branch, Branches, Category, Impute, NotExportable, OneHot, Ordinal, Step


def split_pipeline(estimator: Any) -> tuple[tuple[Step, ...], Any]:
    """The exported steps before the model, and the model itself; nested pipelines too. Raises `NotExportable`."""
    estimator = unwrapped(estimator)
    if not hasattr(estimator, "steps"):
        return _codes(estimator), estimator
    *before, (_, model) = estimator.steps
    steps = _chain(step for _, step in before)
    inner, model = split_pipeline(model)
    return (*steps, *inner), model


def _codes(model: Any) -> tuple[Step, ...]:
    """The step that gives pandas categories their codes, as a boosting model that was fitted on a frame reads them."""
    categories = pandas_categories(model)
    if not categories:
        return ()
    # LightGBM takes a negative code for a missing value, as it does a category that it does not know.
    unknown = -1.0 if library_of(model) == "lightgbm" else None
    parts = [
        Branch(
            columns=(column,),
            steps=(Ordinal(categories=(_named(categories[column]),), unknown=unknown),) if column in categories else (),
        )
        for column in range(fitted_width(model) or 0)
    ]
    return (Branches(parts=tuple(parts)),)


def _named(values: Iterable[Any]) -> tuple[Category, ...]:
    return tuple(_category(value) for value in values)


def _chain(transformers: Iterable[Any]) -> tuple[Step, ...]:
    return tuple(step for transformer in transformers for step in _exported(transformer))


def _exported(transformer: Any) -> tuple[Step, ...]:
    if transformer is None or isinstance(transformer, str):
        if transformer == "drop":
            raise NotExportable("a step that drops everything")
        return ()  # None and "passthrough"
    kind = type(transformer)
    # By exact type and module: a subclass, or a class of the same name elsewhere, may compute something else.
    export = _EXPORTS.get(kind.__name__) if kind.__module__.startswith("sklearn.") else None
    if export is None:
        raise NotExportable(f"{kind.__name__} is not among the exported steps")
    return export(transformer)


def _pipeline(pipeline: Any) -> tuple[Step, ...]:
    return _chain(step for _, step in pipeline.steps)


def _identity(transformer: Any) -> tuple[Step, ...]:
    if transformer.func is not None:
        raise NotExportable("FunctionTransformer calls a function")
    return ()


def _standard(scaler: Any) -> tuple[Step, ...]:
    return (
        Affine(
            subtract=_numbers(scaler.mean_) if scaler.with_mean else None,
            divide=_numbers(scaler.scale_) if scaler.with_std else None,
        ),
    )


def _robust(scaler: Any) -> tuple[Step, ...]:
    return (
        Affine(
            subtract=_numbers(scaler.center_) if scaler.with_centering else None,
            divide=_numbers(scaler.scale_) if scaler.with_scaling else None,
        ),
    )


def _min_max(scaler: Any) -> tuple[Step, ...]:
    _without_clip(scaler)
    return (Affine(multiply=_numbers(scaler.scale_), add=_numbers(scaler.min_)),)


def _max_abs(scaler: Any) -> tuple[Step, ...]:
    _without_clip(scaler)
    return (Affine(divide=_numbers(scaler.scale_)),)


def _without_clip(scaler: Any) -> None:
    if getattr(scaler, "clip", False):
        raise NotExportable(f"{type(scaler).__name__} clips")


def _imputer(imputer: Any) -> tuple[Step, ...]:
    marker = imputer.missing_values
    if not (marker is None or (isinstance(marker, float) and math.isnan(marker))):
        raise NotExportable(f"SimpleImputer takes {marker!r} for missing")
    if imputer.add_indicator:
        raise NotExportable("SimpleImputer adds indicators")
    fill = [_category(value) for value in imputer.statistics_.tolist()]
    # Such a column has no statistic, and the imputer gives fewer columns than it takes.
    if None in fill:
        raise NotExportable("SimpleImputer drops a column without values")
    return (Impute(fill=tuple(value for value in fill if value is not None)),)


def _one_hot(encoder: Any) -> tuple[Step, ...]:
    _without_groups(encoder)
    dropped = encoder.drop_idx_
    return (
        OneHot(
            categories=_tables(encoder),
            dropped=tuple(dropped.tolist()) if dropped is not None else (None,) * len(encoder.categories_),
            ignores_unknown=encoder.handle_unknown != "error",
        ),
    )


def _ordinal(encoder: Any) -> tuple[Step, ...]:
    _without_groups(encoder)
    tables = _tables(encoder)
    if any(None in table for table in tables):
        raise NotExportable("OrdinalEncoder has a code for missing values")
    unknown = float(encoder.unknown_value) if encoder.handle_unknown == "use_encoded_value" else None
    if unknown is not None and math.isnan(unknown):
        raise NotExportable("OrdinalEncoder has NaN for unknown categories")
    return (Ordinal(categories=tables, unknown=unknown),)


def _without_groups(encoder: Any) -> None:
    if any(group is not None for group in getattr(encoder, "infrequent_categories_", ())):
        raise NotExportable(f"{type(encoder).__name__} groups rare categories")


def _columns(transformer: Any) -> tuple[Step, ...]:
    width, names = transformer.n_features_in_, list(getattr(transformer, "feature_names_in_", ()))
    if transformer.transformer_weights:
        raise NotExportable("ColumnTransformer weighs its outputs")
    parts = [
        Branch(columns=indices, steps=_exported(part))
        for _, part, columns in transformer.transformers_
        if not (isinstance(part, str) and part == "drop") and (indices := _indices(columns, names, width))
    ]
    return (Branches(parts=tuple(parts)),)


def _indices(columns: Any, names: Sequence[str], width: int) -> tuple[int, ...]:
    """Column positions from any form in which a ColumnTransformer is given columns, except a slice of names."""
    if isinstance(columns, slice) and isinstance(columns.start or columns.stop, str):
        raise NotExportable("ColumnTransformer names columns by a slice of names")
    chosen = columns if isinstance(columns, slice) else np.atleast_1d(np.asarray(columns))
    if isinstance(chosen, np.ndarray) and chosen.dtype.kind in "UOT":
        return tuple(names.index(name) for name in chosen.tolist())
    if isinstance(chosen, np.ndarray) and chosen.size == 0:
        return ()
    return tuple(np.arange(width)[chosen].tolist())


def _tables(encoder: Any) -> tuple[tuple[Category, ...], ...]:
    return tuple(tuple(_category(value) for value in categories.tolist()) for categories in encoder.categories_)


def _category(value: object) -> Category:
    if value is None or value != value:
        return None
    # A boolean is a number here, as in the rows: False and True are 0 and 1 to scikit-learn's encoders too.
    if not isinstance(value, str | int | float):
        raise NotExportable(f"a category or filling of type {type(value).__name__}")
    return value if isinstance(value, str) else float(value)


def _numbers(values: np.ndarray) -> tuple[float, ...]:
    if not np.isfinite(values).all():
        raise NotExportable("a scale that is not finite")
    return tuple(float(value) for value in values)


_EXPORTS: dict[str, Callable[[Any], tuple[Step, ...]]] = {
    "Pipeline": _pipeline,
    "FunctionTransformer": _identity,
    "StandardScaler": _standard,
    "RobustScaler": _robust,
    "MinMaxScaler": _min_max,
    "MaxAbsScaler": _max_abs,
    "SimpleImputer": _imputer,
    "OneHotEncoder": _one_hot,
    "OrdinalEncoder": _ordinal,
    "ColumnTransformer": _columns,
}
