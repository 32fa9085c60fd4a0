from __future__ import annotations

import numpy as np
import pytest

from app.domain.prediction import Outputs
from app.drift.output_keys import common_digits, output_columns
from app.drift.reference import DriftReference, ReferenceAnswers, build_reference
from app.drift.watch import start, update_outputs
from tests.unit.drift.drift_samples import numeric_contract

CLONES = np.repeat(np.arange(5), 30)
# Boosted trees: most answers are one of three values, of which each model has its own last digits.
ENDS = np.array([0.9822, 0.9862, 0.9881])


def boosted(answers: int, model: int, seed: int) -> np.ndarray:
    """The top probabilities of one of six models."""
    chance = np.random.default_rng([seed, model])
    sure = ENDS[chance.integers(0, 3, answers)] + 0.0001 * (model % 3 - 1)
    return np.where(chance.random(answers) < 0.8, sure, chance.uniform(0.4, 0.95, answers))


def outputs(top: np.ndarray) -> Outputs:
    return Outputs(class_ids=np.zeros(len(top), dtype=np.int64), probabilities=top[:, None])


def clones_of_boosted_trees(seed: int) -> Outputs:
    return outputs(np.concatenate([boosted(30, clone, seed) for clone in range(5)]))


def reference_of(answers: Outputs, digits: int | None) -> DriftReference:
    rows = np.random.default_rng(1).normal(size=(150, 3))
    crossed = ReferenceAnswers("cross_fitted", answers, 3, digits=digits)
    return build_reference(numeric_contract(3), rows, seed=1, answers=crossed)


@pytest.mark.parametrize("seed", range(4))
def test_digits_that_each_clone_has_for_itself_are_not_compared(seed):
    assert common_digits(clones_of_boosted_trees(seed), CLONES) in (1, 2)


def test_answers_that_are_mixed_keep_all_digits():
    top = np.random.default_rng(4).uniform(0.4, 1.0, 150)
    assert common_digits(outputs(top), CLONES) == 4


def test_equal_answers_keep_all_digits():
    assert common_digits(outputs(np.ones(150)), CLONES) == 4


def test_numbers_have_significant_digits():
    values = 1000 + np.random.default_rng(5).integers(0, 9, 150) * 100.0
    assert common_digits(Outputs(values=values), CLONES) == 5
    assert common_digits(Outputs(values=values + CLONES), CLONES) < 4


def test_classes_alone_have_no_digits():
    assert common_digits(Outputs(class_ids=np.zeros(150, dtype=np.int64)), CLONES) is None


def test_columns_are_rounded_to_the_digits():
    top, value = output_columns(("a",), outputs(np.array([0.98765])), 2)[1], Outputs(values=np.array([98765.4]))
    assert top.values.tolist() == [0.99]
    assert output_columns((), value, 2)[0].values.tolist() == [99000.0]
    assert output_columns((), value)[0].values.tolist() == [98765.0]


@pytest.mark.parametrize("seed", range(4))
def test_unchanged_answers_of_a_boosted_model_raise_no_alarm_against_those_of_its_clones(seed):
    crossed, live = clones_of_boosted_trees(seed), outputs(boosted(3000, 5, seed))
    reference = reference_of(crossed, common_digits(crossed, CLONES))
    assert update_outputs(reference, start(reference), live).alarms == 0
    every_digit = reference_of(crossed, None)
    assert update_outputs(every_digit, start(every_digit), live).alarms == 1


def test_the_digits_survive_json():
    reference = reference_of(clones_of_boosted_trees(1), 2)
    assert DriftReference.from_json(reference.to_json()).answer_digits == 2
