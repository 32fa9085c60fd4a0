"""The reference file of a model that was fitted elsewhere: its columns, its answerable rows, the contract of both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np

from app.domain.contract import Feature, FeatureContract
from app.errors import DataRefused
from app.inference.estimators import reads_texts
from app.tables.counts import counted
from app.tables.names import matching_columns, snake_case, unique_snake_case
from app.training.columns import Column, known_categories, numeric
from app.training.encoders import Encoding
from app.training.external_model import ExternalModel
from app.training.external_probes import answers_without, complete_row
from app.training.features import feature_of, missing_in
from app.training.findings import Finding


class ChosenColumns(msgspec.Struct, frozen=True):
    """The columns that the model reads, in its order and under its names, and the names of all other columns."""

    columns: tuple[Column, ...]
    extra: tuple[str, ...] = ()


def columns_for(model: ExternalModel, columns: Sequence[Column]) -> ChosenColumns:
    """The model's columns among those of the file: by name if it has names, else in order; for a model of texts, one.

    `matching_columns` says which names count. Raises `DataRefused` if columns are missing or their number is wrong.
    """
    if reads_texts(model.estimator):
        return _only_text(columns)
    return _by_order(model.width, columns) if model.columns is None else _by_name(model.columns, columns)


def _only_text(columns: Sequence[Column]) -> ChosenColumns:
    """The only column, or the only one of text: nothing tells the name of the series that the model was fitted on."""
    texts = [column for column in columns if column.kind == "categorical"] if len(columns) > 1 else list(columns)
    if len(texts) != 1:
        listed = ", ".join(column.name for column in texts or columns)
        raise DataRefused(
            f"the model reads one column of texts, and beside the target there are {len(texts)}"
            f"{f': {listed}' if texts else f' among {listed}'}; leave only that one in the file"
        )
    return ChosenColumns(tuple(texts), _unread(columns, texts))


def _by_order(width: int | None, columns: Sequence[Column]) -> ChosenColumns:
    if width not in (None, len(columns)):
        listed = ", ".join(column.name for column in columns)
        raise DataRefused(f"the model takes {width} columns; beside the target there are {len(columns)}: {listed}")
    return ChosenColumns(tuple(columns))


def _by_name(names: Sequence[str], columns: Sequence[Column]) -> ChosenColumns:
    places = matching_columns(names, [column.name for column in columns])
    lacking = [name for name, place in zip(names, places, strict=True) if place is None]
    if lacking:
        raise DataRefused(_lacking_text(lacking, places, columns), field=lacking[0])
    read = [columns[place] for place in places if place is not None]
    return ChosenColumns(
        columns=tuple(msgspec.structs.replace(column, name=name) for name, column in zip(names, read, strict=True)),
        extra=_unread(columns, read),
    )


def _lacking_text(lacking: Sequence[str], places: Sequence[int | None], columns: Sequence[Column]) -> str:
    """Which columns are missing, and those of the file that resemble them but are not surely the same."""
    shorts = {snake_case(name) for name in lacking}
    free = [column.name for place, column in enumerate(columns) if place not in places]
    alike = [repr(name) for name in free if snake_case(name) in shorts]
    unsure = f"; not surely the same: {', '.join(alike)}. Name the columns as in the training data" if alike else ""
    return f"the reference lacks columns that the model reads: {', '.join(lacking)}{unsure}"


def _unread(columns: Sequence[Column], read: Iterable[Column]) -> tuple[str, ...]:
    names = {column.name for column in read}
    return tuple(column.name for column in columns if column.name not in names)


def extra_columns(names: Sequence[str]) -> list[Finding]:
    """The findings about columns that the model does not read: they are left out."""
    return [
        Finding("columns", "dropped", f"the model does not read column {name!r}", "left out", name) for name in names
    ]


def as_fitted(column: Column, encoding: Encoding | None) -> Column:
    """The column as the model was fitted on it: text if it is encoded as text, other booleans as 0 and 1."""
    if encoding is not None and (encoding.categories or encoding.is_text) and column.cells is not None:
        return known_categories(column, frozenset(encoding.categories))
    if column.unclear is not None and encoding is None:
        raise DataRefused(
            f"column {column.name!r} {column.unclear}; write all its numbers with a decimal point, and nothing else",
            field=column.name,
        )
    # An estimator without an encoder for the column was fitted on numbers, and True is 1 to scikit-learn.
    if column.boolean:
        flags = [np.nan if value is None else float(value == "true") for value in column.values]
        return msgspec.structs.replace(numeric(column.name, np.array(flags), column.cells), boolean=True)
    return column


def features_of_model(columns: Sequence[Column], encoded: Mapping[str, Encoding]) -> tuple[Feature, ...]:
    """The features of the contract, with the categories of the model's encoders; open as the encoders are.

    Numbers that an encoder takes as categories become the feature's `choices` if it accepts no others.
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


class AnswerableRows(msgspec.Struct, frozen=True):
    """The contract, `nullable` only where the model answers without a value, and the positions of rows that fit it."""

    contract: FeatureContract
    positions: np.ndarray
    findings: tuple[Finding, ...] = ()


def answerable_rows(model: ExternalModel, contract: FeatureContract, rows: np.ndarray) -> AnswerableRows:
    """The rows with known categories, and without gaps in columns where the model needs a value.

    Which columns those are is found by asking the model. Raises `DataRefused` if no row is left.
    """
    unknown, findings = _unknown_categories(contract, rows)
    known = np.flatnonzero(~unknown)
    _require_some(known, findings)
    missing = missing_in(rows[known])
    # Without gaps: with a second one in it, it would be unclear which of them the model fails on.
    probe = complete_row(contract, rows[known])
    features = list(contract.features)
    for column in np.flatnonzero(missing.any(axis=0)).tolist():
        # One column at a time: a model may accept a gap here and fail on one there.
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
    """True for rows with a category (or a number encoded as one) on which the model fails, and the findings."""
    rejected = np.zeros(len(rows), dtype=bool)
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
            rejected |= np.array(unknown)
    return rejected, findings


def _gap(feature: Feature, count: int) -> Finding:
    message = f"the model does not answer without a value of {feature.name!r}, missing in {counted(count)}"
    return Finding("missing values", "dropped", message, "those rows are left out", feature.name)


def _require_some(positions: np.ndarray, findings: Sequence[Finding]) -> None:
    if not len(positions):
        raise DataRefused(
            "no row of the reference is left that the model can answer: "
            + "; ".join(finding.sentence for finding in findings)
        )
