"""Columns as features of a contract, and their values as rows in the form of requests."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import msgspec
import numpy as np

from app.domain.contract import Feature, FeatureContract
from app.tables.names import unique_snake_case
from app.training.columns import Column
from app.training.task import Truth

Example = tuple[float | str | None, ...]


def features_of(columns: Sequence[Column], training: np.ndarray | None = None) -> tuple[Feature, ...]:
    """One feature per column, named in snake case.

    Categories and missing values are those of all rows; the range is that of the rows at `training` (default: all),
    so that the contract does not describe values that the model has not seen.
    """
    names = unique_snake_case([column.name for column in columns])
    return tuple(feature_of(name, column, training) for name, column in zip(names, columns, strict=True))


def rows_of(columns: Sequence[Column]) -> np.ndarray:
    """The columns as an array of rows, shape (rows, columns), in `RowParser`'s form: float64 if all are numeric."""
    if all(column.kind == "numeric" for column in columns):
        return np.column_stack([column.values for column in columns])
    rows = np.empty((len(columns[0].values), len(columns)), dtype=object)
    for index, column in enumerate(columns):
        rows[:, index] = column.values.tolist()
    return rows


def digest(contract: FeatureContract, rows: np.ndarray, truth: Truth) -> str:
    """SHA-256 in hex over the feature names, the rows and the target, all in their order."""
    # Over values and not over the file, so that another spelling or separator of the same data has the same digest.
    hashed = sha256(msgspec.json.encode((contract.names, contract.target)))
    hashed.update(rows.tobytes() if rows.dtype != object else msgspec.json.encode(rows.tolist()))
    hashed.update(msgspec.json.encode(truth.labels.tolist()))
    return hashed.hexdigest()


def examples_of(rows: np.ndarray, truth: Truth, limit: int = 6) -> tuple[Example, ...]:
    """At most `limit` of `rows`: one for each class, or for numbers from small to large. Missing values are None."""
    if truth.class_ids is not None:
        _, order = np.unique(truth.class_ids, return_index=True)
    else:
        order = np.argsort(truth.labels, kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, min(limit, len(order))).round().astype(int))]
    return tuple(tuple(None if value != value else value for value in row) for row in rows[chosen].tolist())


def missing_in(rows: np.ndarray) -> np.ndarray:
    """True where there is no value (NaN or None), in the shape of `rows`."""
    if rows.dtype != object:
        return np.asarray(np.isnan(rows))
    flat = [value is None or value != value for value in rows.ravel().tolist()]
    return np.array(flat, dtype=bool).reshape(rows.shape)


def feature_of(name: str, column: Column, training: np.ndarray | None = None) -> Feature:
    """The feature that describes the column; see `features_of`."""
    source_name = column.name if column.name != name else None
    nullable = bool(column.missing.any())
    if column.kind == "categorical":
        categories = tuple(str(value) for value in column.distinct)
        return Feature(name=name, kind="categorical", categories=categories, nullable=nullable, source_name=source_name)
    values = column.values if training is None else column.values[training]
    low, middle, high = _range(values[np.isfinite(values)])
    return Feature(
        name=name,
        minimum=low,
        maximum=high,
        median=middle,
        nullable=nullable,
        source_name=source_name,
        boolean=column.boolean,
    )


def _range(values: np.ndarray) -> tuple[float | None, float | None, float | None]:
    if not len(values):
        return None, None, None
    return float(values.min()), float(np.median(values)), float(values.max())
