import threading

import pytest
from msgspec.structs import replace

from app.domain.decision import Change
from app.domain.experiment import Configuration, ExperimentTerms, Ramp
from app.store.configurations import ConfigurationLog, DecisionTable

FIRST = Configuration(
    epoch=0,
    experiment_id="one",
    weights={"v1": 0.3, "v2": 0.7},
    terms=ExperimentTerms(metric="accuracy", reward_range=(0.0, 2.0)),
    champion="v1",
    created_at_us=5,
    environment={"weights": {"v1": 3.0, "v2": 7.0}},
)


@pytest.fixture
def log(database):
    return ConfigurationLog(database)


EXPERIMENTS = "SELECT id, ordinal, ended_at_us, ended_by FROM experiments ORDER BY ordinal"


def test_there_is_none_at_first(log):
    assert log.latest() is None
    assert log.newer_than(FIRST) is None
    assert log.settle(lambda latest: latest) is None


def test_a_configuration_comes_back_as_it_went_in_with_its_epoch(log):
    assert log.settle(lambda latest: FIRST) == replace(FIRST, epoch=1)
    assert log.latest() == replace(FIRST, epoch=1)


def test_no_change_leaves_the_latest_in_force(log):
    log.settle(lambda latest: FIRST)
    assert log.settle(lambda latest: None) == replace(FIRST, epoch=1)


def test_terms_that_an_older_release_has_lost_are_those_that_the_experiment_began_with(log):
    began = replace(FIRST.terms, unit="user", reward_window_s=60.0, guardrail_slow="2x")
    log.settle(lambda latest: replace(FIRST, terms=began))
    log.settle(lambda latest: replace(FIRST, weights={"v1": 1.0}))
    assert (log.latest().terms, log.latest().weights, log.latest().epoch) == (began, {"v1": 1.0}, 2)
    log.settle(lambda latest: replace(FIRST, experiment_id="two"))
    assert log.latest().terms == FIRST.terms


def test_only_a_newer_epoch_is_news(log):
    log.settle(lambda latest: FIRST)
    assert log.newer_than(replace(FIRST, epoch=1)) is None
    assert log.newer_than(FIRST) == replace(FIRST, epoch=1)


def test_another_split_goes_on_with_the_same_experiment(log, rows):
    log.settle(lambda latest: FIRST)
    log.settle(lambda latest: replace(latest, weights={"v1": 1.0, "v2": 0.0}))
    assert rows(EXPERIMENTS) == [("one", 1, None, None)]


def test_another_experiment_ends_the_one_before(log, rows):
    log.settle(lambda latest: FIRST)
    log.settle(lambda latest: replace(latest, experiment_id="two", created_at_us=9, source="shelf"))
    assert rows(EXPERIMENTS) == [("one", 1, 9, "shelf"), ("two", 2, None, None)]


def test_of_those_that_start_at_once_each_sees_what_the_one_before_did(log):
    seen = []

    def decide(latest):
        seen.append(latest and latest.epoch)
        return FIRST

    threads = [threading.Thread(target=log.settle, args=(decide,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [None, 1, 2, 3, 4, 5]


def test_a_decision_that_raises_changes_nothing(log):
    with pytest.raises(ZeroDivisionError):
        log.settle(lambda latest: 1 / 0)
    assert log.latest() is None


RAMP = Ramp(version="v2", steps=(0.1, 0.5), every_seconds=60, before={"v1": 1.0, "v2": 0.0})


def test_a_start_that_takes_traffic_away_is_in_the_audit_log(log, database):
    log.settle(lambda latest: FIRST)
    log.settle(lambda latest: replace(latest, weights={"v1": 1.0, "v2": 0.0}, source="shelf"))
    log.settle(lambda latest: replace(latest, weights={"v1": 1.0, "v2": 0.0, "v3": 0.0}, experiment_id="two"))
    [entry] = DecisionTable(database).page(10)
    assert (entry.actor, entry.action, entry.epoch, entry.experiment_id) == ("shelf", "configure", 2, "one")
    assert entry.changes["weights"] == Change({"v1": 0.3, "v2": 0.7}, {"v1": 1.0, "v2": 0.0})
    assert "the server started, or reloaded" in entry.note


def test_a_ramp_comes_back_as_it_went_in(log):
    log.settle(lambda latest: replace(FIRST, ramp=RAMP))
    assert log.latest().ramp == RAMP


def test_a_start_that_ends_a_ramp_is_in_the_audit_log(log, database):
    log.settle(lambda latest: replace(FIRST, ramp=RAMP))
    log.settle(lambda latest: replace(latest, auto_decide="off"))
    log.settle(lambda latest: replace(latest, ramp=None, weights={"v1": 1.0, "v2": 0.0}))
    [entry] = DecisionTable(database).page(10)
    assert (entry.actor, entry.action, entry.version, entry.epoch) == ("environment", "ramp", "v2", 3)
    assert entry.changes["weights"].after == {"v1": 1.0, "v2": 0.0}
