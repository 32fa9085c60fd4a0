"""A table as a file has it: the text of each cell, and the line on which each row begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

# Of a column of a CSV file the type is open; a Parquet file tells it.
CellType = Literal["open", "text", "number", "boolean"]
Cells = tuple[str | None, ...]


class TableRefused(Exception):
    """The file cannot be read as a table. The message names the file, the line or column, and what to do."""

    def __init__(self, message: str, column: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.column = column


class TableColumn(msgspec.Struct, frozen=True):
    """One column: its cells exactly as they are written, spaces included; None where a typed file has a null.

    Of a typed file the cells are the values as text: numbers as short as they round-trip, `true` and `false`, dates
    and times in ISO 8601.
    """

    name: str
    cells: Cells
    type: CellType = "open"


class RaggedRow(msgspec.Struct, frozen=True):
    """A row with more or fewer fields than the header."""

    line: int
    fields: int


class Table(msgspec.Struct, frozen=True):
    """The columns in the order of the file, all of the same length.

    `lines` are the lines on which the rows begin, the first of the file being 1; of a Parquet file they number the
    rows. `separator` is None for a Parquet file. `ragged` are the rows of another width, which are in no column.
    """

    columns: tuple[TableColumn, ...]
    lines: tuple[int, ...]
    separator: str | None = None
    ragged: tuple[RaggedRow, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, each once."""
        return tuple(column.name for column in self.columns)

    def place(self, at: int) -> str:
        """Where the row at that position is in the file: `line 3`, or `row 2` of a Parquet file."""
        return f"{'row' if self.separator is None else 'line'} {self.lines[at]}"

    def rows(self) -> Iterator[Cells]:
        """The cells of each row, in the order of the file."""
        return zip(*(column.cells for column in self.columns), strict=True)


def column_names(header: Sequence[str], origin: str) -> list[str]:
    """The names without spaces around them. Raises `TableRefused` if one occurs twice."""
    # Exported indexes have no name: such a column gets one by which it can be left out.
    names = [cell.strip() or f"column_{number}" for number, cell in enumerate(header, start=1)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise TableRefused(f"{origin} has more than one column {twice[0]!r}: rename one", twice[0])
    return names
