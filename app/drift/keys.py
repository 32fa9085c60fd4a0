"""Rows as sort keys: every value has one place on a line, missing, unseen, infinite and enormous ones too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

# All finite, because JSON has no infinity: finite values < infinite < missing < unseen.
LARGEST_KEY = 1.5e308
INFINITE_KEY = 1.6e308
MISSING_KEY = 1.7e308
UNSEEN_KEY = 1.75e308
# Below every rank of a category.
FIRST_KEY = -1.0


def numeric_keys(values: np.ndarray) -> np.ndarray:
    """The keys of float64 `values` of any shape: the values, except infinities and NaN (missing)."""
    keys: np.ndarray = np.clip(values, -LARGEST_KEY, LARGEST_KEY)
    odd = ~np.isfinite(values)
    if odd.any():
        keys[np.isposinf(values)] = INFINITE_KEY
        keys[np.isneginf(values)] = -INFINITE_KEY
        keys[np.isnan(values)] = MISSING_KEY
    return keys


def category_keys(values: Iterable[Any], ranks: Mapping[str, float]) -> np.ndarray:
    """The keys of a categorical column: the category's rank; None and NaN are missing, other values unseen."""
    get = ranks.get
    found = [get(value, UNSEEN_KEY) if type(value) is str else _category_key(value, ranks) for value in values]
    return np.array(found, dtype=np.float64)


def row_keys(rows: np.ndarray, ranks: Sequence[Mapping[str, float] | None]) -> np.ndarray:
    """The keys of `rows`, shape (n, features): `ranks` has the categories of each feature, None for a numeric one."""
    if rows.dtype != object and all(rank is None for rank in ranks):
        return numeric_keys(np.asarray(rows, dtype=np.float64))
    keys = np.empty(rows.shape, dtype=np.float64)
    for column, rank in enumerate(ranks):
        values = rows[:, column]
        keys[:, column] = _mixed_keys(values) if rank is None else category_keys(values, rank)
    return keys


def _category_key(value: object, ranks: Mapping[str, float]) -> float:
    if value is None or value != value:
        return MISSING_KEY
    # A number in a categorical column is no category, even if its text is one.
    return float(ranks.get(value, UNSEEN_KEY)) if isinstance(value, str) else UNSEEN_KEY


def _mixed_keys(values: np.ndarray) -> np.ndarray:
    """The keys of a numeric column of objects: None is missing, a value that is not a number is unseen."""
    try:
        return numeric_keys(values.astype(np.float64))
    except (TypeError, ValueError, OverflowError):
        return np.array([_number_key(value) for value in values], dtype=np.float64)


def _number_key(value: object) -> float:
    if value is None:
        return MISSING_KEY
    if not isinstance(value, int | float | np.number):
        return UNSEEN_KEY
    try:
        return float(numeric_keys(np.array([float(value)]))[0])
    except OverflowError:
        return LARGEST_KEY if value > 0 else -LARGEST_KEY
