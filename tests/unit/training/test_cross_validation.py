"""Cross-validation of variants: the folds, the figures, and the rule that ranks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import DataRefused
from app.training.checks import CheckOptions, check
from app.training.columns import categorical, numeric
from app.training.cross_validation import FOLDS, cross_validated, folds_of, ranked
from app.training.dataset import Dataset, load
from app.training.fit import prepare
from app.training.variants import TrainingVariant

LINEAR = TrainingVariant(
    estimator="sklearn.linear_model.LogisticRegression", regressor="sklearn.linear_model.Ridge", scale=True
)


def quiet(_step):
    pass


@pytest.fixture(scope="module")
def iris():
    return prepare(check(load("iris", None), CheckOptions()), 42)


def made(rows, labels, seed=1):
    x = np.random.default_rng(5).normal(size=rows).round(6)
    target = categorical("y", labels) if labels is not None else numeric("y", x * 3 + 1)
    z = numeric("z", np.random.default_rng(6).normal(size=rows))
    data = Dataset(name="made", columns=(numeric("x", x), z), target=target)
    return prepare(check(data, CheckOptions(keep=("x", "z"))), seed)


def test_each_training_row_is_answered_once_and_never_fitted_in_its_fold(iris):
    folds = folds_of(iris, 42)
    held = np.concatenate([held for _, held in folds])
    assert sorted(held.tolist()) == list(range(len(iris.split.training)))
    assert all(not set(fitted) & set(held) for fitted, held in folds)


def test_copies_of_a_row_are_in_one_fold(iris):
    first = iris.checked.first[iris.split.training]
    for fitted, held in folds_of(iris, 42):
        assert not set(first[fitted]) & set(first[held])


def test_classes_have_the_same_shares_in_each_fold(iris):
    class_ids = iris.checked.truth.class_ids[iris.split.training]
    shares = np.array([np.bincount(class_ids[held]) for _, held in folds_of(iris, 42)])
    assert abs(shares - 8).max() <= 1  # a copy goes with its original


def test_the_same_seed_gives_the_same_figures_and_the_hold_out_does_not_enter(iris):
    one, again = (cross_validated("m", LINEAR, iris, folds_of(iris, 42), 42, quiet) for _ in range(2))
    assert one.figures == again.figures
    assert one.figures.rows == len(iris.split.training) == len(one.losses)
    assert one.figures.accuracy == pytest.approx(1 - one.losses.mean())


def test_a_rare_class_that_a_fold_lacks_keeps_its_column():
    prepared = made(60, ["a"] * 40 + ["b"] * 17 + ["c"] * 3)
    figures = cross_validated("m", LINEAR, prepared, folds_of(prepared, 1), 1, quiet).figures
    assert len(figures.confusion_matrix) == 3
    assert figures.log_loss is not None


def test_a_regression_has_its_own_figures_and_squared_errors():
    prepared = made(80, None)
    found = cross_validated("m", LINEAR, prepared, folds_of(prepared, 1), 1, quiet)
    assert found.figures.r2 > 0.9
    assert np.sqrt(found.losses.mean()) == pytest.approx(found.figures.rmse)


def test_a_model_without_probabilities_has_no_log_loss(iris):
    votes = TrainingVariant(estimator="sklearn.svm.LinearSVC", scale=True)
    assert cross_validated("m", votes, iris, folds_of(iris, 42), 42, quiet).figures.log_loss is None


def test_too_few_rows_are_refused():
    prepared = made(10, ["a", "b"] * 5)
    with pytest.raises(DataRefused, match="too few to compare variants"):
        folds_of(prepared, 1)


def test_progress_has_a_text_for_each_fold(iris):
    said = []
    cross_validated("m", LINEAR, iris, folds_of(iris, 42), 42, said.append)
    assert said == [f"m: fold {number} of {FOLDS}" for number in range(1, FOLDS + 1)]


def losses(wrong, rows=100):
    values = np.zeros(rows)
    values[list(wrong)] = 1
    return values


def test_the_lowest_loss_wins_where_the_difference_is_clear():
    order = ranked({"a": losses(range(30)), "b": losses(range(5))}, {"a": 1, "b": 1000})
    assert [rank.variant for rank in order] == ["b", "a"]
    assert order[0].best == "b"


def test_within_one_standard_error_the_smaller_model_wins():
    # One row in 100 apart: the difference is .01, its standard error .01.
    order = ranked({"a": losses(range(5)), "b": losses(range(6))}, {"a": 1000, "b": 1})
    assert [rank.variant for rank in order] == ["b", "a"]
    assert (order[0].best, order[0].difference) == ("a", pytest.approx(0.01))
    assert order[0].standard_error == pytest.approx(0.01)


def test_beyond_one_standard_error_it_does_not():
    # Two rows, both against b: .02, and its standard error is .0141.
    order = ranked({"a": losses(range(5)), "b": losses(range(7))}, {"a": 1000, "b": 1})
    assert [rank.variant for rank in order] == ["a", "b"]


def test_rows_that_differ_in_both_directions_widen_the_tie():
    # The same two rows of difference, but of twelve that differ: the standard error is .0347.
    order = ranked({"a": losses(range(5)), "b": losses(range(10, 17))}, {"a": 1000, "b": 1})
    assert order[0].variant == "b"


@given(st.lists(st.lists(st.booleans(), min_size=20, max_size=20), min_size=1, max_size=5), st.randoms())
def test_every_variant_has_one_place_and_the_order_of_naming_plays_no_part(rows, shuffle):
    named = {f"m{number}": np.array(each, dtype=float) for number, each in enumerate(rows)}
    sizes = {name: 10 + number for number, name in enumerate(named)}
    names = list(named)
    shuffle.shuffle(names)
    order = [rank.variant for rank in ranked(named, sizes)]
    assert sorted(order) == sorted(named)
    assert [rank.variant for rank in ranked({name: named[name] for name in names}, sizes)] == order
