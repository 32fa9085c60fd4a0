"""What the cells of a table mean: numbers, categories that a model knows, or nothing."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Protocol

import msgspec

from app.tables.numbers import Writing, decimal_of, file_decimal_of, number_of, unclear, writing_of
from app.tables.table import Cells, Table, TableColumn

# What pandas reads as missing, and the `?` of the UCI data sets. All of it may also be a value: `NA` is Namibia, and
# `None` a degree of pain.
MISSING = frozenset(
    (
        *("#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA"),
        *("NULL", "NaN", "None", "n/a", "nan", "null", "?"),
    )
)
_IN_ANY_CASE = frozenset(text.lower() for text in MISSING) | {""}
_BOOLEANS = {"false": 0.0, "true": 1.0}

_DIGIT = re.compile("[0-9]")
_DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DAY_AND_TIME = re.compile(_DAY.pattern + "[T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?")

# The value of a cell that should be a number: its text, if it is none.
NumberCell = float | str | None


def stands_for_nothing(cell: str | None) -> bool:
    """Whether a cell is empty, or has a text that means a missing value where no value has that text."""
    return cell is None or cell.strip().lower() in _IN_ANY_CASE


def is_ambiguous(cell: str | None) -> bool:
    """Whether a cell may mean a missing value or be a text like any other."""
    return cell is not None and cell.strip() in MISSING


def category_of(cell: str | None, known: Collection[str], *, needed: bool = False) -> str | None:
    """The category, by a model that knows the categories `known`: the cell as it is written, if it is one of them.

    Otherwise without the spaces around it, or as another spelling of a boolean, if that is known. Otherwise missing if
    it stands for nothing, unless a value is `needed`.
    """
    if cell is None or cell in known:
        return cell
    text = cell.strip()
    if text in known:
        return text
    if text.lower() in _BOOLEANS:
        return next((spelled for spelled in (text.lower(), text.capitalize()) if spelled in known), cell)
    return None if stands_for_nothing(cell) and not (needed and text) else cell


def dated(cell: str | None, form: str) -> str | None:
    """The cell with midnight behind it, if it is a date alone where the model knows days with a time, as in `form`."""
    if cell is None or not _DAY.fullmatch(cell) or not _DAY_AND_TIME.fullmatch(form):
        return cell
    return cell + _DIGIT.sub("0", form[len(cell) :])


class FeatureOfModel(Protocol):
    """What a model takes in a column: numbers (`numeric`), or texts (`categorical`), of which it knows `categories`;
    with `dates_like` those are dates of that form.
    """

    @property
    def kind(self) -> str: ...

    @property
    def categories(self) -> tuple[str, ...]: ...

    @property
    def nullable(self) -> bool: ...

    @property
    def dates_like(self) -> str | None: ...


class Numbers(msgspec.Struct, frozen=True):
    """A column of a table as numbers; `unclear` says why they cannot be read, where that holds of the whole column."""

    values: tuple[NumberCell, ...]
    unclear: str | None = None


class TableReading:
    """The columns of a table as numbers or categories. `missing` are texts that mean a missing value in any column."""

    def __init__(self, table: Table, missing: Collection[str] = ()) -> None:
        self.table = table
        self._missing = frozenset(text.strip() for text in missing)

    def cells(self, column: TableColumn) -> Cells:
        """The cells as they are written, None for those that are null or were said to be missing."""
        if not self._missing:
            return column.cells
        return tuple(None if cell is None or cell.strip() in self._missing else cell for cell in column.cells)

    def writing(self, column: TableColumn) -> Writing:
        """How the numbers of the column are written."""
        return self._writings[column.name]

    def decimal(self, column: TableColumn) -> str | None:
        """The decimal mark of the column, None if it is unclear. The other columns of the file may tell."""
        if column.type == "number":
            return "."
        return decimal_of(self.writing(column), self._file_decimal, self.table.separator)

    def numbers(self, column: TableColumn) -> Numbers:
        """The column as numbers: missing cells are None, booleans 0 and 1, what is no number stays text."""
        decimal = self.decimal(column)
        values = tuple(_number(cell, decimal or ".") for cell in self.cells(column))
        return Numbers(values, None if decimal else unclear(self.writing(column)))

    def values(self, column: TableColumn, feature: FeatureOfModel) -> Numbers | Cells:
        """The column as the feature takes it: numbers, or texts as `category_of` has them."""
        if feature.kind == "numeric":
            return self.numbers(column)
        known = frozenset(feature.categories)
        cells = tuple(category_of(cell, known, needed=not feature.nullable) for cell in self.cells(column))
        return cells if feature.dates_like is None else tuple(dated(cell, feature.dates_like) for cell in cells)

    @cached_property
    def _writings(self) -> Mapping[str, Writing]:
        return {
            column.name: writing_of(
                cell for cell in self.cells(column) if cell is not None and not stands_for_nothing(cell)
            )
            for column in self.table.columns
        }

    @cached_property
    def _file_decimal(self) -> str | None:
        return file_decimal_of([self.writing(column) for column in self.table.columns if column.type == "open"])


def _number(cell: str | None, decimal: str) -> NumberCell:
    if cell is None or stands_for_nothing(cell):
        return None
    number = number_of(cell, decimal)
    if number is not None:
        return number
    return _BOOLEANS.get(cell.strip().lower(), cell)
