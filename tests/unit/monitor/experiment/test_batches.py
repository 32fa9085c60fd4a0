"""However the log is cut into batches, the derived state is the same to the last bit."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.experiment import CaseFacts, CovariateColumn
from tests.unit.monitor.experiment.memory_log import MemoryLog

ANSWER = st.sampled_from([0, 1, None, "failed"])
# What happens next: a request; an outcome of an earlier request, by its number from the end; time; another split.
REQUEST = st.tuples(
    st.just("request"),
    st.tuples(ANSWER, ANSWER, ANSWER),
    st.sampled_from([0, 0, 1, 2]),
    st.sampled_from([None, None, "a", "b"]),
    st.sampled_from(["[0.5]", "[1.5]", "[2.5]"]),
    st.sampled_from(["logged", "logged", "late"]),
    st.sampled_from([100, 100_000]),
)
OUTCOME = st.tuples(st.just("outcome"), st.integers(0, 12), st.sampled_from([0.0, 0.25, 1.0]))
LATE = st.tuples(st.just("log"))
TIME = st.tuples(st.just("time"), st.sampled_from([1, 20, 90]), st.booleans())
SPLIT = st.tuples(st.just("split"), st.sampled_from([0.0, 0.3, 0.5]))
STREAM = st.lists(st.one_of(REQUEST, REQUEST, OUTCOME, OUTCOME, OUTCOME, LATE, TIME, SPLIT), max_size=60)

CASES = CaseFacts(repeated_share=0.0, covariates=(CovariateColumn(0, 1.5, 1.0),))
EXPERIMENTS = {
    "labels": {},
    "labels, row units": {"unit": "row"},
    "labels, as the release before": {"unit": None},
    "labels, sticky": {"policy": "sticky"},
    "labels, margins": {"equivalence_margin": 0.1, "min_effect": 0.05, "labels_exogenous": True},
    "rewards": {"metric": "reward"},
    "rewards, sticky": {"metric": "reward", "policy": "sticky"},
    "rewards, triggered": {"metric": "reward", "reward_triggered": True},
    "rewards, windows": {"metric": "reward", "reward_window_s": 60.0},
    "rewards, windows, triggered": {"metric": "reward", "reward_window_s": 60.0, "reward_triggered": True},
    "rewards without a range": {"metric": "reward", "reward_range": None},
}
WEIGHTS = {"v1": 0.4, "v2": 0.3, "v3": 0.3}


def served(log, answers, user, key, features, latency_us):
    """An answer of the first version that gave one; None where none did."""
    given_answers = {f"v{place}": answer for place, answer in enumerate(answers, 1) if answer in (0, 1)}
    if not given_answers:
        return None
    failed = [f"v{place}" for place, answer in enumerate(answers, 1) if answer == "failed"]
    version = [*given_answers][-1]
    chosen = failed[0] if failed and user == 1 else version
    facts = {"user": user, "key": key, "features": features, "failed": failed, "latency_us": latency_us}
    return log.answer(given_answers, version, chosen=chosen, **facts)


def played(stream, experiment):
    """The log of a stream; feedback is by turns of a request's only kind, and no request has two outcomes."""
    log = MemoryLog(WEIGHTS, cases=CASES, **experiment)
    open_rows, late, rewards = [], [], experiment.get("metric") == "reward"
    for kind, *facts in stream:
        if kind == "request":
            answers, user, key, features, place, latency_us = facts
            row = served(log, answers, user, key, features, latency_us)
            if row is not None:
                open_rows.append(row)
                late.append(row) if place == "late" else log.log(row)
        elif kind == "outcome" and facts[0] < len(open_rows):
            row = open_rows.pop(-1 - facts[0])
            log.reward(row, facts[1]) if rewards else log.label(row, int(facts[1] == 1))
        elif kind == "log" and late:
            log.log(late.pop(0))
        elif kind == "time":
            log.now_us += facts[0] * 1_000_000
            if facts[1]:
                log.heartbeat()
        elif kind == "split":
            log.split({"v1": 0.7 - facts[0], "v2": facts[0], "v3": 0.3})
    return log


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)
@settings(max_examples=25, deadline=None)
@given(stream=STREAM, cuts=st.lists(st.integers(1, 59), max_size=6))
def test_batches_change_nothing(experiment, stream, cuts):
    log = played(stream, experiment)
    whole = log.replayed([])
    assert log.replayed([cut for cut in cuts if cut < len(log.entries)]).all() == whole.all()
    assert log.replayed(range(1, len(log.entries))).all() == whole.all()


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)
@settings(max_examples=10, deadline=None)
@given(stream=STREAM)
def test_any_log_has_a_report(experiment, stream):
    report = played(stream, experiment).report()
    assert {each.challenger for each in report.comparisons} == {"v2", "v3"}


@pytest.mark.parametrize("terms", [{}, {"reward_window_s": 90.0}], ids=["at once", "windows"])
def test_a_log_with_regressions_is_the_same_in_any_batches(terms):
    rng = random.Random(3)
    log = MemoryLog(WEIGHTS, cases=CASES, metric="reward", **terms)
    for _ in range(250):
        number = rng.choice([0.5, 1.5, 2.5])
        row = log.serve(
            {"v1": 0, "v2": 1, "v3": 0}, rng.choice([*WEIGHTS]), features=f"[{number}]", user=rng.randrange(99)
        )
        if rng.random() < 0.9:
            log.reward(row, number / 2.5 if rng.random() < 0.9 else 0.0)
    whole = log.replayed([])
    for batches in (2, 9, 60):
        assert log.replayed(rng.sample(range(1, len(log.entries)), batches)).all() == whole.all()
