"""Balanced accuracy, recall, cost and squared error through the projection: what decides, what counts, how often wrong.

`RARE` is the documented example: 9 % of the cases are positive, and v2 always says no.
"""

import numpy as np
import pytest

from app.monitor.experiment import comparisons
from tests.unit.monitor.experiment.memory_log import MemoryLog

SHADOW = {"v1": 1.0, "v2": 0.0}
NO, YES = 0, 1
RARE = {
    "classes": ("no", "yes"),
    "class_shares": (0.91, 0.09),
    "positive_class": "yes",
    "cost_matrix": {"yes": {"no": 10.0}, "no": {"yes": 1.0}},
    "error_range": (0.0, 9.0),
    "labels_exogenous": True,
}


@pytest.fixture(autouse=True)
def few_intervals(monkeypatch):
    """The interval of the timeline, which nothing here depends on, at 1, 4, 16, … outcomes."""
    monkeypatch.setattr(comparisons, "next_look", lambda n: 4 * n)


def labelled(metric, rows):
    """The log of such rows, each of label, v1's and v2's answer."""
    log = MemoryLog(SHADOW, metric=metric, **RARE)
    for label, one, two in rows:
        log.label(log.serve({"v1": one, "v2": two}, "v1"), label)
    return log


def rare_rows(n):
    """v1 finds 80 % of the positives, and says yes to 20 % of the others; v2 always says no."""
    chance = np.random.default_rng(9)
    labels = (chance.random(n) < 0.09).astype(int)
    says_yes = chance.random(n) < np.where(labels == YES, 0.8, 0.2)
    return list(zip(labels.tolist(), says_yes.astype(int).tolist(), [NO] * n, strict=True))


@pytest.mark.parametrize(
    ("metric", "verdict"),
    [("accuracy", "better"), ("balanced_accuracy", "worse"), ("recall", "worse"), ("cost", "worse")],
)
def test_at_9_percent_positive_accuracy_prefers_the_version_that_always_says_no_and_the_others_do_not(metric, verdict):
    (found,) = labelled(metric, rare_rows(800)).report().comparisons
    assert found.verdict == verdict


def test_the_means_of_the_report_are_those_worked_by_hand():
    # 10 rows, one positive: v1 finds it with two false alarms, v2 says no.
    rows = [(YES, YES, NO), (NO, YES, NO), (NO, YES, NO), *[(NO, NO, NO)] * 7]
    means = {name: [each.mean_all for each in labelled(name, rows).report().variants] for name in ("recall", "cost")}
    assert means == {"recall": [1.0, 0.0], "cost": [pytest.approx(0.2), pytest.approx(1.0)]}
    first, second = labelled("balanced_accuracy", rows).report().variants
    assert first.mean_all == pytest.approx((7 / (2 * 0.91) + 1 / (2 * 0.09)) / 10)
    assert second.mean_all == pytest.approx(9 / (2 * 0.91) / 10)


def test_recall_counts_rows_of_its_class_and_no_other_as_outcomes_or_as_lost():
    rows = [(YES, YES, NO)] * 3 + [(NO, NO, YES)] * 20
    report = labelled("recall", rows).report()
    (found,) = report.comparisons
    assert (found.n, found.units, found.unjoined, found.wins, found.losses) == (3, 3, 0, 0, 3)
    assert (found.only_baseline, found.both_right, found.both_wrong) == (3, 0, 0)
    first, _ = report.variants
    assert (first.labelled, first.comparable, first.comparable_mean) == (23, 3, 1.0)
    # Agreements need their labels: neither the difference nor a worst case is one of all traffic.
    assert (found.difference, found.worst_case) == (-1.0, None)


def test_the_reason_names_the_class_of_the_recall_and_asks_for_labels_of_it():
    rows = [(YES, YES, NO)] * 4 + [(YES, NO, YES)] * 2 + [(NO, NO, YES)] * 20
    reason = labelled("recall", rows).report().recommendation.reason
    assert "its recall of yes is 33 points lower" in reason
    assert "further labelled requests whose label is yes" in reason


def test_a_version_that_fails_on_another_class_loses_no_recall():
    log = MemoryLog(SHADOW, metric="recall", **RARE)
    for label in (NO, NO, YES):
        log.label(log.serve({"v1": label}, "v1", failed=["v2"]), label)
    (found,) = log.report().comparisons
    assert (found.n, found.missing, found.losses) == (1, 3, 1)


def test_labels_of_disagreements_alone_are_said_to_make_the_difference_too_large():
    log = MemoryLog(SHADOW, metric="cost", **RARE)
    for place in range(60):
        row = log.serve({"v1": NO, "v2": YES if place % 3 else NO}, "v1")
        if place % 3:
            log.label(row, NO)
    (found,) = log.report().comparisons
    assert any("too large; label a random sample" in each for each in found.warnings)


def test_an_enormous_squared_error_leaves_all_means_finite():
    log = MemoryLog({"v1": 0.5, "v2": 0.5}, metric="squared_error", **{**RARE, "error_range": None})
    for lacking in ((), ("v2",)):
        answers = {"v1": 1e200} if lacking else {"v1": 1e200, "v2": 1.0}
        log.label(log.serve(answers, "v1", lacking=lacking), 0.0)
    first, _ = log.report().variants
    assert (first.mean, first.comparable, first.comparable_mean) == (1e50, 1, 1e50)


def equal_classes(chance, n):
    """Both versions are right on 90 % of the negatives and 70 % of the positives, a third of which are yes."""
    labels = (chance.random(n) < 0.3).astype(int)
    right = chance.random((2, n)) < np.where(labels == YES, 0.7, 0.9)
    answers = np.where(right, labels, 1 - labels)
    return zip(labels.tolist(), *answers.tolist(), strict=True)


def equal_numbers(chance, n):
    return zip([0.0] * n, *chance.normal(size=(2, n)).tolist(), strict=True)


@pytest.mark.parametrize("metric", ["balanced_accuracy", "recall", "cost", "squared_error"])
def test_equal_versions_seldom_have_a_winner(metric):
    """At most 5 of 40 experiments: a rate of α = .05 gives more in 1.4 % of runs, and the seeds are fixed."""
    rows = equal_numbers if metric == "squared_error" else equal_classes
    winners = [labelled(metric, rows(np.random.default_rng([7, seed]), 150)).winner() for seed in range(40)]
    assert sum(winner is not None for winner in winners) <= 5


@pytest.mark.parametrize("metric", ["balanced_accuracy", "recall", "cost"])
def test_a_replay_in_other_batches_gives_the_same_state_to_the_last_digit(metric):
    log = labelled(metric, equal_classes(np.random.default_rng(3), 60))
    log.process()
    assert log.replayed([7, 30, 31]).all() == log.derived.all()
