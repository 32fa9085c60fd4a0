"""The newest outcomes of an experiment, page by page from the end of the log."""

import pytest

from app.domain.outcome import Outcome
from app.store import newest_outcomes
from app.store.newest_outcomes import NewestOutcomes
from app.store.outcomes import FeedbackLog
from tests.unit.monitor.small_log import SmallLog


@pytest.fixture
def log(database, monkeypatch):
    monkeypatch.setattr(newest_outcomes, "_PAGE", 3)
    return SmallLog(database)


def labelled(log, n, kind="actual"):
    rows = [log.served({"v1": 0, "v2": 1}) for _ in range(n)]
    log.log(*rows)
    log.give_all([(row, 1, kind) for row in rows])
    return [row.prediction_id for row in rows]


def ids(log, experiment, kind="actual"):
    pages = NewestOutcomes(log.database).pages(experiment, kind)
    return [row.prediction_id for page in pages for row, _ in page]


def test_they_are_of_one_experiment_and_one_kind_and_the_newest_comes_first(log):
    log.begin("one")
    first = labelled(log, 5)
    labelled(log, 2, "reward")
    log.begin("two")
    second = labelled(log, 4)
    assert ids(log, "one") == first[::-1]
    assert ids(log, "two") == second[::-1]
    assert len(ids(log, "one", "reward")) == 2
    assert ids(log, "none") == []


def test_what_is_older_than_the_experiment_is_not_read(log):
    log.begin("one")
    labelled(log, 30)
    log.begin("two")
    labelled(log, 3)
    assert len([*NewestOutcomes(log.database).pages("two", "actual")]) <= 3


def test_an_outcome_has_its_last_value(log):
    log.begin("one")
    [corrected, _] = labelled(log, 2)
    fact = log.signer.verify(corrected)
    FeedbackLog(log.database, log.clock).commit([[Outcome(corrected, "actual", 0, fact, corrected_by="ann")]])
    [page] = NewestOutcomes(log.database).pages("one", "actual")
    assert [outcome.present for _, outcome in page] == ["1", "0"]
