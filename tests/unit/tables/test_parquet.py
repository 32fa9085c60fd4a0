"""Parquet files as tables; the right values are those that pandas has put in."""

from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.tables.reading import read_table
from app.tables.table import TableRefused


def stored(columns: dict[str, pa.Array]) -> bytes:
    content = io.BytesIO()
    pq.write_table(pa.table(columns), content)
    return content.getvalue()


@pytest.mark.parametrize(
    ("values", "kind", "cell_type", "cells"),
    [
        ([1, None, 9007199254740993], pa.int64(), "number", ("1", None, "9007199254740993")),
        ([0.1, float("nan"), None], pa.float64(), "number", ("0.1", None, None)),
        ([Decimal("1.20"), None], pa.decimal128(5, 2), "number", ("1.20", None)),
        ([True, None, False], pa.bool_(), "boolean", ("true", None, "false")),
        (["NA", "", " x", None], pa.string(), "text", ("NA", "", " x", None)),
        (["a", None, "a"], pa.dictionary(pa.int8(), pa.string()), "text", ("a", None, "a")),
        ([3, None], pa.dictionary(pa.int8(), pa.int64()), "number", ("3", None)),
        ([dt.date(2024, 1, 31), None], pa.date32(), "text", ("2024-01-31", None)),
        ([dt.datetime(2024, 1, 31, 10, 5)], pa.timestamp("us"), "text", ("2024-01-31T10:05:00",)),
        ([dt.datetime(2024, 1, 31, 10)], pa.timestamp("ns", "UTC"), "text", ("2024-01-31T10:00:00+00:00",)),
        ([dt.datetime(2024, 1, 31), None], pa.timestamp("ns"), "text", ("2024-01-31", None)),
        (
            [dt.datetime(2024, 1, 31), dt.datetime(2024, 2, 1, 8)],
            pa.timestamp("us"),
            "text",
            ("2024-01-31T00:00:00", "2024-02-01T08:00:00"),
        ),
        ([dt.datetime(2024, 1, 31)], pa.timestamp("us", "UTC"), "text", ("2024-01-31T00:00:00+00:00",)),
        ([dt.time(10, 5)], pa.time64("us"), "text", ("10:05:00",)),
        ([None, None], pa.null(), "number", (None, None)),
    ],
)
def test_typed_values_become_cells(values, kind, cell_type, cells):
    (column,) = read_table(stored({"c": pa.array(values, kind)})).columns
    assert (column.name, column.type, column.cells) == ("c", cell_type, cells)


@pytest.mark.parametrize(
    ("values", "kind"),
    [([[1, 2]], pa.list_(pa.int64())), ([{"x": 1}], pa.struct([("x", pa.int64())])), ([b"\x00"], pa.binary())],
)
def test_a_column_that_holds_no_plain_values_is_refused_by_name(values, kind):
    with pytest.raises(TableRefused, match=r"column 'c' holds .* write the file without it") as refusal:
        read_table(stored({"c": pa.array(values, kind), "d": pa.array([1])}))
    assert refusal.value.column == "c"


def test_the_index_that_pandas_writes_is_no_column():
    content = io.BytesIO()
    pd.DataFrame({"x": [1, 2, 3]}).query("x > 1").to_parquet(content)
    assert read_table(content.getvalue()).names == ("x",)


def test_the_content_decides_and_not_the_name(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(stored({"c": pa.array([1])}))
    table = read_table(path)
    assert (table.columns[0].type, table.lines, table.separator) == ("number", (1,), None)


def test_a_file_without_rows_is_refused():
    with pytest.raises(TableRefused, match="no rows"):
        read_table(stored({"c": pa.array([], pa.int64())}))
