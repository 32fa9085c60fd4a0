"""Automatic promotion on traffic as it comes: labels that depend on the answer, late labels, versions that change."""

import random

import pytest

from app.monitor.experiment import comparisons
from app.monitor.experiment.projection import load_state
from app.monitor.experiment.state import plan_of
from tests.unit.monitor.experiment.memory_log import MemoryLog

CANARY, SHADOW, BALANCED = {"v1": 0.9, "v2": 0.1}, {"v1": 1.0, "v2": 0.0}, {"v1": 0.5, "v2": 0.5}
THREE = {"v1": 0.8, "v2": 0.1, "v3": 0.1}
ALIKE = {"v1": 0.6, "v2": 0.6}
REQUESTS, DELAY, EVERY = 150, 120, 30


def answers(rng, accuracies):
    """The true class is 0; a wrong answer is 1."""
    return {name: int(rng.random() >= accuracy) for name, accuracy in accuracies.items()}


def drawn(rng, weights):
    return rng.choices([*weights], [*weights.values()])[0]


def wrong_first(log, weights, rng, accuracies):
    """Wrong served answers are labelled at once, right ones `DELAY` requests later; in the end all are."""
    waiting = []
    for place in range(REQUESTS):
        row = log.serve(answers(rng, accuracies), drawn(rng, weights))
        served_right = f'"{row.version}": {{"c": 0}}' in row.answers
        if served_right:
            waiting.append((place + DELAY, row))
        else:
            log.label(row)
        while waiting and waiting[0][0] <= place:
            log.label(waiting.pop(0)[1])
        if place % EVERY == 0:
            log.look()
    while waiting:
        for _, row in waiting[:EVERY]:
            log.label(row)
        waiting = waiting[EVERY:]
        log.look()
    return log.promoted


@pytest.mark.parametrize("weights", [CANARY, SHADOW], ids=["90/10", "shadow"])
def test_labels_of_wrong_answers_first_promote_no_equal_version(weights, monkeypatch):
    monkeypatch.setattr(comparisons, "next_look", lambda n: 2 * n)  # the timeline's intervals take most of the time
    # At most 1 of 100 may be promoted; without the gate, or by the remembered verdict, nearly all are.
    logs = [MemoryLog(weights, alpha=0.01) for _ in range(16)]
    promoted = [wrong_first(log, weights, random.Random(seed), ALIKE) for seed, log in enumerate(logs)]
    assert promoted.count("v2") == 0
    assert sum(log.report().comparisons[0].verdict == "better" for log in logs) > 12


def test_a_better_challenger_is_promoted_at_90_10_once_its_disagreements_are_labelled():
    rng = random.Random(5)
    assert wrong_first(MemoryLog(CANARY), CANARY, rng, {"v1": 0.7, "v2": 0.9}) == "v2"


def test_only_the_better_of_two_challengers_is_promoted():
    rng = random.Random(6)
    assert wrong_first(MemoryLog(THREE), THREE, rng, {"v1": 0.6, "v2": 0.6, "v3": 0.9}) == "v3"


def served_in_turn(log, n, answers):
    """n requests of one kind, served by the versions in turn, as often as their weights say."""
    served = dict.fromkeys(log.last.weights, 0)
    rows = []
    for _ in range(n):
        version = max(served, key=lambda name: log.last.weights[name] * (len(rows) + 1) - served[name])
        served[version] += 1
        rows.append(log.serve(answers, version))
    return rows


def wins(log, n, labelled):
    """n requests that only v2 answers rightly, the first `labelled` of them with a label."""
    right = {name: int(name != "v2") for name in log.last.weights}
    for row in served_in_turn(log, n, right)[:labelled]:
        log.label(row)


def blocked_by_labels(log):
    """Whether nothing but the labels keeps the monitor from promoting."""
    reasons = log.report().comparisons[0].assumptions
    return log.look() is None and len(reasons) == 1 and "LABELS_EXOGENOUS" in reasons[0]


def test_at_50_50_a_person_may_promote_without_the_gate_and_the_monitor_may_not():
    log = MemoryLog(BALANCED)
    wins(log, 60, 20)
    assert blocked_by_labels(log)
    assert log.report().comparisons[0].gate_log_e < 0
    assert log.report().recommendation.action == "promote"


def test_after_any_split_but_50_50_the_gate_is_needed_for_good():
    log = MemoryLog(CANARY)
    log.serve({"v1": 0, "v2": 0}, "v1")
    log.split(BALANCED)
    wins(log, 60, 20)
    assert blocked_by_labels(log)


def test_a_third_version_with_traffic_is_no_50_50():
    log = MemoryLog({"v1": 0.4, "v2": 0.4, "v3": 0.2})
    wins(log, 60, 20)
    assert blocked_by_labels(log)


def test_labels_declared_exogenous_need_no_gate():
    log = MemoryLog(SHADOW, labels_exogenous=True)
    wins(log, 60, 20)
    assert log.look() == "v2"


def test_late_unlabelled_disagreements_block_a_promotion():
    log = MemoryLog(CANARY)
    wins(log, 20, 20)
    report = log.report()
    assert (report.recommendation.action, report.comparisons[0].assumptions) == ("promote", ())
    wins(log, 30, 0)
    report = log.report()
    assert report.recommendation.action == "continue"
    assert "label the remaining 30 disagreements" in report.recommendation.reason
    assert blocked_by_labels(log)


def losses(log, n):
    for row in served_in_turn(log, n, {"v1": 0, "v2": 1}):
        log.label(row)


@pytest.mark.parametrize(("lost", "action"), [(9, "continue"), (25, "investigate")])
def test_a_remembered_winner_is_not_promoted(lost, action):
    log = MemoryLog(SHADOW, labels_exogenous=True)
    wins(log, 15, 15)
    log.process()
    losses(log, lost)
    report = log.report()
    assert (report.comparisons[0].verdict, report.recommendation.action) == ("better", action)
    assert report.recommendation.reason.startswith("v2 was proven better than v1 after 15 labelled requests")
    assert log.look() is None


def test_a_version_that_was_worse_is_not_dropped_for_it():
    log = MemoryLog(SHADOW, labels_exogenous=True)
    losses(log, 15)
    assert log.report().recommendation.action == "keep"
    wins(log, 9, 9)
    assert (log.report().comparisons[0].verdict, log.report().recommendation.action) == ("worse", "continue")


def test_the_adjusted_evidence_of_the_moment_decides_among_several():
    log = MemoryLog(THREE, labels_exogenous=True)
    for row in served_in_turn(log, 9, {"v1": 1, "v2": 0, "v3": 1}):
        log.label(row)
    compared = {each.challenger: each for each in log.report().comparisons}
    # E of v2 is above 20, but the mean with the E of v3, which is 1, is not.
    assert compared["v2"].log_e > 3.0 > compared["v2"].adjusted_log_e
    assert log.look() is None


def test_an_automatic_promotion_waits_for_the_least_duration_of_the_logs_time():
    log = MemoryLog(BALANCED, min_duration_s=60)
    wins(log, 20, 20)
    assert log.report().recommendation.action == "promote"
    assert "EXPERIMENT_MIN_DURATION" in log.report().comparisons[0].assumptions[0]
    assert log.look() is None
    log.now_us += 60_000_000
    assert log.look() is None
    wins(log, 1, 1)
    assert log.look() == "v2"


def test_a_state_of_the_release_before_is_read():
    log = MemoryLog(BALANCED)
    wins(log, 3, 3)
    log.process()
    plan = plan_of(log.last)
    older = log.states["experiment/one"].replace(',"last_event_us":', ',"unknown":')
    assert older != log.states["experiment/one"]
    older = older.replace('"adjusted":', '"served":{"1":{"share":0.5}},"adjusted":')
    assert load_state(plan, older).last_event_us == 0


def test_without_a_row_the_log_covers_nothing_of_the_experiment():
    log = MemoryLog(BALANCED, min_duration_s=60.0)
    log.look()
    assert log.report().comparisons[0].assumptions[-1].startswith("the log covers 0 s of the experiment")
