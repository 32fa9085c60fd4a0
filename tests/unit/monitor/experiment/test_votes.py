"""Which outcomes vote, and for whom: units, missing answers, reward windows, checks and guardrails, rule by rule."""

import json

import msgspec
import numpy as np
import pytest

from app.domain.experiment import CaseFacts
from app.scoring.brier import brier
from app.stats import paired_interval, paired_numeric, robust, two_sample
from app.stats.paired import PairedSummary
from app.stats.two_sample import Outcomes
from tests.unit.monitor.experiment.memory_log import MemoryLog
from tests.unit.monitor.experiment.scenarios import BALANCED, CANARY, DISTINCT, SHADOW

# The true class is 0. Which version alone is right:
WON, LOST, SAME = {"v1": 1, "v2": 0}, {"v1": 0, "v2": 1}, {"v1": 0, "v2": 0}
THREE = {"v1": 0.4, "v2": 0.3, "v3": 0.3}
HOUR_S = 3600.0


def compared(log):
    """The report's comparison of v2."""
    return log.report().comparisons[0]


def labelled(log, *requests):
    """Requests (answers, facts) that v1 serves, each labelled at once."""
    for answers, facts in requests:
        log.label(log.serve(answers, "v1", **facts))
    return log


def rows_repeat(share):
    """The facts of a reference of which this share of the rows stands in it more than once."""
    return {"cases": CaseFacts(repeated_share=share)}


ONE, OTHER = {"features": "[1.5]"}, {"features": "[2.5]"}


@pytest.mark.parametrize(
    ("experiment", "requests", "votes"),
    [
        pytest.param({}, [(WON, {}), (LOST, {})], (2, 1, 1), id="requests without a name"),
        pytest.param({}, [(WON, {"user": 7}), (LOST, {"user": 7})], (1, 1, 0), id="a user once"),
        pytest.param({}, [(SAME, {"user": 7}), (LOST, {"user": 7})], (1, 0, 0), id="a user's tie is the vote"),
        pytest.param({}, [(WON, {"user": 7}), (LOST, {"user": 8})], (2, 1, 1), id="two users"),
        pytest.param({}, [(WON, {"key": "a"}), (LOST, {"key": "a"})], (1, 1, 0), id="a retry"),
        pytest.param({}, [(WON, {"key": "a"}), (LOST, {"key": "b"})], (2, 1, 1), id="two keys"),
        pytest.param({}, [(WON, {"key": "a", "user": 7}), (LOST, {"key": "b", "user": 7})], (1, 1, 0), id="user, keys"),
        pytest.param({}, [(WON, {"key": "a", "user": 7}), (LOST, {"key": "a", "user": 8})], (1, 1, 0), id="key, users"),
        pytest.param({}, [(WON, {"key": "a", "user": 7}), (LOST, {"key": "a"})], (1, 1, 0), id="key, user left out"),
        pytest.param(rows_repeat(0.02), [(WON, ONE), (LOST, ONE), (LOST, OTHER)], (2, 1, 1), id="rows"),
        pytest.param(rows_repeat(0.021), [(WON, ONE), (LOST, ONE)], (2, 1, 1), id="rows that may be other cases"),
        pytest.param(rows_repeat(None), [(WON, ONE), (LOST, ONE)], (2, 1, 1), id="rows of which nothing is known"),
        pytest.param(
            rows_repeat(0.0), [(WON, ONE | {"key": "a"}), (LOST, ONE | {"key": "b"})], (2, 1, 1), id="keys before rows"
        ),
        pytest.param(
            {"unit": "request"}, [(WON, {"user": 7}), (LOST, {"user": 7})], (2, 1, 1), id="unit request, one user"
        ),
        pytest.param(
            {"unit": "request"}, [(WON, {"key": "a"}), (LOST, {"key": "a"})], (1, 1, 0), id="unit request, a retry"
        ),
        pytest.param(
            {"unit": "row"}, [(WON, ONE | {"user": 7}), (LOST, ONE | {"user": 8})], (1, 1, 0), id="unit row, two users"
        ),
        pytest.param(
            {"unit": "key"}, [(WON, {"key": "a", "user": 7}), (LOST, {"key": "b", "user": 7})], (2, 1, 1), id="unit key"
        ),
        pytest.param(
            {"unit": None}, [(WON, {"user": 7}), (LOST, {"user": 7})], (2, 1, 1), id="begun by the release before"
        ),
    ],
)
def test_a_unit_votes_once(experiment, requests, votes):
    found = compared(labelled(MemoryLog(BALANCED, **experiment), *requests))
    assert (found.units, found.wins, found.losses) == votes
    assert found.n == len(requests)


@pytest.mark.parametrize(("order", "votes"), [((0, 1), (1, 0)), ((1, 0), (0, 1))])
def test_the_outcome_that_votes_is_the_first_labelled_one(order, votes):
    log = MemoryLog(BALANCED)
    rows = [log.serve(answers, "v1", user=7) for answers in (WON, LOST)]
    for place in order:
        log.label(rows[place])
    assert (compared(log).wins, compared(log).losses) == votes


def test_an_outcome_without_its_row_waits_and_votes_when_it_is_joined():
    log = MemoryLog(BALANCED)
    late = log.answer(LOST, "v1", user=7)
    log.label(late)
    labelled(log, (WON, {"user": 7}))
    log.log(late)
    assert (compared(log).units, compared(log).wins, compared(log).losses) == (1, 1, 0)


@pytest.mark.parametrize("kind", ["label", "reward"])
@pytest.mark.parametrize("is_early", [False, True])
def test_neither_a_synthetic_row_nor_what_is_later_said_of_it_counts(kind, is_early):
    log = MemoryLog(BALANCED, metric="accuracy" if kind == "label" else "reward")
    row, feedback = log.answer(WON, "v1", synthetic=True, key="a", user=7), getattr(log, kind)
    for step in (feedback, log.log) if is_early else (log.log, feedback):
        step(row, 1) if step is feedback else step(row)
    log.process()
    versions = json.loads(log.states["experiment/one"])["versions"].values()
    counts = ("requests", "labelled", "rewards", "forced_requests", "forced_labelled", "forced_rewards")
    assert not any(version.get(count) for version in versions for count in counts)
    assert compared(log).n == 0
    feedback(log.serve(WON, "v1", key="a", user=7), 1)
    assert compared(log).n == 1


@pytest.mark.parametrize(("policy", "units"), [("sticky", 0), ("weighted", 1)])
def test_only_a_sticky_user_of_two_versions_is_excluded(policy, units):
    log = MemoryLog(BALANCED, policy=policy, metric="reward")
    rows = [log.serve(SAME, version, user=7) for version in ("v1", "v2")]
    for row in rows:
        log.reward(row, 1.0)
    assert compared(log).units == units


@pytest.mark.parametrize("facts", [{"user": 7}, {"key": "a"}])
def test_the_reward_that_votes_is_that_of_the_units_first_answer(facts):
    log = MemoryLog(BALANCED, metric="reward")
    first, second = (log.serve(SAME, version, **facts) for version in ("v1", "v2"))
    # Which reward is told first may depend on the version; which answer came first does not.
    log.reward(second, 1.0)
    assert compared(log).units == 0
    log.reward(first, 0.0)
    log.reward(log.serve(SAME, "v2"), 1.0)
    assert_entered(log, (False, 0.0), (True, 1.0))


def test_distinct_rows_are_those_of_the_votes_on_which_one_version_was_alone_right():
    log = MemoryLog(BALANCED)
    labelled(log, *[(LOST, ONE)] * 5, (LOST, OTHER), (SAME, {"features": "[3.5]"}))
    assert (compared(log).losses, compared(log).distinct_rows) == (6, 2)


# Missing answers


@pytest.mark.parametrize(
    ("answers", "failed", "votes", "missing"),
    [
        pytest.param({"v1": 0, "v3": 0}, ["v2"], (1, 0, 1), 1, id="it failed where the baseline was right"),
        pytest.param({"v1": 1, "v3": 0}, ["v2"], (1, 0, 0), 1, id="it failed where the baseline was wrong"),
        pytest.param({"v2": 0, "v3": 0}, ["v1"], (1, 1, 0), 0, id="the baseline failed"),
        pytest.param({"v3": 0}, ["v1", "v2"], (1, 0, 0), 1, id="both failed"),
        pytest.param({"v1": 0, "v3": 0}, [], (0, 0, 0), 0, id="it was not asked"),
    ],
)
def test_a_missing_answer_is_wrong(answers, failed, votes, missing):
    log = MemoryLog(THREE)
    log.label(log.serve(answers, "v3", failed=failed))
    found = compared(log)
    assert ((found.units, found.wins, found.losses), found.missing) == (votes, missing)


def test_a_missing_answer_has_the_worst_loss_of_a_declared_range():
    log = MemoryLog(BALANCED, metric="brier")
    log.label(log.serve({"v1": {"c": 0, "p": [0.8, 0.2]}}, "v1", failed=["v2"]))
    loss = brier(np.array([[0.8, 0.2]]), np.array([0]))[0]
    expected = paired_numeric.update(paired_numeric.initial(), np.array([(loss - 2.0) / 2.0]))
    assert compared(log).difference == pytest.approx(2 * paired_numeric.difference(expected))


def test_without_a_range_a_row_without_an_answer_is_left_out_and_counted():
    log = MemoryLog(BALANCED, metric="absolute_error")
    log.label(log.serve({"v1": 2.0, "v2": 2.5}, "v1"), 1.0)
    log.label(log.serve({"v1": 2.0}, "v1", failed=["v2"]), 1.0)
    assert (compared(log).units, compared(log).missing, compared(log).difference) == (1, 1, -0.5)


def test_the_mean_over_all_rows_counts_a_missing_answer_as_wrong():
    log = labelled(MemoryLog(SHADOW), (SAME, {}), ({"v1": 0}, {"failed": ["v2"]}))
    assert [each.mean_all for each in log.report().variants] == [1.0, 0.5]


def test_more_missing_answers_than_one_in_a_hundred_block_an_automatic_promotion():
    log = MemoryLog(SHADOW, labels_exogenous=True)
    labelled(log, *[(WON, {"features": f"[{place}]"}) for place in range(60)])
    assert compared(log).assumptions == ()
    labelled(log, *[({"v1": 1}, {"failed": ["v2"]})] * 2)
    assert len(compared(log).assumptions) == 1
    assert log.look() is None


def test_wins_that_come_from_few_rows_block_an_automatic_promotion():
    log = MemoryLog(SHADOW, labels_exogenous=True)
    labelled(log, *[(WON, {"features": f"[{place % 25}]"}) for place in range(50)])
    assert compared(log).assumptions == ("the 50 wins come from 25 different rows: one case may be counted many times",)
    assert (compared(log).verdict, log.look()) == ("better", None)


def test_the_reward_of_a_fallback_belongs_to_the_version_that_was_chosen():
    log = MemoryLog(BALANCED, metric="reward")
    log.reward(log.serve(SAME, "v1"), 0.0)
    log.reward(log.serve({"v1": 0}, "v1", chosen="v2", failed=["v2"]), 1.0)
    outcomes = Outcomes(np.array([False, True]), np.array([0.0, 1.0]), np.full(2, 0.5))
    expected = two_sample.update(two_sample.initial(), outcomes)
    assert compared(log).log_e == pytest.approx(two_sample.log_e(expected), abs=1e-12)


def test_in_windows_the_answer_of_a_fallback_belongs_to_the_version_that_was_chosen():
    log = windowed()
    answered(log, 0, "v1")
    log.at(1)
    row = log.serve({"v1": 0}, "v1", chosen="v2", failed=["v2"])
    rewarded(log, 2, row)
    log.at(2 * HOUR_S)
    log.heartbeat()
    assert_entered(log, (False, 0.0), (True, 1.0))


# Labels that are missing


@pytest.mark.parametrize("facts", [{"user": 7}, {"key": "a"}])
def test_the_gate_takes_a_units_first_disagreement_labelled_or_not(facts):
    log = MemoryLog(CANARY)
    log.serve(WON, "v1", **facts)
    labelled(log, (WON, facts))
    found = compared(log)
    assert (found.wins, found.unlabelled_disagreements) == (1, 1)
    assert found.gate_log_e == pytest.approx(robust.log_e(PairedSummary(0, 0, 0), 1))


def test_a_missing_answer_without_a_label_counts_against_the_challenger_in_the_gate():
    log = labelled(MemoryLog(SHADOW), *[(WON, {})] * 3)
    log.serve({"v1": 0}, "v1", failed=["v2"])
    assert compared(log).gate_log_e == pytest.approx(robust.log_e(PairedSummary(3, 0, 0), 1))


def test_where_all_disagreements_are_labelled_agreements_need_no_label():
    log = MemoryLog(BALANCED)
    for _ in range(90):
        log.serve(SAME, "v1")
    labelled(log, *[(WON, {})] * 8, *[(LOST, {})] * 2)
    found = compared(log)
    assert found.improvement == pytest.approx(0.06)
    assert found.interval == pytest.approx(paired_interval.interval(PairedSummary(8, 2, 90), 0.05))


# Reward windows


def windowed(seconds=HOUR_S):
    """An experiment on rewards; its clock is set by hand."""
    return MemoryLog(BALANCED, metric="reward", tick_s=0.0, reward_window_s=seconds)


def answered(log, second, version, **facts):
    """An answer at this second."""
    log.at(second)
    return log.serve(SAME, version, **facts)


def rewarded(log, second, row, value=1.0):
    """A reward at this second."""
    log.at(second)
    log.reward(row, value)


def assert_entered(log, *outcomes):
    """What has entered the comparison of v2, in order: (the challenger's, value)."""
    arms, values = (np.array(column) for column in zip(*outcomes, strict=True))
    expected = two_sample.update(two_sample.initial(), Outcomes(arms, values, np.full(len(arms), 0.5)))
    found = compared(log)
    assert found.units == len(outcomes)
    assert found.log_e == pytest.approx(two_sample.log_e(expected), abs=1e-12)


def test_an_answer_enters_with_its_reward_or_zero_when_its_window_has_closed():
    log = windowed()
    first, _none, third = (answered(log, second, version) for second, version in ((0, "v1"), (1, "v2"), (2, "v2")))
    rewarded(log, 5, third)
    rewarded(log, 6, first)
    assert compared(log).units == 0
    log.at(HOUR_S + 3)
    log.heartbeat()
    assert_entered(log, (False, 1.0), (True, 0.0), (True, 1.0))


def test_any_event_closes_the_windows_before_it_and_no_event_closes_none():
    log = windowed()
    answered(log, 0, "v1")
    answered(log, 1, "v2")
    log.at(10 * HOUR_S)
    assert compared(log).units == 0
    answered(log, HOUR_S + 1, "v2")
    assert compared(log).units == 1
    answered(log, HOUR_S + 1.000001, "v2")
    assert_entered(log, (False, 0.0), (True, 0.0))


@pytest.mark.parametrize(("second", "value"), [(HOUR_S, 1.0), (HOUR_S + 0.000001, 0.0)])
def test_a_reward_counts_up_to_the_last_moment_of_its_window(second, value):
    log = windowed()
    row = answered(log, 0, "v2")
    rewarded(log, second, row)
    rewarded(log, second, answered(log, second, "v1"), 1.0)
    log.at(3 * HOUR_S)
    log.heartbeat()
    assert_entered(log, (True, value), (False, 1.0))
    assert {each.version: each.rewards for each in log.report().variants} == {"v1": 1, "v2": 1}


def test_a_row_that_is_logged_after_its_window_takes_the_reward_that_came_within():
    log = windowed()
    log.at(0)
    late = log.answer(SAME, "v2")
    rewarded(log, 10, late)
    log.at(2 * HOUR_S)
    log.log(late)
    log.at(2 * HOUR_S + 1)
    log.heartbeat()
    answered(log, 2 * HOUR_S + 2, "v1")
    log.at(4 * HOUR_S)
    log.heartbeat()
    assert_entered(log, (True, 1.0), (False, 0.0))


def test_in_windows_a_unit_is_its_first_answer():
    log = windowed()
    answered(log, 0, "v1", user=7)
    again = answered(log, 1, "v2", user=7)
    rewarded(log, 2, again)
    answered(log, 3, "v2", user=8)
    log.at(2 * HOUR_S)
    log.heartbeat()
    assert_entered(log, (False, 0.0), (True, 0.0))


# Checks and guardrails


def label_rate_of(log):
    return next(each for each in log.report().checks if each.name == "label_rate")


def test_labels_at_other_weights_than_configured_are_no_part_of_the_label_rate():
    log = MemoryLog(SHADOW)
    log.label(log.serve(SAME, "v2", propensity=0.5))
    log.label(log.serve(SAME, "v1", propensity=0.5))
    assert label_rate_of(log).ok is not False
    labelled(log, *[(SAME, {})] * 40)
    assert label_rate_of(log).ok


@pytest.mark.parametrize(("unit", "crossed"), [("auto", set()), (None, {"v2"})])
def test_while_a_version_is_shut_off_it_has_no_errors_of_its_own(unit, crossed):
    log = MemoryLog(BALANCED, unit=unit)
    for _ in range(60):
        log.serve(SAME, "v1", chosen="v2")
    # Rows of the release before do not say whether the version was asked.
    assert log.crossed() == crossed
    assert log.state().versions["v2"].errors == 60


@pytest.mark.parametrize("policy", ["sticky", "weighted", "thompson"])
def test_a_fault_that_one_user_meets_again_and_again_is_one_event(policy):
    log = MemoryLog(BALANCED, policy=policy)
    for user in range(2, 62):
        log.serve({"v1": 0}, "v1", chosen="v2", failed=["v2"], user=1)
        log.serve(SAME, "v1", user=user)
    assert log.crossed() == set()
    for user in range(2, 62):
        log.serve({"v1": 0}, "v1", chosen="v2", failed=["v2"], user=user)
    assert log.crossed() == {"v2"}


@pytest.mark.parametrize("policy", ["sticky", "weighted", "thompson"])
def test_where_the_only_user_is_a_service_it_is_enough_to_show_a_broken_version(policy):
    log = MemoryLog(BALANCED, policy=policy)
    for _ in range(100):
        log.serve({"v1": 0}, "v1", chosen="v2", failed=["v2"], user=7)
    assert log.crossed() == set()
    for _ in range(40):
        log.serve({"v1": 0}, "v1", chosen="v2", failed=["v2"], user=7)
    assert log.crossed() == {"v2"}


@pytest.mark.parametrize(("failures", "crossed"), [(5, set()), (40, {"v2"})])
def test_failures_in_shadow_cross_the_guardrail_of_errors(failures, crossed):
    log = MemoryLog(SHADOW)
    for _ in range(failures):
        log.serve({"v1": 0}, "v1", failed=["v2"])
    assert log.crossed() == crossed


def test_failures_in_shadow_that_the_baseline_has_as_often_cross_nothing():
    log = MemoryLog(CANARY)
    for _ in range(100):
        log.serve({"v1": 0}, "v1", failed=["v2"])
        log.serve({"v2": 0}, "v2", failed=["v1"], chosen="v1")
    assert log.crossed() == set()


@pytest.mark.parametrize(("key", "crossed"), [("order-1", set()), (None, {"v2"})])
def test_one_case_that_is_sent_again_and_again_rolls_nothing_back(key, crossed):
    log = MemoryLog(BALANCED)
    for _ in range(60):
        log.serve({"v1": 0}, "v1", chosen="v2", failed=["v2"], key=key)
    assert log.crossed() == crossed


# What votes say, and what all outcomes say


@pytest.mark.parametrize("unit", ["row", "user", "key"])
def test_where_units_and_all_outcomes_disagree_a_person_decides(unit):
    log = MemoryLog(SHADOW, unit=unit, labels_exogenous=True, cases=DISTINCT)

    def case(number, answers):
        names = {"row": {"features": f"[{number}]"}, "user": {"user": number}, "key": {"key": f"order-{number}"}}
        log.label(log.serve(answers, "v1", **names[unit]))

    for number in range(1, 41):
        case(number, {"v1": 1, "v2": 0})
    assert log.report().recommendation.action == "promote"
    for _ in range(400):
        case(41, {"v1": 0, "v2": 1})
    report = log.report()
    (compared,) = report.comparisons
    assert (compared.verdict, compared.units, compared.n) == ("better", 41, 440)
    assert report.recommendation.action == "investigate"
    assert f"v2 was proven better than v1 after {compared.units - 1:,} {unit}s" in report.recommendation.reason
    assert (
        "over all 440 labels, each as often as it came, its accuracy is 82 points lower" in report.recommendation.reason
    )
    assert log.look() is None
    # No interval that leaves out the mean beside it.
    assert all(each.interval_all is None for each in report.variants)


def test_an_error_outside_its_range_is_clipped_everywhere_and_said():
    log = MemoryLog(SHADOW, metric="absolute_error", error_range=(0.0, 5.0), labels_exogenous=True)
    for number in range(400):
        answers = {"v1": 1.2, "v2": 150.0 if number % 30 == 29 else 0.5}
        log.label(log.serve(answers, "v1", features=f"[{number}]"), 0.0)
    report = log.report()
    (compared,) = report.comparisons
    assert compared.verdict == "better"
    assert compared.warnings[0].startswith("13 of 400 labels give a value outside the declared range")
    assert report.recommendation.action == "investigate"
    assert "with the value that it has, its absolute error is 4.2 higher" in report.recommendation.reason
    first, second = report.variants
    assert all(each.interval_all[0] <= each.mean_all <= each.interval_all[1] for each in report.variants)
    assert second.mean_all == pytest.approx((13 * 5 + 387 * 0.5) / 400)
    assert first.mean_all - second.mean_all == pytest.approx(compared.improvement)


@pytest.mark.parametrize("policy", ["sticky", "weighted"])
def test_a_users_first_answer_votes_not_the_one_that_is_rewarded_first(policy):
    """The first request of each user earns less than the second, whose reward comes at once with v2."""
    log = MemoryLog(BALANCED, policy=policy, metric="reward")
    for user in range(1, 121):
        version = "v2" if user % 2 else "v1"
        first, second = (log.serve(SAME, version, user=user) for _ in range(2))
        later = [(second, 1.0), (first, 0.0)] if version == "v2" else [(first, 0.0), (second, 1.0)]
        for row, value in later:
            log.reward(row, value)
    (compared,) = log.report().comparisons
    assert (compared.units, compared.n, compared.difference) == (120, 240, pytest.approx(0.0, abs=0.01))


@pytest.mark.parametrize("unit", ["row", "request"])
def test_a_user_who_stays_is_one_draw_of_rewards_whatever_the_unit(unit):
    log = MemoryLog(BALANCED, policy="sticky", metric="reward", unit=unit)
    for place in range(40):
        log.reward(log.serve(SAME, "v2", user=1, features=f"[{place}]"), 1.0)
    assert log.report().comparisons[0].units == 1


@pytest.mark.parametrize(
    ("metric", "terms"), [("reward", {}), ("reward", {"reward_range": None}), ("absolute_error", {}), ("accuracy", {})]
)
def test_an_outcome_beyond_all_measure_stops_nothing(metric, terms):
    log = MemoryLog(BALANCED, metric=metric, **terms)
    for place in range(8):
        row = log.serve({"v1": 1e308, "v2": -1e308} if metric == "absolute_error" else SAME, ("v1", "v2")[place % 2])
        log.reward(row, 1e308)
        if metric == "absolute_error":
            log.label(row, -1e308)
        log.process()
    report = log.report()
    assert json.loads(msgspec.json.encode(report))["variants"][0]["reward_mean"] is not None
    assert log.replayed([3, 9]).states == log.states


def test_cases_that_are_asked_again_are_named_though_no_row_is_frequent():
    log = MemoryLog(SHADOW, labels_exogenous=True)
    for place in range(60):
        for _ in range(2):
            log.label(log.serve({"v1": 1, "v2": 0}, "v1", features=f"[{place}]"))
    assert "all 120 wins come from 60 rows" in log.report().comparisons[0].warnings
