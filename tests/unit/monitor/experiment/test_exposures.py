"""Exposures that callers report: which of them, and which of their rewards, enter an experiment."""

import random

import pytest

from app.domain.experiment import CaseFacts, CovariateColumn
from tests.unit.monitor.experiment.memory_log import MemoryLog
from tests.unit.monitor.experiment.scenarios import BALANCED

REWARD = {"metric": "reward", "policy": "sticky"}


def log_of(**terms):
    return MemoryLog(BALANCED, **(REWARD | terms))


def votes(log):
    return log.report().comparisons[0].units


def variant(log, version="v1"):
    return next(each for each in log.report().variants if each.version == version)


def test_a_reward_by_the_id_of_an_exposure_votes_for_the_version_that_was_met():
    log = log_of()
    log.reward(log.expose("v1", 1), 1.0)
    log.reward(log.expose("v2", 2), 0.0)
    assert votes(log) == 2
    assert (variant(log).rewards, variant(log).mean, variant(log, "v2").mean) == (1, 1.0, 0.0)


def test_the_report_counts_exposures_beside_requests_and_has_no_latency_of_them():
    log = log_of()
    log.expose("v1", 1)
    log.serve({"v1": 0, "v2": 0}, "v1", user=1)
    log.expose("v1", 2, counts=False)
    log.expose("v1", 3, synthetic=True)
    found = variant(log)
    assert (found.exposures, found.exposures_not_counted, found.requests, found.users) == (1, 1, 1, 1)
    assert sum(log.state().versions["v1"].latency.values()) == 1


@pytest.mark.parametrize("unit", ["auto", "user", "key", "row", "request", None])
def test_a_user_who_is_exposed_again_is_one_unit(unit):
    log = log_of(unit=unit)
    for user in (1, 2):
        first, again = log.expose("v1", user), log.expose("v1", user)
        log.reward(first, 1.0)
        log.reward(again, 0.0)
    assert votes(log) == 2
    assert variant(log).users == 2
    assert log.report().checks[0].detail == "2 events in 1 config revision"


def test_an_exposure_and_a_prediction_of_one_user_are_one_unit():
    log = log_of()
    log.reward(log.expose("v1", 1), 1.0)
    log.reward(log.serve({"v1": 0, "v2": 0}, "v1", user=1), 0.0)
    assert votes(log) == 1
    assert variant(log).users == 1


@pytest.mark.parametrize("kind", [{"counts": False}, {"synthetic": True}])
def test_an_exposure_that_does_not_count_has_no_vote_and_is_no_draw(kind):
    log = log_of()
    log.reward(log.expose("v2", 1, **kind), 1.0)
    assert votes(log) == 0
    assert log.report().checks[0].detail == "nothing to check yet"
    assert (variant(log, "v2").rewards, variant(log, "v2").users) == (0, 0)


def test_a_user_stays_in_the_split_of_the_first_exposure_when_the_weights_change():
    log = log_of()
    log.expose("v1", 1)
    log.split({"v1": 0.1, "v2": 0.9})
    log.reward(log.expose("v2", 1), 1.0)  # moved: it is no longer chance who stays
    assert votes(log) == 0


def test_one_version_reported_for_another_shows_in_the_sample_ratio():
    log = log_of()
    for user in range(1, 400):
        log.expose("v1", user)
    assert log.report().checks[0].ok is False


def test_with_a_window_an_exposure_without_a_reward_counts_as_0():
    log = log_of(reward_window_s=60.0)
    log.reward(log.expose("v1", 1), 1.0)
    log.expose("v2", 2)
    log.at(200)
    log.heartbeat()
    assert votes(log) == 2
    assert (variant(log).mean, variant(log, "v2").mean) == (1.0, 0.0)


def test_a_triggered_reward_of_an_exposure_does_not_vote():
    log = log_of(reward_triggered=True)  # nobody knows whether the other version would have made a difference
    log.reward(log.expose("v1", 1), 1.0)
    assert votes(log) == 0


def test_exposures_leave_a_comparison_of_labels_as_it_is():
    log = MemoryLog(BALANCED, policy="sticky")
    log.label(log.serve({"v1": 1, "v2": 0}, "v1", user=1))
    before = log.report().comparisons
    log.reward(log.expose("v1", 2), 1.0)
    assert log.report().comparisons == before


def test_covariates_take_an_exposure_as_a_row_of_which_nothing_is_known():
    column = CovariateColumn(feature=0, mean=0.0, scale=1.0)
    log = log_of(cases=CaseFacts(covariates=(column,)))
    for user in range(1, 40):
        version = "v1" if user % 2 else "v2"
        log.reward(log.expose(version, user), float(user % 3))
        log.reward(log.serve({"v1": 0, "v2": 0}, version, user=100 + user, features=[user / 40]), float(user % 2))
    assert votes(log) == 78


@pytest.mark.parametrize("terms", [{}, {"unit": "row"}, {"reward_window_s": 30.0}, {"unit": None}])
def test_a_replay_in_other_batches_comes_to_the_same_state(terms):
    rng, log = random.Random(3), log_of(**terms)
    for _ in range(150):
        user = rng.randint(1, 40)
        version = "v1" if user % 2 else "v2"
        own = rng.random() < 0.8
        row = log.expose(version if own else {"v1": "v2", "v2": "v1"}[version], user, counts=own)
        if rng.random() < 0.3:
            row = log.serve({"v1": 0, "v2": 1}, version, user=user)
        if rng.random() < 0.6:
            log.reward(row, rng.random())
    log.process()
    for cuts in ((), range(1, len(log.entries), 7), range(1, len(log.entries))):
        assert log.replayed(cuts).all() == log.derived.all()
