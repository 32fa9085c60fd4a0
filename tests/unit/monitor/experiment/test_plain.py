"""Plain events are projected as columns, to the state that comes of them one by one; see also `test_same_state.py`."""

import random
import tempfile
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from app.domain.experiment import CaseFacts, Configuration
from app.domain.log_event import PredictionLogged
from app.monitor.experiment import projection as module
from app.monitor.experiment.events import fact_of
from app.monitor.experiment.plain import Found, Plain
from app.monitor.experiment.projection import ExperimentProjection
from app.store.engine import Database
from tests.unit.monitor import small_log
from tests.unit.monitor.kinds_of_logs import TERMS, THREE, TWO, KindOfLog, compact


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
    [
        {"own_key": "order-1"},
        {"user": 7, "assignment": "sticky"},
        {"user": 7, "own_key": "order-1"},
        {"assignment": "forced"},
        {"propensity": 0.3},
        {"lacking": '["v2"]'},
    ],
)
def test_other_requests_are(log, options):
    assert decoded(log, **options).count(PredictionLogged) == 40


def test_a_count_that_is_new_is_begun_in_the_order_of_events(log):
    log.log(log.numbers(latency_us=5_000_000)(random.Random(1)))
    assert decoded(log) == [PredictionLogged]


def test_requests_of_users_and_their_labels_are_none(log):
    assert decoded(log, user=7) == []


def test_all_events_of_a_user_are_projected_one_by_one_where_one_is(log):
    decoded(log, user=7)
    case = log.numbers(latency_us=100, user=7, own_key="order-1")
    log.log(case(random.Random(1)))
    assert decoded(log, user=8) == [PredictionLogged]
    log.log(case(random.Random(2)))
    assert decoded(log, user=7).count(PredictionLogged) == 41


def nothing_plain(events, _configurations, opened, _totals):
    return Found({name: Plain() for name in opened}, np.arange(len(events)), {name: set() for name in opened})


USERS = st.fixed_dictionaries({"users": st.sampled_from([0, 3, 40]), "keys": st.sampled_from([0, 0, 30])})


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 999),
    rows=USERS,
    fails=st.sampled_from([0.0, 0.02]),
    split=st.sampled_from([TWO, THREE]),
    terms=st.fixed_dictionaries(
        {
            "unit": st.sampled_from(["auto", "auto", "user", "key", "row", None]),
            "metric": st.sampled_from(["accuracy", "accuracy", "balanced_accuracy", "brier"]),
            "equivalence_margin": st.sampled_from([None, 0.2]),
        }
    ),
    page=st.sampled_from([60, 3000]),
    share=st.sampled_from([None, 0.0]),
)
def test_the_state_is_that_of_events_one_by_one(tmp_path, monkeypatch, seed, rows, fails, split, terms, page, share):
    """Of random requests and labels: late, corrected and twice a prediction, of users and cases, in two experiments."""
    monkeypatch.setattr(small_log, "Configuration", partial(Configuration, cases=CaseFacts(share)))
    log = KindOfLog(Database(f"sqlite:///{tempfile.mkdtemp(dir=tmp_path)}/log.sqlite"))
    log.begin("one", weights=split, guardrail_slow="1.2x", **{**TERMS, **terms})
    options = {"latency_us": 100, "propensity": None, "fails": fails}
    log.write(seed, 230, repeated(log.numbers(tuple(split), **options, users=40)))
    log.write(seed + 1, 60, repeated(log.numbers(tuple(split), **options, **rows)))
    twice = [(row, 0.5, "reward") for row, _, _ in log.given[:9]]
    log.give_all(twice)
    log.correct(seed, 5)
    log.begin("two", weights=split, **{**TERMS, **terms})
    log.write(seed + 2, 20, repeated(log.numbers(tuple(split), **options, **rows)))
    states = both_ways(log, monkeypatch, page)
    assert states[0] == states[1]


@pytest.mark.parametrize(
    ("seed", "rows", "terms"),
    [
        (0, {}, {}),
        (1, {"users": 40}, {}),
        (2, {"keys": 9}, {}),
        (3, {"users": 200, "keys": 9}, {}),
        (4, {"users": 40, "keys": 9}, {"unit": "row"}),
        (5, {}, {"unit": "row"}),
        (6, {"users": 100, "fails": 0.02}, {"unit": "row"}),
    ],
)
def test_the_first_labels_begin_the_counts_in_the_order_of_events(tmp_path, monkeypatch, seed, rows, terms):
    log, rng = KindOfLog(Database(f"sqlite:///{tmp_path}/log.sqlite")), random.Random(seed)
    log.begin("one", weights=TWO, **{**TERMS, **terms})
    row = repeated(log.numbers(latency_us=100, **rows))
    served = [row(rng) for _ in range(700)]
    log.log(*served)
    log.give_all([(each, rng.randrange(3), "actual") for each in rng.sample(served, 300)])
    states = both_ways(log, monkeypatch, 3000)
    assert states[0] == states[1]


def repeated(row):
    """Rows as `row` makes them, most of which come again."""
    return lambda rng: replace(row(rng), features=compact([rng.randrange(4) / 2 for _ in range(3)]))


def both_ways(log, monkeypatch, page):
    """The states of a log with its plain events as columns, and with all one by one."""
    states = []
    for plain in (module.plain_of, nothing_plain):
        log.forget()
        with monkeypatch.context() as patched:
            patched.setattr(module, "plain_of", plain)
            log.process(ExperimentProjection(), batch_rows=page)
        states.append(log.derived())
    log.database.close()
    return states
