"""The form of rows that an estimator was fitted on: names, number and categories of its columns, array or frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from app.domain.contract import FeatureContract
from app.inference.estimators import knows_none, library_of, parts_of, reads_texts, unwrapped


def fitted_names(estimator: Any) -> tuple[str, ...] | None:
    """The names of the columns that it was fitted on; None if it was fitted on an array, or does not tell."""
    model = unwrapped(estimator)
    names = getattr(model, "feature_names_in_", None)
    if names is None and library_of(model) == "catboost":
        # Columns of an array have their numbers for names.
        names = model.feature_names_ if model.feature_names_ != [*map(str, range(len(model.feature_names_)))] else None
    return None if names is None else tuple(str(name) for name in names)


def fitted_width(estimator: Any) -> int | None:
    """The number of columns that it was fitted on; None if it does not tell."""
    model = unwrapped(estimator)
    if library_of(model) == "catboost":
        return len(model.feature_names_)
    width = getattr(model, "n_features_in_", None)
    return None if width is None else int(width)


def pandas_categories(estimator: Any) -> dict[int, tuple[Any, ...]]:
    """The categories, in the order of their codes, of the columns that a boosting model reads as pandas categories.

    By the position of the column; empty for a model that reads none, or none of the estimator's own columns.
    """
    names = fitted_names(estimator)
    for part in parts_of(estimator) if names else ():
        read = _CATEGORIES.get(library_of(part))
        if read is not None and fitted_names(part) == names:
            return read(part)
    return {}


def _of_lightgbm(model: Any) -> dict[int, tuple[Any, ...]]:
    booster = model.booster_
    columns, known = booster.params.get("categorical_column") or (), booster.pandas_categorical or ()
    # As many as there are columns, unless others were named by the parameter `categorical_feature`.
    if len(columns) != len(known):
        return {}
    return {int(column): tuple(values) for column, values in zip(columns, known, strict=True)}


def _of_xgboost(model: Any) -> dict[int, tuple[Any, ...]]:
    booster = model.get_booster()
    if "c" not in (booster.feature_types or ()):
        return {}
    known = booster.get_categories(export_to_arrow=True).to_arrow()
    return {index: tuple(values.to_pylist()) for index, (_, values) in enumerate(known) if values is not None}


_CATEGORIES: dict[str, Callable[[Any], dict[int, tuple[Any, ...]]]] = {
    "lightgbm": _of_lightgbm,
    "xgboost": _of_xgboost,
}


def inputs_of(estimator: Any, contract: FeatureContract) -> Callable[[np.ndarray], Any]:
    """A function from rows to the form that the estimator was fitted on: a frame by column name, or an array.

    An estimator of texts gets the series of the only column. A missing category becomes NaN, as in data read from a
    file, unless the estimator was fitted on None.
    """
    numeric = [feature.kind == "numeric" for feature in contract.features]
    missing = None if all(numeric) or knows_none(estimator) else np.nan
    if reads_texts(estimator):
        return partial(_texts, missing)
    names = fitted_names(estimator)
    if names is None:
        return (lambda rows: rows) if missing is None else partial(_array, missing)
    categories = pandas_categories(estimator)
    if all(numeric) and not categories:
        return _numbers_by_name(names)
    return partial(_frame, names, numeric, missing, categories)


def _numbers_by_name(names: Sequence[str]) -> Callable[[np.ndarray], Any]:
    import pandas as pd  # deferred: slow to import, and only estimators that were fitted on frames need it

    index = pd.Index(names)
    return lambda rows: pd.DataFrame(rows, columns=index)


def _frame(
    names: Sequence[str],
    numeric: Sequence[bool],
    missing: float | None,
    categories: Mapping[int, Sequence[Any]],
    rows: np.ndarray,
) -> Any:
    import pandas as pd  # deferred, as above

    columns = {}
    for index, (name, is_number) in enumerate(zip(names, numeric, strict=True)):
        values = rows[:, index]
        if index in categories:
            columns[name] = pd.Series(pd.Categorical(_known(values, categories[index]), categories=categories[index]))
            continue
        kept = values.astype(np.float64) if is_number else [missing if value is None else value for value in values]
        columns[name] = pd.Series(kept, dtype=np.float64 if is_number else object)
    return pd.DataFrame(columns)


def _known(values: np.ndarray, categories: Sequence[Any]) -> list[Any]:
    """The values with None for those that are not among the categories, which pandas has no code for."""
    known = set(categories)
    return [value if value in known else None for value in values.tolist()]


def _texts(missing: float | None, rows: np.ndarray) -> Any:
    import pandas as pd  # deferred, as above

    return pd.Series([missing if value is None else value for value in rows[:, 0].tolist()], dtype=object)


def _array(missing: float | None, rows: np.ndarray) -> np.ndarray:
    filled = [[missing if value is None else value for value in row] for row in rows.tolist()]
    array = np.empty(rows.shape, dtype=object)
    array[:] = filled
    return array
