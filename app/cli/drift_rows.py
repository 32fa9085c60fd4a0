"""A CSV file's rows as the monitor would see them, whatever their cells hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.domain.contract import Feature, FeatureContract, unique_snake_case
from app.errors import DataRefused
from app.training.columns import Column

_BOOLEANS = {"false": 0.0, "true": 1.0}


def contract_rows(contract: FeatureContract, columns: Sequence[Column]) -> np.ndarray:
    """The rows of `columns` in contract order, an array of objects of shape (n, features).

    Nothing is refused but a file that lacks a feature (`DataRefused`): a text among numbers stays a text, which the
    drift report counts as unseen.
    """
    places = [_place(contract.target, columns, feature) for feature in contract.features]
    rows = np.empty((len(columns[0].values), len(places)), dtype=object)
    for index, (feature, column) in enumerate(zip(contract.features, places, strict=True)):
        rows[:, index] = _numbers(column) if feature.kind == "numeric" else _texts(column)
    return rows


def _place(target: str, columns: Sequence[Column], feature: Feature) -> Column:
    """The feature's column: by its name in the training data, by its own name, or by what that would become."""
    others = [column for column in columns if column.name != target]
    normalised = unique_snake_case([column.name for column in others])
    by_name = dict(zip(normalised, others, strict=True)) | {column.name: column for column in others}
    found = by_name.get(feature.source_name or feature.name) or by_name.get(feature.name)
    if found is None:
        raise DataRefused(f"the file has no column for feature {feature.name!r}", field=feature.name)
    return found


def _numbers(column: Column) -> list[object]:
    if column.kind == "numeric":
        return list(column.values.tolist())
    return [_number(cell) for cell in column.values]


def _number(cell: str | None) -> float | str | None:
    if cell is None:
        return None
    if cell.lower() in _BOOLEANS:
        return _BOOLEANS[cell.lower()]
    try:
        return float(cell)
    except ValueError:
        return cell


def _texts(column: Column) -> list[object]:
    return list(column.values if column.cells is None else column.cells)
