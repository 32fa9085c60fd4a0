"""Plain events are projected as columns; what comes of it is in `test_same_state.py`."""

import random

import pytest

from app.domain.log_event import PredictionLogged
from app.monitor.experiment.events import fact_of
from app.monitor.experiment.projection import ExperimentProjection
from app.store.engine import Database
from tests.unit.monitor.kinds_of_logs import TERMS, TWO, KindOfLog


@pytest.fixture
def log(tmp_path):
    log = KindOfLog(Database(f"sqlite:///{tmp_path}/log.sqlite"))
    log.begin("one", weights=TWO, **TERMS)
    # Until it is known what is slow, and every count exists.
    log.write(1, 300, log.numbers(latency_us=100))
    log.process(ExperimentProjection(), batch_rows=100)
    yield log
    log.database.close()


def decoded(log, **options):
    """The events of further requests that are projected one by one."""
    found = []

    def decode(event, *known):
        found.append(type(event))
        return fact_of(event, *known)

    log.write(2, 40, log.numbers(latency_us=100, **options))
    log.process(ExperimentProjection(decode))
    return found


def test_requests_of_nobody_and_their_labels_are_no_single_events(log):
    assert decoded(log) == []


@pytest.mark.parametrize(
    "options",
    [{"own_key": "order-1"}, {"user": 7}, {"assignment": "forced"}, {"propensity": 0.3}, {"lacking": '["v2"]'}],
)
def test_other_requests_are(log, options):
    assert decoded(log, **options).count(PredictionLogged) == 40


def test_a_count_that_is_new_is_begun_in_the_order_of_events(log):
    log.log(log.numbers(latency_us=5_000_000)(random.Random(1)))
    assert decoded(log) == [PredictionLogged]
