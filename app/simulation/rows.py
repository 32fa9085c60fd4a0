"""The rows of a data set, in request form, with their true labels."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from app.domain.classes import ClassNames, class_names
from app.domain.contract import Feature, FeatureContract
from app.domain.rows import RowParser, short
from app.errors import DataRefused, InvalidFeatures
from app.tables.meaning import Numbers, TableReading
from app.tables.model_columns import places_in_file
from app.tables.table import TableColumn, TableRefused

BUILT_IN = ("iris", "wine", "digits", "breast_cancer")

_MOST_CLASSES = 10
# Of a SHA-256: 64 bits, with which two of a user's files do not meet.
ORIGIN_DIGITS = 16

Label = str | float


class LabelledRows(msgspec.Struct, frozen=True):
    """`values` of shape (n, features) in `RowParser`'s form and contract order, and n `labels`.

    A label is a class name, or a number for a regression. `skipped` counts the rows that do not fit the contract or
    have no label; `first_skipped` says why the first of them does not fit, with line and column.

    `absent`, of the shape of `values`, is True where a row goes without a column that only other versions read; None
    if that is nowhere. There the value is missing, and `first_absent` says why the first of them is.

    `origin` names the data that rows were read from by their content, and `numbers` has each row's number there;
    empty where rows are none of a file.
    """

    contract: FeatureContract
    values: np.ndarray
    labels: tuple[Label, ...]
    skipped: int = 0
    first_skipped: str | None = None
    absent: np.ndarray | None = None
    first_absent: str | None = None
    origin: str = ""
    numbers: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def key(self, place: int) -> str | None:
        """A name of the row's case, the same whenever it is read from these data again; None if it is of no file.

        Sent as the caller's own key, a row that is sent again is a retry: the same unit of the experiment, and no new
        case for drift. A row of a file that was changed since, or that is found by the split of another version, has
        another name: a row is then taken for a new case, but never a new case for a row that was sent.
        """
        return f"{self.origin}-{self.numbers[place]}" if self.origin else None

    def without(self, place: int) -> frozenset[int]:
        """The columns that the row goes without."""
        return frozenset() if self.absent is None else frozenset(np.flatnonzero(self.absent[place]).tolist())

    def column(self, at: int) -> np.ndarray:
        """The values of a column in the rows that have it, missing ones too."""
        return self.values[:, at] if self.absent is None else self.values[~self.absent[:, at], at]


def built_in(contract: FeatureContract, name: str, optional: Sequence[Feature] = ()) -> LabelledRows:
    """All rows of the built-in set `name`, one of `BUILT_IN`, with those of the `optional` columns that it has.

    Raises `DataRefused` if they do not fit the model.
    """
    # Imported here because it is slow, and only built-in sets need it.
    bunch = getattr(importlib.import_module("sklearn.datasets"), f"load_{name}")()
    offered = [str(column) for column in bunch.feature_names]
    contract = with_columns(contract, optional, offered)
    places = places_in_file(contract.features, offered)
    lacking = next((each for each, place in zip(contract.names, places, strict=True) if place is None), None)
    if lacking is not None:
        raise DataRefused(f"{name} has no column for the model's feature {lacking!r}", field=lacking)
    classes = [str(label) for label in bunch.target_names]
    return LabelledRows(
        contract=contract,
        values=np.asarray(bunch.data[:, list(places)], dtype=np.float64),
        labels=tuple(classes[class_id] for class_id in bunch.target),
    )


def with_columns(contract: FeatureContract, optional: Sequence[Feature], offered: Sequence[str]) -> FeatureContract:
    """The contract with those of the `optional` columns, which only other versions read, that are offered too."""
    features = (*contract.features, *optional)
    found = zip(features, places_in_file(features, offered), strict=True)
    kept = [feature for number, (feature, at) in enumerate(found) if at is not None or number < len(contract.features)]
    return msgspec.structs.replace(contract, features=tuple(kept))


def read_csv(
    contract: FeatureContract,
    target: str,
    path: Path,
    missing: Sequence[str] = (),
    optional: Sequence[Feature] = (),
) -> LabelledRows:
    """The rows of a CSV or Parquet file that fit the model, in their order, with the `optional` columns that it has.

    A row goes without an optional column whose value does not fit: it is a case of the model all the same. Cells that
    are one of the texts `missing` are missing values. Raises `DataRefused` if the file cannot be read, lacks a column,
    or none of its rows fits.
    """
    reading = reading_of(path, missing)
    target_column, features = _apart(reading.table.columns, target, path)
    required = len(contract.features)
    contract = with_columns(contract, optional, [column.name for column in features])
    cells = feature_cells(contract, reading, features, str(path))
    parser = _Rows(contract, required)
    rows: list[_Row] = []
    kept, numbers, refused = [], [], None
    labels = _labels(contract, reading, target_column)
    for at, (label, values) in enumerate(zip(labels, zip(*cells, strict=True), strict=True)):
        row = parser.row(list(values))
        if label is None or isinstance(row, str):
            what = _no_label(contract, target_column, at) if label is None else row
            refused = refused or f"{reading.table.place(at)}: {what}"
            continue
        rows.append(row)
        kept.append(label)
        numbers.append(at + 1)
    if not rows:
        raise DataRefused(f"no row of {path} fits the model's features and classes; the first, {refused}")
    absent = _first_gap(reading, rows, numbers)
    return LabelledRows(
        contract=contract,
        values=np.concatenate([row.values for row in rows]),
        labels=tuple(kept),
        skipped=len(labels) - len(rows),
        first_skipped=refused,
        absent=None if absent is None else np.array([row.absent for row in rows]),
        first_absent=absent,
        origin=hashlib.sha256(path.read_bytes()).hexdigest()[:ORIGIN_DIGITS],
        numbers=tuple(numbers),
    )


def _apart(columns: Sequence[TableColumn], target: str, path: Path) -> tuple[TableColumn, list[TableColumn]]:
    """The column of the labels, and all others."""
    labels = next((column for column in columns if column.name == target.strip()), None)
    if labels is None:
        raise DataRefused(f"{path} has no column {target!r}, the model's target: give the model's data with --data")
    return labels, [column for column in columns if column is not labels]


def feature_cells(
    contract: FeatureContract, reading: TableReading, columns: Sequence[TableColumn], origin: str
) -> list[tuple[float | str | None, ...]]:
    """The values of each feature's column, in the order of the contract: what is no number in a numeric one stays text.

    Raises `DataRefused` if a feature has no column of its own, or the form of its numbers is unclear.
    """
    places = places_in_file(contract.features, [column.name for column in columns])
    return [
        _cells(feature, reading, None if place is None else columns[place], origin)
        for feature, place in zip(contract.features, places, strict=True)
    ]


def _cells(
    feature: Feature, reading: TableReading, column: TableColumn | None, origin: str
) -> tuple[float | str | None, ...]:
    if column is None:
        raise DataRefused(f"{origin} has no column for the model's feature {feature.name!r}", field=feature.name)
    values = reading.values(column, feature)
    if not isinstance(values, Numbers):
        return values
    if values.unclear is not None:
        raise DataRefused(
            f"{origin}: column {column.name!r} {values.unclear}; write all with a decimal point and nothing else",
            field=feature.name,
        )
    return values.values


def reading_of(path: Path, missing: Sequence[str] = ()) -> TableReading:
    """The table in the file, to be read as a model takes it. Raises `DataRefused` if it cannot be read."""
    # Deferred: it loads pyarrow, which only files need.
    from app.tables.reading import read_table

    try:
        return TableReading(read_table(path), missing)
    except TableRefused as refusal:
        advice = "" if path.exists() else ": give the model's data with --data"
        raise DataRefused(refusal.message + advice, field=refusal.column) from refusal


class _Row(msgspec.Struct, frozen=True):
    """`values` of shape (1, features); the columns that are `absent` from it, and why the first of them is."""

    values: np.ndarray
    absent: tuple[bool, ...]
    reason: str | None = None


def _first_gap(reading: TableReading, rows: Sequence[_Row], numbers: Sequence[int]) -> str | None:
    """Why the first row that goes without a column does, and where it is."""
    gaps = (each for each in zip(rows, numbers, strict=True) if each[0].reason is not None)
    row, number = next(gaps, (None, 0))
    return None if row is None else f"{reading.table.place(number - 1)}: {row.reason}"


class _Rows:
    """Reads rows under a contract of which the first `required` features belong in each row."""

    def __init__(self, contract: FeatureContract, required: int) -> None:
        own, optional = contract.features[:required], contract.features[required:]
        gaps = tuple(msgspec.structs.replace(feature, nullable=True) for feature in optional)
        self._parser = RowParser(contract)
        self._with_gaps = RowParser(msgspec.structs.replace(contract, features=(*own, *gaps)))
        self._optional = [RowParser(msgspec.structs.replace(contract, features=(each,))) for each in optional]
        self._whole = (False,) * len(contract.features)

    def row(self, values: list[float | str | None]) -> _Row | str:
        """The row, without optional columns whose values do not fit; or why the contract rejects it."""
        try:
            return _Row(self._parser.row(values), self._whole)
        except InvalidFeatures as error:
            absent = (*self._whole[len(self._optional) :], *self._misfits(values))
            reason = error.message
        kept = [None if gone else value for value, gone in zip(values, absent, strict=True)]
        try:
            return _Row(self._with_gaps.row(kept), absent, reason)
        except InvalidFeatures as error:
            return error.message

    def _misfits(self, values: list[float | str | None]) -> list[bool]:
        """Whether each optional column rejects the row's value."""
        found = []
        for parser, value in zip(self._optional, values[len(values) - len(self._optional) :], strict=True):
            try:
                parser.row([value])
            except InvalidFeatures:
                found.append(True)
            else:
                found.append(False)
        return found


def _no_label(contract: FeatureContract, column: TableColumn, at: int) -> str:
    cell = column.cells[at]
    if cell is None or not cell.strip():
        return f"the target {column.name!r} is empty"
    if contract.task == "regression":
        return f"the target {column.name!r} is {short(cell)}, which is no number"
    more = ", …" if len(contract.classes) > _MOST_CLASSES else ""
    known = ", ".join(map(repr, contract.classes[:_MOST_CLASSES])) + more
    return f"the target {column.name!r} is {short(cell)}, which is no class of the model; those are {known}"


def _labels(contract: FeatureContract, reading: TableReading, column: TableColumn) -> list[Label | None]:
    """The class name or number that each cell stands for; None if it is neither."""
    if contract.task == "regression":
        numbers = reading.numbers(column).values
        return [each if isinstance(each, float) and np.isfinite(each) else None for each in numbers]
    names = class_names(contract.classes)
    return [_class_of(names, contract.classes, cell) for cell in reading.cells(column)]


def _class_of(names: ClassNames, classes: Sequence[str], cell: str | None) -> str | None:
    if cell is None:
        return None
    found = names.of_text(cell)
    if found is None:
        found = names.of_text(cell.strip())
    return None if found is None else classes[found]
