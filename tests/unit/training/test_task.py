import numpy as np
import pytest

from app.training.columns import categorical, numeric, typed
from app.training.task import task_of, truth_of

MANY = np.random.default_rng(0).normal(size=100)


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (MANY, "regression"),
        (MANY.round(0), "classification"),
        (np.arange(100) % 26, "regression"),
        (np.arange(1000) % 26, "classification"),
        (np.arange(1000) % 200, "regression"),
        ([0.5, 1.5] * 50, "classification"),
        ([1.5, 2.5, 3.5, 4.5], "regression"),
    ],
)
def test_the_task_is_inferred_from_the_target(values, task):
    assert task_of(numeric("y", np.array(values))) == task


def test_texts_are_classes():
    assert task_of(categorical("y", [f"k{n}" for n in range(50)])) == "classification"


def test_whole_numbers_stay_numbers_and_are_named_by_their_digits():
    truth = truth_of(typed("y", ["3", "1", "3.0"]), "classification")
    assert truth.labels.tolist() == [3, 1, 3]
    assert truth.classes == ("1", "3")
    assert truth.class_ids.tolist() == [1, 0, 1]


def test_other_numbers_are_classes_by_their_text():
    assert truth_of(typed("y", ["0.5", "1.50", "0.5"]), "classification").classes == ("0.5", "1.50")


def test_class_ids_take_the_names_they_are_given():
    truth = truth_of(numeric("y", np.array([1, 0, 1])), "classification", ("setosa", "virginica"))
    assert truth.classes == ("setosa", "virginica")
    assert truth.labels.tolist() == truth.class_ids.tolist() == [1, 0, 1]


def test_quantities_have_no_classes():
    truth = truth_of(numeric("y", MANY), "regression")
    assert truth.classes == ()
    assert truth.class_ids is None
