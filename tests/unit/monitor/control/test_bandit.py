import pytest
from msgspec.structs import replace

from app.domain.experiment import ExperimentTerms
from app.domain.report import VariantReport
from app.domain.timestamps import iso_utc
from app.monitor.control.bandit import LEAST_PAUSE_US, LEAST_SHARE, Bandit, beliefs_of, next_weights
from app.services.control.decisions import Decisions
from tests.unit.services.control.deciders import BASE, NOW_US, MemoryDecisions, dependencies, report

THOMPSON = replace(BASE, policy="thompson")
BETTER = (
    VariantReport(version="v1", weight=0.5, labelled=100, mean=0.7),
    VariantReport(version="v2", weight=0.5, labelled=100, mean=0.75),
)


def played(base=THOMPSON, variants=BETTER, started_us=NOW_US):
    """A log, and a call that ticks at so many µs."""
    log = MemoryDecisions(base)
    clock, made = [0], report("continue", variants=variants, started=iso_utc(started_us))
    decisions = Decisions(log, dependencies(now_us=lambda: clock[0], report=lambda _id: made))
    bandit = Bandit(decisions, lambda: log.latest, lambda _id: made, lambda: clock[0])

    def tick(at_us):
        clock[0] = at_us
        bandit()

    return log, tick


def test_the_better_version_gets_its_probability_to_be_the_best():
    log, tick = played()
    tick(NOW_US + LEAST_PAUSE_US)
    assert sum(log.latest.weights.values()) == pytest.approx(1)
    assert 0.75 < log.latest.weights["v2"] < 0.85
    [entry] = log.entries
    assert (entry.actor, entry.action, log.latest.experiment_id) == ("monitor", "weights", BASE.experiment_id)


def test_no_more_often_than_once_a_minute_and_not_for_nothing():
    log, tick = played()
    tick(NOW_US + LEAST_PAUSE_US - 1)
    assert log.entries == []
    for minute in range(1, 6):
        tick(NOW_US + minute * LEAST_PAUSE_US)
    assert len(log.entries) == 1


def test_in_a_long_experiment_it_takes_longer_pauses():
    log, tick = played(started_us=NOW_US - 100 * LEAST_PAUSE_US)
    tick(NOW_US + LEAST_PAUSE_US)
    assert log.entries == []
    tick(NOW_US + 2 * LEAST_PAUSE_US)
    assert len(log.entries) == 1


@pytest.mark.parametrize("policy", ["weighted", "sticky"])
def test_other_policies_are_left_alone(policy):
    log, tick = played(replace(BASE, policy=policy))
    tick(NOW_US + LEAST_PAUSE_US)
    assert log.entries == []


def test_every_version_keeps_a_share():
    hopeless = (replace(BETTER[0], labelled=9000, mean=0.1), replace(BETTER[1], labelled=9000, mean=0.9))
    assert next_weights(THOMPSON, hopeless)["v1"] == pytest.approx(LEAST_SHARE)


def test_what_was_taken_out_stays_out():
    out = replace(THOMPSON, weights={"v1": 0.5, "v2": 0.5, "v3": 0.0})
    best = VariantReport(version="v3", weight=0.0, labelled=900, mean=0.99)
    assert next_weights(out, (*BETTER, best))["v3"] == 0.0
    assert next_weights(replace(THOMPSON, weights={"v1": 1.0, "v2": 0.0}), BETTER) is None


@pytest.mark.parametrize(
    ("terms", "variant", "gained"),
    [
        (ExperimentTerms(metric="accuracy"), {"labelled": 10, "mean": 0.7}, 7.0),
        (ExperimentTerms(metric="accuracy"), {}, 0.0),
        (ExperimentTerms(metric="brier"), {"labelled": 10, "mean": 0.5}, 7.5),
        (ExperimentTerms(metric="reward", reward_range=(0, 5)), {"rewards": 10, "mean": 2.0}, 4.0),
        (ExperimentTerms(metric="absolute_error", error_range=(0, 10)), {"labelled": 10, "mean": 1.0}, 9.0),
    ],
)
def test_outcomes_count_as_parts_of_successes(terms, variant, gained):
    assert beliefs_of(VariantReport(version="v1", weight=0.5, **variant), terms).successes == pytest.approx(gained)


def test_without_a_range_nothing_is_believed():
    terms = ExperimentTerms(metric="absolute_error")
    assert next_weights(replace(THOMPSON, terms=terms), BETTER) is None
