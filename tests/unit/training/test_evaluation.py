import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from app.domain.prediction import Outputs
from app.scoring.brier import brier
from app.training.columns import categorical, numeric
from app.training.evaluation import errors_in, score
from app.training.task import truth_of

TRUTH = truth_of(categorical("y", ["a", "a", "b", "b"]), "classification")


def answered(ids, probabilities=None):
    return Outputs(class_ids=np.array(ids), probabilities=probabilities)


def test_figures_of_a_small_table_worked_by_hand():
    figures = score(answered([0, 1, 1, 1]), TRUTH)
    assert figures.accuracy == 0.75
    assert figures.precision == pytest.approx((1 + 2 / 3) / 2)
    assert figures.recall == pytest.approx((1 / 2 + 1) / 2)
    assert figures.f1 == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert figures.confusion_matrix == ((1, 1), (0, 2))


def test_proper_scores_need_probabilities():
    figures = score(answered([0, 0, 0, 0]), TRUTH)
    assert figures.log_loss is None
    assert figures.brier is None


def test_a_class_that_is_never_predicted_counts_as_zero():
    assert score(answered([0, 0, 0, 0]), TRUTH).precision == 0.25


@pytest.mark.parametrize("labels", [list("abab"), list("abca"), list("abcd")])
@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_proper_scores_agree_with_scikit_learn(labels, seed):
    truth = truth_of(categorical("y", labels), "classification")
    shares = np.random.default_rng(seed).dirichlet(np.ones(len(truth.classes)), size=4)
    figures = score(answered(shares.argmax(axis=1), shares), truth)
    positive = shares[:, 1] if shares.shape[1] == 2 else shares
    assert figures.log_loss == pytest.approx(metrics.log_loss(labels, shares))
    # Of two classes scikit-learn takes one.
    expected = metrics.brier_score_loss(labels, positive, pos_label="b" if shares.shape[1] == 2 else None)
    assert figures.brier == pytest.approx(2 * expected if shares.shape[1] == 2 else expected)


def test_the_brier_score_is_the_one_that_experiments_compare():
    shares = np.array([[0.8, 0.2], [0.4, 0.6], [0.3, 0.7], [0.5, 0.5]])
    figures = score(answered([0, 1, 1, 0], shares), TRUTH)
    assert figures.brier == pytest.approx(brier(shares, TRUTH.class_ids).mean())


def test_a_certain_mistake_costs_much_but_not_everything():
    shares = np.array([[0.0, 1.0]] + [[0.5, 0.5]] * 3)
    assert score(answered([1, 0, 0, 1], shares), TRUTH).log_loss == pytest.approx((36.04 + 3 * np.log(2)) / 4, abs=0.01)


def test_wrong_classes_are_counted_and_wrong_numbers_are_not():
    assert errors_in(answered([0, 1, 1, 1]), TRUTH) == 1
    assert errors_in(Outputs(values=np.zeros(2)), truth_of(numeric("y", np.array([1.0, 2.0])), "regression")) is None


def test_figures_of_numbers_worked_by_hand():
    truth = truth_of(numeric("y", np.array([1.0, 2.0, 3.0])), "regression")
    figures = score(Outputs(values=np.array([1.0, 2.0, 5.0])), truth)
    assert figures.mae == pytest.approx(2 / 3)
    assert figures.rmse == pytest.approx(np.sqrt(4 / 3))
    assert figures.r2 == pytest.approx(1 - 4 / 2)


def test_r2_is_not_estimable_where_the_target_does_not_vary():
    truth = truth_of(numeric("y", np.ones(3)), "regression")
    assert score(Outputs(values=np.zeros(3)), truth).r2 is None
