"""Requests that lack a column of a version: another population, which must not tell two versions apart.

Unless a test says otherwise, half of the requests lack v2's column. v1 answers these alone, and does well there; on the
others the versions are equally good.
"""

import numpy as np
import pytest

from app.monitor.control.bandit import beliefs_of, next_weights
from app.monitor.experiment import comparisons
from app.monitor.experiment.splits import split_of
from app.routing.thompson import Beliefs
from tests.unit.monitor.experiment.memory_log import MemoryLog

BALANCED = {"v1": 0.5, "v2": 0.5}
THREE = {"v1": 0.4, "v2": 0.4, "v3": 0.2}
SEEDS = range(6)


@pytest.fixture(autouse=True)
def few_points_of_the_timeline(monkeypatch):
    monkeypatch.setattr(comparisons, "next_look", lambda n: 4 * n)


def drawn(chance, log, lacking=()):
    """A version by the split of those that have their columns."""
    weights = {name: weight for name, weight in log.last.weights.items() if name not in lacking}
    return str(chance.choice([*weights], p=np.array([*weights.values()]) / sum(weights.values())))


def serve(log, chance, answers=None, without="v2", share=0.5, version=None, **facts):
    """A request, which lacks the column of `without` with probability `share`; and whether it does."""
    lacks = bool(chance.random() < share)
    lacking = (without,) if lacks else ()
    answers = answers or dict.fromkeys(log.last.weights, 0)
    given = {name: answer for name, answer in answers.items() if name not in lacking}
    served = next(iter(given)) if lacks and len(given) == 1 else version or drawn(chance, log, lacking)
    return log.serve(given, served, lacking=lacking, **facts), lacks


def rewarded(log, chance, n, *, elsewhere=0.95, rates=(0.4, 0.4), users=None, versions=None, **options):
    """n requests with a reward for each; `elsewhere` is the rate where a column is absent."""
    for place in range(n):
        user = 0 if users is None else int(users[place]) + 1
        version = None if versions is None else str(versions[user - 1])
        row, lacks = serve(log, chance, user=user, version=version, **options)
        rate = elsewhere if lacks else rates[row.version == "v2"]
        log.reward(row, float(chance.random() < rate))
        if place % 100 == 0 and log.winner():
            break
    return log


def winners(logs):
    return sum(log.winner() is not None for log in logs)


def check(log, name):
    return next(each for each in log.report().checks if each.name == name)


def experiments(**options):
    return ((MemoryLog(BALANCED, **options), np.random.default_rng([15, seed])) for seed in SEEDS)


def test_rewards_elsewhere_make_no_winner():
    logs = [rewarded(log, chance, 800) for log, chance in experiments(metric="reward")]
    assert winners(logs) == 0
    assert all(check(log, name).ok for log in logs for name in ("sample_ratio", "label_rate"))
    pair = logs[0].state().pairs["v2"]
    assert (pair.method.n, pair.apart) == (pytest.approx(400, abs=60), pytest.approx(400, abs=60))
    assert pair.method.n + pair.apart == 800


def test_a_better_version_still_wins_on_the_requests_that_both_could_answer():
    logs = [rewarded(log, chance, 800, rates=(0.3, 0.7)) for log, chance in experiments(metric="reward")]
    assert [log.winner() for log in logs] == ["v2"] * len(SEEDS)
    assert all(log.state().pairs["v2"].adjusted.side > 0 for log in logs)


def test_rewards_of_sticky_users_who_send_both_make_no_winner():
    logs = []
    for log, chance in experiments(metric="reward", policy="sticky"):
        versions = np.where(chance.random(400) < 0.5, "v1", "v2")
        logs.append(rewarded(log, chance, 1200, users=chance.integers(0, 400, 1200), versions=versions))
    assert winners(logs) == 0
    for log in logs:
        assert log.state().moved_users == 0
        assert check(log, "sample_ratio").ok
        assert check(log, "label_rate").ok
        # Nearly every user has sent a complete request, and is known by the first of them.
        assert sum(tally.users for tally in log.state().versions.values()) > 280


def test_rewards_of_users_with_one_vote_make_no_winner():
    logs = [
        rewarded(log, chance, 1200, users=np.repeat(np.arange(400), 3))
        for log, chance in experiments(metric="reward", policy="bandit")
    ]
    assert winners(logs) == 0
    # The first request of a user that both could answer votes, whatever came before it.
    assert all(log.state().pairs["v2"].method.n > 300 for log in logs)


def test_rewards_with_a_window_make_no_winner():
    logs = []
    for log, chance in experiments(metric="reward", tick_s=0.0, reward_window_s=60.0):
        for second in range(800):
            log.at(second)
            row, lacks = serve(log, chance)
            if chance.random() < (0.95 if lacks else 0.4):
                log.reward(row, 1.0)
        log.at(2000)
        log.heartbeat()
        logs.append(log)
    assert winners(logs) == 0
    pair = logs[0].state().pairs["v2"]
    assert pair.method.n + pair.apart == 800


def labelled(log, chance, n, *, elsewhere):
    """n requests, half of which lack v2's column; those are labelled less often and v1 is right, or are not sent."""
    for _ in range(n):
        wrong = (chance.random(2) < 0.4).astype(int).tolist()
        lacks, drawn_one, comes = chance.random() < 0.5, drawn(chance, log), chance.random() < 0.3
        if not lacks:
            log.label(log.serve({"v1": wrong[0], "v2": wrong[1]}, drawn_one))
        elif elsewhere:
            row = log.serve({"v1": wrong[0]}, "v1", lacking=("v2",))
            if comes:
                log.label(row, value=wrong[0])
    return log


def test_labels_elsewhere_change_nothing_of_the_evidence():
    for (log, chance), (alone, same) in zip(experiments(), experiments(), strict=True):
        state = labelled(log, chance, 800, elsewhere=True).state()
        expected = labelled(alone, same, 800, elsewhere=False).state()
        found, wanted = state.pairs["v2"], expected.pairs["v2"]
        assert (found.method, found.adjusted) == (wanted.method, wanted.adjusted)
        assert (found.firsts, found.gate, found.both) == (wanted.firsts, wanted.gate, wanted.both)
        assert (state.sample_ratio, state.label_rate) == (expected.sample_ratio, expected.label_rate)
        assert found.apart > 300


def test_a_version_that_lacks_a_column_has_not_failed():
    log, chance = MemoryLog(BALANCED), np.random.default_rng(1)
    for _ in range(200):
        log.label(serve(log, chance)[0])
    pair = log.state().pairs["v2"]
    assert (pair.asked, pair.both, pair.missing, pair.outcomes) == (200 - pair.apart,) * 2 + (0, 200 - pair.apart)
    assert log.report().comparisons[0].missing == 0


def test_requests_elsewhere_cross_no_guardrail():
    for log, chance in experiments():
        for _ in range(800):
            lacks = chance.random() < 0.5
            lacking, version = (("v2",), "v1") if lacks else ((), drawn(chance, log))
            latency = int((9000 if lacks and chance.random() < 0.5 else 100) * np.exp(chance.normal(0, 0.1)))
            log.serve({"v1": 0} | ({} if lacks else {"v2": 0}), version, lacking=lacking, latency_us=latency)
        assert log.crossed() == set()
        assert log.state().pairs["v2"].slow.epochs == {}


def test_errors_elsewhere_cross_no_guardrail():
    log = MemoryLog(THREE)
    for _ in range(200):
        # v1 fails, also on requests that v2 could not have been drawn for.
        log.serve({"v3": 0}, "v3", chosen="v1", failed=["v1"], lacking=("v2",))
        log.serve({"v2": 0, "v3": 0}, "v2", chosen="v1", failed=["v1"])
    errors = log.state().pairs["v2"].errors
    assert [counted.events for counted in errors.epochs.values()] == [200]


def test_a_broken_split_is_found_among_the_requests_that_all_could_answer():
    log, chance = MemoryLog(BALANCED), np.random.default_rng(2)
    for _ in range(600):
        serve(log, chance, version="v1" if chance.random() < 0.8 else "v2")
    assert check(log, "sample_ratio").ok is False


@pytest.mark.parametrize(("first", "ok"), [(0.5, True), (0.8, False)])
def test_the_split_of_the_others_is_checked_where_a_third_version_lacks_its_column(first, ok):
    log, chance = MemoryLog(THREE), np.random.default_rng(3)
    for _ in range(600):
        serve(log, chance, without="v3", share=1.0, version="v1" if chance.random() < first else "v2")
    found = check(log, "sample_ratio")
    assert (found.ok, found.detail) == (ok, "600 events in 1 split")


def test_two_versions_are_compared_where_a_third_lacks_its_column():
    log, chance = MemoryLog(THREE, metric="reward"), np.random.default_rng(4)
    for _ in range(600):
        row, lacks = serve(log, chance, without="v3", share=0.9)
        log.reward(row, float(chance.random() < (0.9 if lacks else 0.2)))
    state = log.state()
    assert state.pairs["v2"].method.n > 500
    assert state.pairs["v3"].method.n < 60
    assert log.winner() is None
    assert state.versions["v1"].apart > 200


def test_the_bandit_goes_by_the_requests_that_all_could_answer():
    log, chance = MemoryLog(BALANCED, metric="reward", policy="thompson"), np.random.default_rng(5)
    for _ in range(1200):
        row, lacks = serve(log, chance, assignment="bandit")
        log.reward(row, float(chance.random() < (1.0 if lacks else 0.5)))
    by_name = {variant.version: variant for variant in log.report().variants}
    assert by_name["v1"].mean > 0.75 > 0.55 > by_name["v2"].mean
    assert by_name["v1"].comparable_mean == pytest.approx(0.5, abs=0.08)
    assert by_name["v1"].comparable + by_name["v2"].comparable == 1200 - log.state().pairs["v2"].apart
    weights = next_weights(log.last, tuple(by_name.values()))
    assert weights is None or 0.02 < weights["v2"] < 0.98


def test_the_bandit_counts_every_answer_whose_window_has_closed():
    log = MemoryLog(BALANCED, metric="reward", policy="thompson", tick_s=1.0, reward_window_s=5.0)
    for place in range(40):
        row = log.serve({"v1": 0, "v2": 0}, "v1" if place % 2 else "v2", assignment="bandit")
        if place < 4:
            log.reward(row, 1.0)
    log.at(1000)
    log.heartbeat()
    variants = log.report().variants
    assert [(each.rewards, each.comparable, each.comparable_mean) for each in variants] == [(2, 20, 0.1), (2, 20, 0.1)]
    assert beliefs_of(variants[0], log.last.terms) == Beliefs(successes=2.0, failures=18.0)


def test_the_report_says_in_which_share_of_the_requests_a_version_could_take_part():
    log = MemoryLog(BALANCED)
    for place in range(100):
        lacks, version = place % 4 == 0, "v2" if place % 4 == 1 else "v1"
        row = log.serve({"v1": 0} if lacks else {"v1": 0, "v2": 0}, version, lacking=("v2", "v9") if lacks else ())
        log.label(row)
    log.serve({"v2": 0}, "v2", assignment="forced", lacking=("v1",))
    report = log.report()
    assert [variant.answerable_share for variant in report.variants] == [1.0, 0.75]
    assert report.recommendation.reason.endswith("; only 75 % of the requests have every column that the two read")
    [compared] = report.comparisons
    assert compared.warnings[0].startswith("75 % of the requests have every column that v2 and v1 read, and only these")
    assert compared.assumptions[0].startswith("25 % of the requests lack a column of v2 or v1")


def test_the_report_says_that_no_request_has_a_versions_column():
    log = MemoryLog(BALANCED)
    for _ in range(10):
        log.label(log.serve({"v1": 0}, "v1", lacking=("v2",)))
    report = log.report()
    assert [variant.answerable_share for variant in report.variants] == [1.0, 0.0]
    assert report.recommendation.reason == (
        "nothing is known about v2 against v1: no request has every column that the two read, so they could not both "
        "take part in any"
    )


def test_before_the_first_request_no_share_is_known():
    log = MemoryLog(BALANCED)
    log.serve({"v1": 0}, "v1", assignment="forced")
    assert [variant.answerable_share for variant in log.report().variants] == [None, None]


@pytest.mark.parametrize("terms", [{}, {"metric": "reward"}, {"metric": "reward", "reward_window_s": 30.0}])
@pytest.mark.parametrize("policy", ["weighted", "sticky"])
def test_the_state_does_not_depend_on_the_batches(terms, policy):
    log, chance = MemoryLog(THREE, policy=policy, **terms), np.random.default_rng(7)
    for place in range(150):
        version = None if policy == "weighted" else drawn(chance, log)
        without = "v2" if place % 3 else "v3"
        version = None if version == without else version
        row, _ = serve(log, chance, without=without, share=0.4, version=version, user=place % 20 + 1)
        log.reward(row, 0.5) if terms else log.label(row)
    log.process()
    assert log.replayed([]).all() == log.derived.all()
    assert log.replayed(sorted(chance.choice(300, 40, replace=False).tolist())).all() == log.derived.all()


def test_a_split_without_a_version_has_the_shares_of_the_others():
    split = split_of(7, THREE, {"v3", "v9"})
    assert (split.is_reduced, split.is_drawn, split.shares) == (True, True, {"v1": 0.5, "v2": 0.5})
    assert -(2**63) <= split.number < 0
    assert split.number == split_of(7, THREE, {"v3"}).number
    assert split.number not in {split_of(8, THREE, {"v3"}).number, split_of(7, THREE, {"v2"}).number}


def test_a_split_is_the_revisions_own_where_no_version_with_traffic_is_missing():
    shadow = {"v1": 1.0, "v2": 0.0}
    assert split_of(7, shadow, {"v2", "v9"}) == (7, shadow)
    assert split_of(7, shadow, {"v2"}).is_drawn


def test_a_split_of_one_version_is_no_draw():
    assert not split_of(7, BALANCED, {"v2"}).is_drawn
