"""What cells mean: to a model that knows its categories, and as numbers of one file."""

from __future__ import annotations

import io
import time

import pandas as pd
import pytest

from app.domain.contract import Feature
from app.tables.meaning import Numbers, TableReading, category_of
from app.tables.numbers import number_of
from app.tables.reading import read_table


@pytest.mark.parametrize(
    ("cell", "known", "needed", "category"),
    [
        ("NA", {"NA", "DE"}, False, "NA"),
        ("NA", {"DE"}, False, None),
        ("NA", {"DE"}, True, "NA"),
        ("None", {"None", "mild"}, False, "None"),
        ("?", {"x"}, False, None),
        ("N/A", {"x"}, False, None),
        (" State-gov", {" State-gov"}, False, " State-gov"),
        (" State-gov", {"State-gov"}, False, "State-gov"),
        ("State-gov", {" State-gov"}, False, "State-gov"),
        (" ?", {" ?"}, False, " ?"),
        ("", {""}, False, ""),
        (" ", {"x"}, True, None),
        ("TRUE", {"false", "true"}, False, "true"),
        ("true", {"False", "True"}, False, "True"),
        ("new", {"old"}, False, "new"),
        (None, {"x"}, True, None),
    ],
)
def test_a_cell_is_the_category_that_the_model_knows(cell, known, needed, category):
    assert category_of(cell, known, needed=needed) == category


def numbers(text: str, name: str, missing: tuple[str, ...] = ()) -> Numbers:
    reading = TableReading(read_table(text.encode()), missing)
    return reading.numbers(next(column for column in reading.table.columns if column.name == name))


@pytest.mark.parametrize("nothing", ["", " ", "?", "N/A", "n/a", "NA", "None", "null", "NULL", "nan", "#N/A", "<NA>"])
def test_among_numbers_all_spellings_of_nothing_are_missing(nothing):
    assert numbers(f"a,b\n1,x\n{nothing},x\n", "a").values == (1.0, None)


@pytest.mark.parametrize("spaced", ["1{}x", "({}", "1 000{}%{}x", "1{}"])
def test_a_cell_costs_no_more_than_its_length_however_it_is_written(spaced):
    started_s = time.thread_time()
    for length in range(370, 390):
        assert number_of(spaced.replace("{}", " " * length) + "x", ".") is None
    assert number_of(spaced.replace("{}", " " * 10**5) + "x", ".") is None
    assert time.thread_time() - started_s < 1


def test_booleans_are_numbers_to_a_model_of_numbers():
    assert numbers("a,b\nTrue,x\nfalse,x\nyes,x\n", "a").values == (1.0, 0.0, "yes")


def test_another_column_of_the_file_tells_the_decimal_mark():
    assert numbers("a;b\n1.234;1,5\n2.345;2,25\n", "a").values == (1234.0, 2345.0)
    assert numbers("a;b\n1.234;1.5\n2.345;2.25\n", "a").values == (1.234, 2.345)
    assert "two ways" in numbers("a;b\n1.234;x\n2.345;x\n", "a").unclear


def test_numbers_of_a_parquet_file_are_what_they_are():
    content = io.BytesIO()
    pd.DataFrame({"a": [1.234, 2.345], "b": ["1,5", "2,25"]}).to_parquet(content)
    reading = TableReading(read_table(content.getvalue()))
    assert [reading.numbers(column).values for column in reading.table.columns] == [(1.234, 2.345), (1.5, 2.25)]


def test_what_was_said_to_be_missing_is_missing():
    reading = TableReading(read_table(b"a,b\n-,x\n1,-\n"), ("-",))
    assert [reading.cells(column) for column in reading.table.columns] == [(None, "1"), ("x", None)]
    assert reading.numbers(reading.table.columns[0]).values == (None, 1.0)


@pytest.mark.parametrize(
    ("form", "cells"),
    [
        ("2022-06-18", ("2024-01-31", None)),
        ("2022-06-18T00:00:00", ("2024-01-31T00:00:00", None)),
        ("2022-06-18 09:30", ("2024-01-31 00:00", None)),
        ("2022-06-18T00:00:00+02:00", ("2024-01-31", None)),
    ],
)
@pytest.mark.parametrize("stored_as", ["csv", "parquet"])
def test_days_are_midnights_to_a_model_of_days_with_a_time(stored_as, form, cells):
    content = io.BytesIO()
    frame = pd.DataFrame({"when": pd.to_datetime(["2024-01-31", None]), "x": [1, 2]})
    frame.to_csv(content, index=False) if stored_as == "csv" else frame.to_parquet(content)
    reading = TableReading(read_table(content.getvalue()))
    dates = Feature(name="when", kind="categorical", open_categories=True, dates_like=form, nullable=True)
    assert reading.values(reading.table.columns[0], dates) == cells
