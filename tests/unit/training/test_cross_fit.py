from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeClassifier

from app.domain.contract import Feature, FeatureContract
from app.training.cross_fit import CrossFitted, cross_fit
from app.training.task import Truth

FEATURES = (Feature("a"), Feature("b"))
CHANCE = np.random.default_rng(0)
ROWS = CHANCE.normal(size=(100, 2))
IDS = np.where(CHANCE.random(100) < 0.2, 1, 0)
NAMES = ("no", "yes")
CONTRACT = FeatureContract("classification", "y", FEATURES, NAMES)
TRUTH = Truth(task="classification", labels=np.array(NAMES)[IDS], classes=NAMES, class_ids=IDS)


def crossed(estimator, **options):
    return cross_fit(estimator.fit(ROWS, TRUTH.labels), TRUTH.labels, CONTRACT, ROWS, TRUTH, 1, **options)


@pytest.fixture(scope="module")
def answers():
    return crossed(DecisionTreeClassifier(random_state=0))


def test_every_row_is_answered_once_by_a_clone_that_was_not_fitted_on_it(answers):
    assert isinstance(answers, CrossFitted)
    assert sorted(answers.positions.tolist()) == list(range(100))
    # The labels are noise: a tree knows all of its own rows, and few others.
    assert np.mean(answers.outputs.class_ids != IDS[answers.positions]) > 0.1


def test_of_the_probabilities_the_greatest_is_kept(answers):
    assert answers.outputs.probabilities.shape == (100, 1)


def test_it_is_known_which_clone_answered(answers):
    assert np.bincount(answers.clones).tolist() == [20] * 5


def test_as_a_reference_the_answers_say_how_many_were_wrong_and_what_is_compared(answers):
    known = answers.as_reference(TRUTH)
    assert (known.source, known.rows, known.digits) == ("cross_fitted", 100, 4)
    assert known.errors == np.sum(answers.outputs.class_ids != IDS[answers.positions])


def test_a_regressor_is_cross_fitted_too():
    contract = FeatureContract("regression", "y", FEATURES)
    truth = Truth(task="regression", labels=ROWS[:, 0] * 2.0)
    found = cross_fit(LinearRegression().fit(ROWS, truth.labels), truth.labels, contract, ROWS, truth, 1)
    np.testing.assert_allclose(found.outputs.values, truth.labels[found.positions], atol=1e-9)


def test_without_a_finished_fold_the_reason_is_the_time():
    assert "within 0 seconds" in crossed(RandomForestClassifier(), most_seconds=0.0)


def test_too_few_rows_are_a_reason():
    assert "too few" in cross_fit(None, TRUTH.labels[:9], CONTRACT, ROWS[:9], TRUTH.take(np.arange(9)), 1)


class Foreign:
    """A model that scikit-learn cannot clone: it has no parameters to read."""

    def fit(self, _rows, _labels):
        return self


def test_a_model_that_cannot_be_cloned_is_a_reason():
    assert "clones of the model could not be fitted: TypeError" in crossed(Foreign())


def test_a_model_of_a_class_that_no_module_has_gives_the_reason():
    gone = type("Gone", (DecisionTreeClassifier,), {"__module__": "gone"})
    assert "clones of the model could not be fitted: PicklingError" in crossed(gone())
