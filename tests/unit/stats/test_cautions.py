"""What limits a comparison is said in sentences that are true for the metric at hand."""

import pytest

from app.domain.experiment import ExperimentTerms
from app.stats.cautions import cautions
from app.stats.evidence import Rewards, Votes
from tests.unit.stats.evidences import evidence

KNOWN = {"labels_exogenous": True}


def said(votes=None, rewards=None, n=818, form=None, **terms):
    given = evidence(n=n, votes=votes or Votes(), form=form)
    return cautions(given, ExperimentTerms(**{"metric": "accuracy", **terms}), rewards)


def test_nothing_is_said_where_nothing_limits_the_comparison():
    assert said(Votes("user", 818), **KNOWN) == ()


@pytest.mark.parametrize(
    ("terms", "rewards", "consequence"),
    [
        ({"metric": "accuracy"}, None, "; each labelled one counts as wrong"),
        ({"metric": "brier"}, None, "; each labelled one counts as the worst of the range"),
        ({"metric": "absolute_error"}, None, "; these rows are left out, because no range of the metric is declared"),
        ({"metric": "absolute_error", "error_range": (0, 9)}, None, "; each labelled one counts as the worst of the"),
        ({"metric": "reward"}, Rewards(), "of 500 rows that it was asked"),
    ],
)
def test_what_becomes_of_a_missing_answer_depends_on_the_metric(terms, rewards, consequence):
    (first, *_) = said(Votes("request", 818, asked=500, missing=3), rewards, **terms, **KNOWN)
    assert first.startswith("v2 gave no answer to 3 of 500 rows that it was asked")
    assert consequence in first


@pytest.mark.parametrize(("n", "count"), [(39, 1), (40, 0)])
def test_few_votes_of_many_outcomes_are_named(n, count):
    found = said(Votes("user", 800), n=n, **KNOWN)
    assert len(found) == count
    assert all("only 39 of 800 outcomes vote, because each user votes once" in each for each in found)


def test_votes_from_few_rows_are_named():
    assert said(Votes("key", 818, few_losses=(13, 2)), **KNOWN) == ("all 13 losses come from 2 rows",)
    assert said(Votes("key", 818, few_wins=(9, 1)), **KNOWN) == ("all 9 wins come from 1 row",)


def test_the_assumption_on_labels_is_said_unless_it_is_declared():
    (assumed,) = said(Votes("user", 818))
    assert assumed.startswith("what is shown assumes that whether and when a label comes does not depend on")


def test_the_worst_case_is_named():
    (first, _) = said(Votes("user", 818), form="worst_case")
    assert first.endswith("the interval allows for every unlabelled disagreement to go either way")


ZEROS = "no reward of 0 has come: if a missing reward means 0, as with conversions, the versions cannot be compared"


@pytest.mark.parametrize(
    ("rewards", "terms", "words"),
    [
        (Rewards(n=20, least=1, largest=1), {}, ZEROS),
        (
            Rewards(n=20, largest=12, outside=1, zeros=1),
            {},
            "1 reward lies outside REWARD_RANGE (0 to 1) and counts",
        ),
        (
            Rewards(n=20, largest=12, outside=2, zeros=1),
            {},
            "2 rewards lie outside REWARD_RANGE (0 to 1) and count ",
        ),
        (
            Rewards(n=20, largest=5, zeros=1),
            {"reward_range": (0, 100)},
            "the largest reward so far is 5, far below the end of REWARD_RANGE (100)",
        ),
    ],
)
def test_rewards_that_cost_power_or_cannot_be_compared_are_named(rewards, terms, words):
    (found,) = said(Votes("user", 818), rewards, metric="reward", **KNOWN, **terms)
    assert found.startswith(words)


@pytest.mark.parametrize(
    ("rewards", "terms"),
    [
        (Rewards(n=19, least=1, largest=1), {}),
        (Rewards(n=20, least=1, largest=1), {"reward_window_s": 60.0}),
        (Rewards(n=20, least=0, largest=1, zeros=1), {}),
        (Rewards(n=20, least=0, largest=500), {"reward_range": None}),
        (Rewards(n=20, least=2, largest=5), {"reward_range": (1.0, 5.0)}),
    ],
)
def test_rewards_that_can_be_compared_are_not_warned_of(rewards, terms):
    assert said(Votes("user", 818), rewards, metric="reward", **KNOWN, **terms) == ()


def test_that_rewards_are_reported_alike_is_an_assumption():
    (assumed,) = said(Votes("user", 818), Rewards(n=20, least=0, largest=1, zeros=1), metric="reward")
    assert assumed.startswith("what is shown assumes that both versions' rewards are reported alike, zeros too")
    window = {"reward_window_s": 60.0}
    assert said(Votes("user", 818), Rewards(n=20, least=0, largest=1, zeros=1), metric="reward", **window) == ()


def test_values_outside_the_range_are_named():
    (found,) = said(Votes("user", 818, outside=7, present=818), metric="absolute_error", error_range=(0, 5), **KNOWN)
    assert found.startswith("7 of 818 labels give a value outside the declared range, which counts as its nearer end")
