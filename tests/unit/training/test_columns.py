import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.training.columns import numeric, typed


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "-2.5", "1e3", ".5", "+4."], "numeric"),
        (["1", None], "numeric"),
        (["inf", "-Infinity", "1"], "numeric"),
        ([None, None], "numeric"),
        (["1", "two"], "categorical"),
        (["007", "123"], "categorical"),
        (["1_000", "2"], "categorical"),
        (["0x10", "2"], "categorical"),
        (["0", "0.5"], "numeric"),
    ],
)
def test_the_kind_is_inferred_from_the_cells(cells, kind):
    assert typed("c", cells).kind == kind


def test_booleans_become_the_categories_false_and_true():
    column = typed("c", ["True", "FALSE", None, "true"])
    assert column.boolean
    assert column.values.tolist() == ["true", "false", None, "true"]


@pytest.mark.parametrize(
    ("cells", "file_decimal", "separator", "values"),
    [
        (["1,5", "2", None], None, ",", [1.5, 2.0, np.nan]),
        (["1.234,56", "7"], None, ";", [1234.56, 7.0]),
        (["1,234.56", "12,000"], None, ",", [1234.56, 12000.0]),
        (["1 234,5", "1\u00a0234\u202f567"], None, "\t", [1234.5, 1234567.0]),
        (["1'234.5", "1\u2019234"], None, ",", [1234.5, 1234.0]),
        (["12,34,567", "1"], None, ",", [1234567.0, 1.0]),
        (["€ 1.200,50", "3 €"], None, ";", [1200.5, 3.0]),
        (["$1,200.50", "-$3", "$-4", "($5.00)"], None, ",", [1200.5, -3.0, -4.0, -5.0]),
        (["5 EUR", "3,20 EUR"], None, ";", [5.0, 3.2]),
        (["7 %", "12.5%"], None, ",", [7.0, 12.5]),
        (["\u22125,5", " 2 "], None, ";", [-5.5, 2.0]),
        # One form alone does not tell, and other columns or the separator do.
        (["1.234", "2.345"], ",", ";", [1234.0, 2345.0]),
        (["1.234", "2.345"], ".", ";", [1.234, 2.345]),
        (["1.234", "2.345"], None, ",", [1.234, 2.345]),
        (["1.234", "2.345"], None, "\t", [1.234, 2.345]),
        (["1,234", "2,345"], None, ",", [1234.0, 2345.0]),
        (["1,234", "2,345"], None, ";", [1.234, 2.345]),
        (["1,234", "2,345"], ".", "\t", [1234.0, 2345.0]),
        (["0.234", "2.345"], ",", ";", [0.234, 2.345]),
    ],
)
def test_numbers_are_read_as_people_write_them(cells, file_decimal, separator, values):
    column = typed("c", cells, file_decimal=file_decimal, separator=separator)
    assert column.kind == "numeric"
    np.testing.assert_array_equal(column.values, values)


@pytest.mark.parametrize(
    ("cells", "separator", "reason"),
    [
        (["1,5", "2.5"], ";", "several forms, such as '1,5' and '2.5'"),
        (["$5", "7"], ",", "several forms, such as '$5' and '7'"),
        (["$5", "€7"], ",", "several forms, such as '$5' and '€7'"),
        (["7 %", "0.5"], ",", "several forms, such as '7 %' and '0.5'"),
        (["1.234", "2.345"], ";", "two ways, such as '1.234'"),
        (["1,234", "2,345"], "\t", "two ways, such as '1,234'"),
    ],
)
def test_numbers_that_are_unclear_are_not_guessed(cells, separator, reason):
    column = typed("c", cells, separator=separator)
    assert column.kind == "categorical"
    assert reason in column.unclear


@pytest.mark.parametrize("cells", [["1.2.3", "1.2.4"], ["a,5", "2,5"], ["2024-01-31", "2024-02-01"], ["12-345", "7"]])
def test_what_only_resembles_numbers_stays_text(cells):
    column = typed("c", cells, separator=";")
    assert (column.values.tolist(), column.unclear) == (cells, None)


def test_ambiguous_texts_are_values_among_texts_and_missing_among_numbers_and_booleans():
    assert typed("c", ["NA", "DE", "None", "", " "]).values.tolist() == ["NA", "DE", "None", None, None]
    assert typed("c", ["1", "NA", "none", "?", "N/A"]).missing.tolist() == [False, True, True, True, True]
    assert typed("c", ["True", "?", "false"]).values.tolist() == ["true", None, "false"]


def test_texts_keep_the_spaces_around_them():
    assert typed("c", [" State-gov", "Private "]).values.tolist() == [" State-gov", "Private "]
    assert typed("c", [" 58", "26 "]).values.tolist() == [58.0, 26.0]


def test_a_stray_cell_among_numbers_is_named():
    assert typed("c", [*map(str, range(20)), "oops"]).stray == "oops"
    assert typed("c", ["1", "oops"]).stray is None


def test_what_overflows_float32_counts_as_infinite_and_can_be_made_missing():
    column = numeric("c", np.array([1.0, np.inf, -1e39, np.nan]))
    assert column.infinite.tolist() == [False, True, True, False]
    assert column.without_infinities().missing.tolist() == [False, True, True, True]


def test_distinct_values_leave_out_the_missing_ones():
    assert typed("c", ["b", None, "a", "b"]).distinct == ("a", "b")
    assert typed("c", ["2", None, "1"]).distinct == (1.0, 2.0)


def test_taking_rows_takes_values_and_cells():
    column = typed("c", ["5", "6", "7"]).take(np.array([2, 0]))
    assert column.values.tolist() == [7.0, 5.0]
    assert column.cells == ("7", "5")


@given(st.lists(st.floats(allow_nan=False), min_size=1))
def test_numbers_survive_being_written_as_text(numbers):
    assert typed("c", [repr(number) for number in numbers]).values.tolist() == numbers


@given(st.lists(st.one_of(st.none(), st.text()), min_size=1), st.sampled_from([",", ".", None]))
def test_any_cells_make_a_column_of_their_length(cells, file_decimal):
    column = typed("c", cells, file_decimal=file_decimal)
    assert len(column.values) == len(column.missing) == len(cells)
