import numpy as np
import pytest

from app.training import column_checks
from app.training.checks import leak
from app.training.columns import categorical, numeric, typed

WORDS = ["a quiet red house number", "some long remark about it", "never seen that before now"]


def action(finding):
    return finding and finding.action


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "1"], "dropped"),
        (["x", "x"], "dropped"),
        (["x", None, "x"], None),
        (["x", " ", "x"], None),
        (["true", "", "true"], None),
        (["7", "", "7"], "dropped"),
        ([None, None], "dropped"),
        (["1", "2"], None),
    ],
)
def test_constant_columns_are_dropped(cells, expected):
    assert action(column_checks.constant(typed("c", cells))) == expected


def test_a_number_with_gaps_is_not_said_to_be_always_there():
    assert column_checks.constant(typed("c", ["7", "", "7"])).message == "column 'c' is 7.0 or missing"
    assert column_checks.constant(typed("c", ["7", "7"])).message == "column 'c' is always 7.0"


def test_a_mark_that_is_set_for_one_class_alone_is_a_copy_of_the_target():
    target = typed("y", ["yes", "no", "yes", "no"])
    assert action(leak(typed("c", ["x", "", "x", ""]), target, "classification")) == "refused"
    assert leak(typed("c", ["x", "", "", ""]), target, "classification") is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (range(20), "dropped"),
        (range(1, 21), "dropped"),
        ([0, 1, 2, 3, 5, 6, 7, 9, 10, 11], "dropped"),
        (range(1990, 2010), None),
        ([*range(19), 3], None),
        (np.arange(20) + 0.5, None),
        (range(5), None),
    ],
)
def test_row_numbers_are_dropped(values, expected):
    assert action(column_checks.row_number(numeric("c", np.array(list(values), dtype=float)))) == expected


@pytest.mark.parametrize(
    "cells",
    [
        ["2024-01-31", "2023-12-01"],
        ["2024-01-31T10:00:00Z", "2023-12-01T08:30"],
        ["31.12.2024", "1.2.2023"],
        ["12/31/24", "1/2/23"],
        ["10:30", "23:59:01"],
    ],
)
def test_dates_and_times_are_refused(cells):
    finding = column_checks.text(typed("when", cells))
    assert finding.action == "refused"
    assert "--drop 'when'" in finding.sentence


def test_free_text_is_refused():
    assert "free text" in column_checks.text(categorical("remark", WORDS)).message


def test_too_many_categories_are_refused_but_not_what_looks_like_an_identifier():
    many = [f"k{number % 1500}" for number in range(3000)]
    assert "1500 categories" in column_checks.text(categorical("c", many)).message
    assert column_checks.text(categorical("c", sorted(set(many)))) is None


@pytest.mark.parametrize("cells", [["a", "b"] * 5, ["New York City", "Rio de Janeiro"] * 5, [None, "a"]])
def test_categories_pass(cells):
    column = categorical("c", cells)
    assert column_checks.text(column) is None
    assert column_checks.identifier(column) is None


def test_a_column_of_all_different_texts_is_an_identifier():
    found = column_checks.identifier(categorical("c", [f"id{n}" for n in range(12)]))
    assert (action(found), found.outcome) == ("dropped", "dropped (--keep 'c' keeps it)")
    assert column_checks.identifier(categorical("c", ["a", "b", "c"])) is None


def test_missing_and_infinite_values_are_mended_as_stated():
    column = typed("c", ["1", "inf", None, "2"])
    assert "1 infinite value: treated as missing" in column_checks.infinities(column).sentence
    gaps = column_checks.missing_values(column.without_infinities())
    assert gaps.sentence == "column 'c' lacks 2 of 4 values: filled with the median"


def test_a_column_of_numbers_but_for_a_few_cells_is_refused():
    finding = column_checks.mixed(typed("c", [*map(str, range(20)), "oops"]))
    assert finding.action == "refused"
    assert "'oops'" in finding.message


@pytest.mark.parametrize(
    ("cells", "target", "task", "leaks"),
    [
        (["a", "b", "a"], ["a", "b", "a"], "classification", True),
        (["0", "1", "0"], ["a", "b", "a"], "classification", True),
        (["1", "2", "3"], ["a", "b", "a"], "classification", False),
        (["0", None, "0"], ["a", "b", "a"], "classification", False),
        (["1.5", "2.5", "0"], ["1.5", "2.5", "0"], "regression", True),
        (["3", "5", "0"], ["1.5", "2.5", "0"], "regression", False),
    ],
)
def test_a_copy_of_the_target_is_a_leak(cells, target, task, leaks):
    assert bool(leak(typed("c", cells), typed("y", target), task)) is leaks
