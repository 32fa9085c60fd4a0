"""Fit the columns of a reference file to a model that was fitted elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from app.domain.contract import Feature, snake_case, unique_snake_case
from app.errors import DataRefused
from app.training.columns import Column, categorical, numeric
from app.training.encoders import Encoding
from app.training.findings import Finding
from app.training.own_model import OwnModel
from app.training.prepared import feature_of


class Chosen(msgspec.Struct, frozen=True):
    """The columns that the model reads, in its order and under its names, and the names of those it does not."""

    columns: tuple[Column, ...]
    extra: tuple[str, ...] = ()


def choose(model: OwnModel, columns: Sequence[Column]) -> Chosen:
    """The model's columns among those of the file: by name where it has names (exactly, else in snake case).

    Without names all columns in the order of the file. Raises `DataRefused` where columns are missing or their number
    is wrong.
    """
    if model.columns is None:
        if model.width not in (None, len(columns)):
            listed = ", ".join(column.name for column in columns)
            raise DataRefused(
                f"the model takes {model.width} columns; beside the target there are {len(columns)}: {listed}"
            )
        return Chosen(tuple(columns))
    by_name = {snake_case(column.name): column for column in columns} | {column.name: column for column in columns}
    found = {name: by_name.get(name) or by_name.get(snake_case(name)) for name in model.columns}
    lacking = [name for name, column in found.items() if column is None]
    if lacking:
        raise DataRefused(f"the reference lacks columns that the model reads: {', '.join(lacking)}", field=lacking[0])
    taken = {column.name for column in found.values() if column is not None}
    renamed = [msgspec.structs.replace(column, name=name) for name, column in found.items() if column is not None]
    return Chosen(tuple(renamed), tuple(column.name for column in columns if column.name not in taken))


def extra_columns(names: Sequence[str]) -> list[Finding]:
    """What becomes of columns that the model does not read."""
    return [
        Finding("columns", "dropped", f"the model does not read column {name!r}", "left out", name) for name in names
    ]


def as_fitted(column: Column, encoding: Encoding | None) -> Column:
    """The column as the model wants it: text where an encoder knows it as text, booleans else as 0 and 1."""
    if encoding is not None and encoding.categories and column.cells is not None:
        known = frozenset(encoding.categories)
        cells = [_spelling(cell, known) for cell in column.cells]
        return categorical(column.name, cells)
    if column.boolean:
        flags = [np.nan if value is None else float(value == "true") for value in column.values]
        return numeric(column.name, np.array(flags), column.cells)
    return column


def features_of_model(columns: Sequence[Column], encoded: Mapping[str, Encoding]) -> tuple[Feature, ...]:
    """The features of the contract: the encoder's categories, where it copes those of the reference too, and open.

    Numbers that an encoder takes as categories, and copes with no others, are the feature's `choices`.
    """
    features = []
    for name, column in zip(unique_snake_case([column.name for column in columns]), columns, strict=True):
        feature = feature_of(name, column)
        encoding = encoded.get(column.name)
        features.append(feature if encoding is None else _encoded(feature, encoding))
    return tuple(features)


def _encoded(feature: Feature, encoding: Encoding) -> Feature:
    if feature.kind == "numeric":
        return msgspec.structs.replace(feature, choices=() if encoding.copes else encoding.numbers)
    others = feature.categories if encoding.copes or not encoding.categories else ()
    categories = tuple(sorted({*others, *encoding.categories}))
    return msgspec.structs.replace(feature, categories=categories, open_categories=encoding.copes)


def _spelling(cell: str | None, known: frozenset[str]) -> str | None:
    """The cell as the encoder spells it: booleans come in two spellings."""
    if cell is None or cell in known or cell.lower() not in ("true", "false"):
        return cell
    return next((text for text in (cell.lower(), cell.capitalize()) if text in known), cell)
