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


def test_a_decimal_comma_is_read_where_it_is_allowed():
    assert typed("c", ["1,5", "2", None], decimal_comma=True).values[:2].tolist() == [1.5, 2.0]
    assert typed("c", ["1,5", "2"]).kind == "categorical"
    assert typed("c", ["a,5", "2,5"], decimal_comma=True).values.tolist() == ["a,5", "2,5"]


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


@given(st.lists(st.one_of(st.none(), st.text()), min_size=1), st.booleans())
def test_any_cells_make_a_column_of_their_length(cells, decimal_comma):
    column = typed("c", cells, decimal_comma=decimal_comma)
    assert len(column.values) == len(column.missing) == len(cells)
