"""A Parquet file as a table of text cells."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from app.tables.table import Cells, CellType, Table, TableColumn, TableRefused, column_names

# pandas writes the index of a frame as such a column, and takes it for the index again.
_INDEX = re.compile(r"__index_level_\d+__")


_READINGS: tuple[tuple[tuple[Callable[[pa.DataType], bool], ...], CellType, Callable[[Any], str]], ...] = (
    ((pa.types.is_boolean,), "boolean", lambda value: "true" if value else "false"),
    ((pa.types.is_null, pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal), "number", str),
    ((pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view), "text", str),
    ((pa.types.is_date, pa.types.is_timestamp, pa.types.is_time), "text", lambda value: str(value.isoformat())),
)


def read_parquet(source: pa.NativeFile, origin: str) -> Table:
    """The table in a Parquet file; `origin` names it in refusals, of which a column that holds no plain values is one.

    A null, and NaN among numbers, is a missing cell; every text is a value, the empty one, too. A column of times that
    are all midnight, without a zone, is one of dates, as a CSV file has them.
    """
    try:
        table = pq.read_table(source)
    except (pa.ArrowException, OSError) as error:
        raise TableRefused(f"{origin} cannot be read as Parquet: {error}") from error
    fields = [(field.name, column) for field, column in zip(table.schema, table.columns, strict=True)]
    fields = [(name, column) for name, column in fields if not _INDEX.fullmatch(name)]
    if not fields:
        raise TableRefused(f"{origin} has no columns")
    if not table.num_rows:
        raise TableRefused(f"{origin} has columns but no rows: add rows")
    names = column_names([name for name, _ in fields], origin)
    columns = tuple(_column(name, column, origin) for name, (_, column) in zip(names, fields, strict=True))
    return Table(columns, tuple(range(1, table.num_rows + 1)))


def _column(name: str, column: pa.ChunkedArray, origin: str) -> TableColumn:
    kind = _decoded(column.type)
    cell_type, text = _reading(kind)
    if text is None:
        raise TableRefused(
            f"{origin}: column {name!r} holds {kind}, which is not one value a cell: write the file without it, or "
            "with a column for each value",
            name,
        )
    values = [None if value is None or value != value else value for value in column.to_pylist()]
    if pa.types.is_timestamp(kind) and all(value is None or _is_day(value) for value in values):
        text = _day
    cells: Cells = tuple(None if value is None else text(value) for value in values)
    return TableColumn(name, cells, cell_type)


def _decoded(kind: pa.DataType) -> pa.DataType:
    """The type of the values, whatever encoding saves repeating them."""
    while pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        kind = kind.value_type
    return kind


def _is_day(value: dt.datetime) -> bool:
    """Whether it is a midnight without a zone: pandas has no other type for dates."""
    return value.tzinfo is None and value.time() == dt.time() and not getattr(value, "nanosecond", 0)


def _day(value: dt.datetime) -> str:
    return value.date().isoformat()


def _reading(kind: pa.DataType) -> tuple[CellType, Callable[[Any], str] | None]:
    """The type of the cells, and the text of a value; None for a type that has no text."""
    for tests, cell_type, text in _READINGS:
        if any(is_such(kind) for is_such in tests):
            return cell_type, text
    return "text", None
