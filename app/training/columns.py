"""A column of data, and its type as the text of its cells implies it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from app.domain.rows import LARGEST_FLOAT32
from app.tables.meaning import TableReading, category_of, stands_for_nothing
from app.tables.model_columns import FeatureKind
from app.tables.numbers import Writing, decimal_of, number_of, unclear, writing_of
from app.tables.table import TableColumn

_BOOLEANS = frozenset(("true", "false"))

Cells = Sequence[str | None]


class Column(msgspec.Struct, frozen=True):
    """One column, `values` of shape (rows,).

    Numeric: float64, a missing value is NaN, infinities as they were read. Categorical: objects, text or None;
    `boolean` if that text is "false" and "true" only. `cells` are the texts exactly as they are written (None: null,
    or said to be missing) if the data came as text, else None. `stray` is a cell that is no number in a column where
    at least 90 % are, else None. `unclear` says why the numbers of a categorical column cannot be read, and
    `written` is a cell of a numeric one that a program would have written otherwise (`1.234,56`, `7 %`); else None.
    `is_typed`: the file told the type, so that every text in it is a value.
    """

    name: str
    kind: FeatureKind
    values: np.ndarray
    cells: tuple[str | None, ...] | None = None
    boolean: bool = False
    stray: str | None = None
    unclear: str | None = None
    written: str | None = None
    is_typed: bool = False

    @property
    def missing(self) -> np.ndarray:
        """True where there is no value, shape (rows,)."""
        if self.kind == "numeric":
            return np.asarray(np.isnan(self.values))
        return np.fromiter((value is None for value in self.values), dtype=bool, count=len(self.values))

    @property
    def infinite(self) -> np.ndarray:
        """True where a number is infinite or overflows float32, shape (rows,)."""
        if self.kind != "numeric":
            return np.zeros(len(self.values), dtype=bool)
        return np.asarray(np.abs(self.values) > LARGEST_FLOAT32)

    @property
    def distinct(self) -> tuple[float | str, ...]:
        """The values that occur, each once, sorted, without the missing ones."""
        return tuple(sorted(set(self.values[~self.missing].tolist())))

    def take(self, positions: np.ndarray) -> Column:
        """The same column with the rows at `positions`, in that order."""
        cells = None if self.cells is None else tuple(self.cells[position] for position in positions)
        return msgspec.structs.replace(self, values=self.values[positions], cells=cells)

    def without_infinities(self) -> Column:
        """The same column with NaN for numbers beyond float32, which no request may carry."""
        if self.kind != "numeric":
            return self
        return msgspec.structs.replace(self, values=np.where(self.infinite, np.nan, self.values))


def numeric(name: str, values: np.ndarray, cells: Cells | None = None, written: str | None = None) -> Column:
    """A numeric column of `values`, shape (rows,); `cells` are the texts that they were read from."""
    texts = None if cells is None else tuple(cells)
    values = np.asarray(values, dtype=np.float64)
    return Column(name=name, kind="numeric", values=values, cells=texts, written=written)


def categorical(
    name: str,
    cells: Cells,
    *,
    values: Cells | None = None,
    boolean: bool = False,
    stray: str | None = None,
    unclear: str | None = None,
) -> Column:
    """A categorical column of `values` (default: `cells`), None for a missing one.

    `boolean` texts become "false" and "true".
    """
    texts = cells if values is None else values
    if boolean:
        texts = [None if text is None else text.strip().lower() for text in texts]
    array = np.empty(len(cells), dtype=object)
    array[:] = texts
    return Column(
        name=name, kind="categorical", values=array, cells=tuple(cells), boolean=boolean, stray=stray, unclear=unclear
    )


def known_categories(column: Column, known: frozenset[str], *, needed: bool = False) -> Column:
    """The column as categories of a model that knows `known`: see `category_of`."""
    cells = column.cells
    if cells is None:
        values = zip(column.values.tolist(), column.missing.tolist(), strict=True)
        cells = tuple(None if is_missing else str(value) for value, is_missing in values)
    return categorical(column.name, cells, values=[category_of(cell, known, needed=needed) for cell in cells])


def columns_of(reading: TableReading) -> tuple[Column, ...]:
    """The columns of a table, in its order; of open ones the type is what their cells imply, see `typed`."""
    return tuple(_column(reading, column) for column in reading.table.columns)


def typed(name: str, cells: Cells, *, file_decimal: str | None = None, separator: str | None = ",") -> Column:
    """The column that these texts are: numeric if all present ones are numbers, else categorical.

    Numbers written with leading zeros (`007`) are codes, hence categories. A column without any value is numeric.
    Texts such as `NA` and `None` are missing among numbers and booleans; in a column of text they are values, like
    everything else that is not blank.
    """
    writing = writing_of(_present(cells))
    return _typed(name, cells, writing, decimal_of(writing, file_decimal, separator))


def _column(reading: TableReading, column: TableColumn) -> Column:
    cells = reading.cells(column)
    if column.type == "text":
        return msgspec.structs.replace(categorical(column.name, cells), is_typed=True)
    if column.type == "number":
        return numeric(column.name, np.array([np.nan if cell is None else float(cell) for cell in cells]), cells)
    return _typed(column.name, cells, reading.writing(column), reading.decimal(column))


def _typed(name: str, cells: Cells, writing: Writing, decimal: str | None) -> Column:
    present = _present(cells)
    if not present:
        return numeric(name, np.full(len(cells), np.nan), cells)
    if {cell.strip().lower() for cell in present} <= _BOOLEANS:
        values = [None if stands_for_nothing(cell) else cell for cell in cells]
        return categorical(name, cells, values=values, boolean=True)
    if writing.all_numbers and decimal is not None:
        numbers = [np.nan if cell is None or stands_for_nothing(cell) else number_of(cell, decimal) for cell in cells]
        return numeric(name, np.array(numbers, dtype=np.float64), cells, _written_by_people(writing, decimal))
    return _text(name, cells, writing, decimal)


def _text(name: str, cells: Cells, writing: Writing, decimal: str | None) -> Column:
    """A column of text, which says why it is none of numbers where nearly all of its cells are numbers."""
    values = [None if cell is None or not cell.strip() else cell for cell in cells]
    if not writing.mostly_numbers:
        return categorical(name, cells, values=values)
    return categorical(name, cells, values=values, stray=writing.stray, unclear=None if decimal else unclear(writing))


def _present(cells: Cells) -> list[str]:
    return [cell for cell in cells if cell is not None and not stands_for_nothing(cell)]


def _written_by_people(writing: Writing, decimal: str) -> str | None:
    """A cell with thousands separators, or a sign of currency or percent; None if there is none."""
    return writing.example if writing.unit or writing.marks - {decimal} else None
