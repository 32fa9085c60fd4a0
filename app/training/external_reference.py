"""Fit the columns of a reference file to a model that was fitted elsewhere.

Find the rows of a reference file that a model fitted elsewhere can answer, and what its contract may promise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from app.domain.contract import Feature, FeatureContract, snake_case, unique_snake_case
from app.errors import DataRefused
from app.training.columns import Column, categorical, numeric
from app.training.encoders import Encoding
from app.training.external_model import ExternalModel, answers_without
from app.training.features import feature_of, missing_in
from app.training.findings import Finding, counted


class ChosenColumns(msgspec.Struct, frozen=True):
    """The columns that the model reads, in its order and under its names, and the names of those it does not."""

    columns: tuple[Column, ...]
    extra: tuple[str, ...] = ()


def columns_for(model: ExternalModel, columns: Sequence[Column]) -> ChosenColumns:
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
        return ChosenColumns(tuple(columns))
    by_name = {snake_case(column.name): column for column in columns} | {column.name: column for column in columns}
    found = {name: by_name.get(name) or by_name.get(snake_case(name)) for name in model.columns}
    lacking = [name for name, column in found.items() if column is None]
    if lacking:
        raise DataRefused(f"the reference lacks columns that the model reads: {', '.join(lacking)}", field=lacking[0])
    taken = {column.name for column in found.values() if column is not None}
    renamed = [msgspec.structs.replace(column, name=name) for name, column in found.items() if column is not None]
    return ChosenColumns(tuple(renamed), tuple(column.name for column in columns if column.name not in taken))


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
        return msgspec.structs.replace(feature, choices=() if encoding.accepts_others else encoding.numbers)
    others = feature.categories if encoding.accepts_others or not encoding.categories else ()
    categories = tuple(sorted({*others, *encoding.categories}))
    return msgspec.structs.replace(feature, categories=categories, open_categories=encoding.accepts_others)


def _spelling(cell: str | None, known: frozenset[str]) -> str | None:
    """The cell as the encoder spells it: booleans come in two spellings."""
    if cell is None or cell in known or cell.lower() not in ("true", "false"):
        return cell
    return next((text for text in (cell.lower(), cell.capitalize()) if text in known), cell)


class AnswerableRows(msgspec.Struct, frozen=True):
    """The contract with `nullable` true only where the model copes, and the positions of the rows that fit it."""

    contract: FeatureContract
    positions: np.ndarray
    findings: tuple[Finding, ...] = ()


def answerable_rows(model: ExternalModel, contract: FeatureContract, rows: np.ndarray) -> AnswerableRows:
    """The rows with known categories alone, and without gaps where the model does not cope with them.

    The model is asked, column by column. Raises `DataRefused` where no row is left.
    """
    strange, findings = _unknown_categories(contract, rows)
    known = np.flatnonzero(~strange)
    _require_some(known, findings)
    missing = missing_in(rows[known])
    probe = rows[known[np.argsort(missing.sum(axis=1), kind="stable")[:1]]]
    features = list(contract.features)
    for column in np.flatnonzero(missing.any(axis=0)).tolist():
        if answers_without(model, contract, probe, column):
            missing[:, column] = False
            continue
        features[column] = msgspec.structs.replace(features[column], nullable=False)
        findings.append(_gap(features[column], int(missing[:, column].sum())))
    positions = known[~missing.any(axis=1)]
    _require_some(positions, findings)
    settled = msgspec.structs.replace(contract, features=tuple(features))
    return AnswerableRows(contract=settled, positions=positions, findings=tuple(findings))


def _unknown_categories(contract: FeatureContract, rows: np.ndarray) -> tuple[np.ndarray, list[Finding]]:
    """True for rows with a category (or a number encoded as one) that the model would fail on, and what to say."""
    strange = np.zeros(len(rows), dtype=bool)
    findings = []
    for index, feature in enumerate(contract.features):
        known = frozenset(feature.choices or feature.categories)
        if not known or feature.open_categories:
            continue
        values = rows[:, index].tolist()
        unknown = [value is not None and value == value and value not in known for value in values]
        if any(unknown):
            example = values[unknown.index(True)]
            message = f"the model does not know {example!r} of {feature.name!r}, in {counted(sum(unknown))}"
            findings.append(Finding("unknown categories", "dropped", message, "those rows are left out", feature.name))
            strange |= np.array(unknown)
    return strange, findings


def _gap(feature: Feature, count: int) -> Finding:
    message = f"the model does not answer without a value of {feature.name!r}, missing in {counted(count)}"
    return Finding("missing values", "dropped", message, "those rows are left out", feature.name)


def _require_some(positions: np.ndarray, findings: Sequence[Finding]) -> None:
    if not len(positions):
        raise DataRefused("no row is left: " + "; ".join(finding.sentence for finding in findings))
