"""Every metric of the table keeps the contract; each one's own values are known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.experiment import ExperimentTerms
from app.scoring.brier import brier
from app.scoring.contract import Answer, Range
from app.scoring.log_loss import LEAST_PROBABILITY, log_loss
from app.scoring.table import METRICS, metric_of, names_for

TERMS = {
    name: ExperimentTerms(
        metric=name,
        error_range=(0.0, 9.0),
        reward_range=(0.0, 5.0),
        classes=("no", "yes"),
        class_shares=(0.75, 0.25),
        positive_class="no",
        cost_matrix={"no": {"yes": 3.0}, "yes": {"no": 8.0}},
    )
    for name in METRICS
}
OF_LABELS = [name for name, metric in METRICS.items() if not metric.uses_rewards]
RIGHT, WRONG = Answer(c=0, p=(0.9, 0.1), v=0.0), Answer(c=1, p=(0.2, 0.8), v=3.0)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_found_by_its_name(name):
    assert metric_of(TERMS[name]).name == name


def test_the_first_metric_of_a_task_is_its_default():
    assert names_for("classification") == (
        "accuracy",
        "balanced_accuracy",
        "recall",
        "cost",
        "brier",
        "log_loss",
        "reward",
    )
    assert names_for("regression") == ("absolute_error", "squared_error", "reward")


@pytest.mark.parametrize("name", METRICS)
def test_a_better_value_is_a_positive_gain_and_the_opposite_when_swapped(name):
    metric, terms = METRICS[name], TERMS[name]
    low, high = metric.range_of(terms).low, metric.range_of(terms).high
    worst, best = (low, high) if metric.higher_is_better else (high, low)
    assert metric.gain(terms, worst, best) == 1.0
    assert metric.gain(terms, best, worst) == -1.0
    assert metric.gain(terms, best, best) == 0.0


@pytest.mark.parametrize("name", OF_LABELS)
def test_the_right_answer_scores_better_than_a_wrong_one(name):
    metric, terms = METRICS[name], TERMS[name]
    assert metric.gain(terms, metric.score(WRONG, 0, terms), metric.score(RIGHT, 0, terms)) > 0


@pytest.mark.parametrize("name", OF_LABELS)
def test_an_answer_without_what_the_metric_reads_has_no_score(name):
    assert METRICS[name].score(Answer(), 0, TERMS[name]) is None


@pytest.mark.parametrize("name", [name for name in OF_LABELS if METRICS[name].score_of_id])
@given(st.integers(0, 5), st.integers(0, 5))
def test_an_id_gives_the_score_of_the_whole_answer(name, answered, label):
    metric, terms = METRICS[name], TERMS[name]
    assert metric.score_of_id(answered, label, terms) == metric.score(Answer(c=answered, v=answered), label, terms)


@pytest.mark.parametrize("name", METRICS)
def test_equal_answers_are_not_told_apart_and_other_classes_are(name):
    assert not METRICS[name].tells_apart(RIGHT, RIGHT)
    assert METRICS[name].tells_apart(RIGHT, WRONG)


@pytest.mark.parametrize(
    ("name", "seen"), [("accuracy", False), ("reward", False), ("brier", True), ("log_loss", True)]
)
def test_other_probabilities_of_the_same_class_matter_only_to_losses_of_probabilities(name, seen):
    assert METRICS[name].tells_apart(RIGHT, Answer(c=0, p=(0.8, 0.2), v=0.0)) == seen


@pytest.mark.parametrize(
    ("terms", "method"),
    [
        (ExperimentTerms(metric="accuracy"), "paired"),
        (ExperimentTerms(metric="brier"), "paired_numeric"),
        (ExperimentTerms(metric="absolute_error", error_range=(0, 1)), "paired_numeric"),
        (ExperimentTerms(metric="absolute_error"), "asymptotic"),
        (ExperimentTerms(metric="reward"), "two_sample"),
        (ExperimentTerms(metric="reward", reward_range=None), "asymptotic"),
    ],
)
def test_the_terms_ask_for_a_method(terms, method):
    assert metric_of(terms).method_under(terms) == method


@pytest.mark.parametrize(("metric", "triggered"), [("reward", True), ("accuracy", False)])
def test_only_rewards_are_triggered(metric, triggered):
    terms = ExperimentTerms(metric=metric, reward_triggered=True)
    assert metric_of(terms).is_triggered(terms) == triggered


def test_without_a_range_the_gain_is_in_the_units_of_the_metric():
    terms = ExperimentTerms(metric="absolute_error")
    assert metric_of(terms).gain(terms, 3.0, 1.0) == 2.0
    rewards = ExperimentTerms(metric="reward", reward_range=None)
    assert metric_of(rewards).gain(rewards, 3.0, 1.0) == -2.0


def test_brier_and_log_loss_of_known_rows():
    probabilities = np.array([[0.8, 0.2], [0.0, 1.0]])
    assert brier(probabilities, np.array([0, 0])) == pytest.approx([0.08, 2.0])
    assert log_loss(probabilities, np.array([0, 0])) == pytest.approx([-math.log(0.8), -math.log(LEAST_PROBABILITY)])


@pytest.mark.parametrize("label", [0.5, -1, 2])
@pytest.mark.parametrize("name", ["brier", "log_loss"])
def test_a_label_that_is_no_class_of_the_answer_has_no_score(name, label):
    assert METRICS[name].score(RIGHT, label, TERMS[name]) is None


def test_gains_are_widths_of_the_range_and_what_lies_outside_counts_as_the_nearer_end():
    metric, terms = METRICS["absolute_error"], ExperimentTerms(metric="absolute_error", error_range=(0.0, 4.0))
    assert [metric.gain(terms, *pair) for pair in ((3.0, 1.0), (1.0, 2.0), (99.0, 0.0))] == [0.5, -0.25, 1.0]
    assert Range(-1.0, 3.0).difference(0.25) == 1.0
    assert Range(-1.0, 3.0).interval((-0.5, 0.25)) == (-2.0, 1.0)
    assert math.isnan(Range(0.0, 1.0).to_unit(math.nan))
