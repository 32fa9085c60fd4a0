"""The names of classes that a model knows only as numbers come from the reference, if their order fits its answers."""

from __future__ import annotations

import numpy as np
import pytest

from app.domain.prediction import Outputs
from app.errors import DataRefused
from app.training.class_names import class_names, naming, require_agreement
from app.training.columns import typed
from app.training.task import Truth


def target(*cells):
    return typed("answer", cells)


@pytest.mark.parametrize(
    ("labels", "cells", "names"),
    [
        ((0, 1), ("yes", "no", "no"), ("no", "yes")),
        ((0, 1, 2), ("b", "c", "a"), ("a", "b", "c")),
        ((0, 1), ("0", "1", "1"), ("0", "1")),
        ((0, 1, 2), ("a", "b", "b"), ("0", "1", "2")),
        ((1, 2), ("a", "b", "b"), ("1", "2")),
        (("x", "y"), ("a", "b", "b"), ("x", "y")),
    ],
    ids=["two", "three", "numbers", "one lacks", "not from 0", "own names"],
)
def test_the_texts_of_the_target_are_the_names_of_classes_that_are_numbers(labels, cells, names):
    assert class_names(labels, target(*cells)) == names


def test_the_report_says_which_class_has_which_name():
    (finding,) = naming((0, 1), ("no", "yes"))
    assert "0 is no, 1 is yes" in finding.sentence
    assert naming((0, 1), ("0", "1")) == []


def truth(*ids):
    return Truth("classification", np.array(["no", "yes"])[list(ids)], ("no", "yes"), np.array(ids))


def test_another_order_that_fits_the_answers_better_is_refused_with_that_order():
    with pytest.raises(DataRefused, match="0 is yes, 1 is no"):
        require_agreement((0, 1), truth(0, 1, 1, 0), Outputs(class_ids=np.array([1, 0, 0, 1])))


@pytest.mark.parametrize("answered", [[0, 1, 1, 0], [0, 1, 0, 0], [0, 0, 1, 1]])
def test_an_order_that_fits_at_least_as_well_as_any_other_is_kept(answered):
    require_agreement((0, 1), truth(0, 1, 1, 0), Outputs(class_ids=np.array(answered)))


def test_the_models_own_names_are_not_examined():
    require_agreement(("no", "yes"), truth(0, 1), Outputs(class_ids=np.array([1, 0])))
