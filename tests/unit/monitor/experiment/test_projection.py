"""What the projection makes of a log, compared with the statistics computed directly."""

import json
import math
import random

import numpy as np
import pytest

from app.monitor.experiment.projection import ExperimentProjection
from app.scoring.brier import brier
from app.scoring.log_loss import log_loss
from app.stats import asymptotic, paired, paired_interval, paired_numeric, two_sample
from app.stats.paired import PairedSummary
from app.stats.two_sample import Outcomes


def comparison(log, challenger="v2", experiment_id=None):
    report = log.report(experiment_id)
    return next(each for each in report.comparisons if each.challenger == challenger)


def variant(report, version):
    return next(each for each in report.variants if each.version == version)


def check(report, name):
    return next(each for each in report.checks if each.name == name)


def test_labels_settle_both_versions(small_log):
    small_log.begin()
    rng, counts = random.Random(1), {(1, 0): 0, (0, 1): 0, (0, 0): 0, (1, 1): 0}
    for _ in range(300):
        right = rng.random() < 0.85, rng.random() < 0.9
        row = small_log.served({"v1": 1 - right[0], "v2": 1 - right[1]}, rng.choice(["v1", "v2"]))
        small_log.log(row)
        small_log.give(row, 0)
        counts[right] += 1
    summary = PairedSummary(counts[0, 1], counts[1, 0], counts[0, 0] + counts[1, 1])
    found = comparison(small_log)
    assert found.log_e == pytest.approx(paired.log_e(summary), abs=1e-12)
    assert found.interval == pytest.approx(paired_interval.interval(summary, 0.05), abs=1e-12)
    assert (found.n, found.wins, found.losses, found.unjoined) == (300, summary.wins, summary.losses, 0)


def test_labelled_counts_by_the_version_of_the_id_and_the_comparison_by_both_answers(small_log):
    small_log.begin()
    known, alone = small_log.served({"v1": 0, "v2": 1}, "v2"), small_log.served({"v1": 1}, "v1")
    lost = small_log.served({"v1": 0, "v2": 0}, "v1")
    small_log.log(known, alone)
    small_log.give_all([(known, 0, "actual"), (alone, 0, "actual"), (lost, 0, "actual")])
    report = small_log.report()
    assert [(v.version, v.requests, v.labelled, v.mean) for v in report.variants] == [
        ("v1", 1, 2, 0.5),
        ("v2", 1, 1, 0.0),
    ]
    assert (report.comparisons[0].n, report.comparisons[0].unjoined, report.comparisons[0].losses) == (1, 2, 1)


def test_a_label_before_its_row_is_joined_when_the_row_comes(small_log):
    small_log.begin()
    row = small_log.served({"v1": 0, "v2": 1})
    small_log.give(row, 0)
    assert (comparison(small_log).n, comparison(small_log).unjoined) == (0, 1)
    small_log.log(row)
    assert (comparison(small_log).n, comparison(small_log).unjoined) == (1, 0)


def test_forced_answers_are_kept_apart(small_log):
    small_log.begin()
    row = small_log.served({"v1": 0, "v2": 1}, "v2", assignment="forced")
    small_log.log(row)
    small_log.give_all([(row, 0, "actual"), (row, 0.5, "reward")])
    report = small_log.report()
    assert [(v.requests, v.labelled, v.rewards) for v in report.variants] == [(0, 0, 0)] * 2
    assert (report.comparisons[0].n, report.comparisons[0].unjoined) == (0, 0)
    version = json.loads(small_log.derived()[0][1].body)["versions"]["v2"]
    assert [version[f"forced_{count}"] for count in ("requests", "labelled", "rewards")] == [1, 1, 1]


def test_what_was_served_without_a_configuration_belongs_to_no_experiment(small_log):
    small_log.begin()
    row = small_log.served({"v1": 0, "v2": 1}, epoch=0)
    small_log.log(row)
    small_log.give(row, 0)
    assert variant(small_log.report(), "v1").labelled == 0
    totals = json.loads(small_log.derived()[0][0].body)
    assert (totals["homeless_predictions"], totals["homeless_outcomes"]) == (1, 1)


def test_an_outcome_belongs_to_the_experiment_of_its_prediction(small_log):
    small_log.begin("one")
    first = small_log.served({"v1": 0, "v2": 1})
    small_log.log(first)
    small_log.begin("two")
    second = small_log.served({"v1": 1, "v2": 0})
    small_log.log(second)
    small_log.give_all([(second, 0, "actual"), (first, 0, "actual")])
    one, two = comparison(small_log, experiment_id="one"), comparison(small_log, experiment_id="two")
    assert ((one.wins, one.losses), (two.wins, two.losses)) == ((0, 1), (1, 0))
    assert small_log.report("one").state == "ended"


def test_a_fallback_is_an_error_of_the_version_that_was_chosen(small_log):
    small_log.begin()
    rows = [small_log.served({"v1": 0}, "v1", chosen="v2", assignment="fallback") for _ in range(20)]
    small_log.log(*rows)
    report = small_log.report()
    assert (variant(report, "v1").requests, variant(report, "v2").errors) == (20, 20)
    assert (report.recommendation.action, report.recommendation.version) == ("rollback", "v1")
    assert [g.ok for g in report.guardrails if (g.name, g.version) == ("errors", "v2")] == [False]


def test_answers_much_slower_than_the_baselines_cross_a_guardrail_and_slightly_slower_ones_do_not(small_log):
    small_log.begin()
    for latency in (300, 30_000):
        for _ in range(150):
            rows = [small_log.served({"v1": 0}, v, latency_us=us) for v, us in (("v1", 100), ("v2", latency))]
            small_log.log(*rows)
        rail = next(g for g in small_log.report().guardrails if g.name == "slow_answers")
        assert rail.ok == (latency == 300)


def test_the_split_is_checked_by_epoch_and_a_batch_is_one_draw(small_log):
    small_log.begin(weights={"v1": 0.9, "v2": 0.1})
    small_log.log(*(small_log.served({}, v) for v in ["v1"] * 90 + ["v2"] * 10))
    small_log.begin(weights={"v1": 0.1, "v2": 0.9})
    small_log.log(*(small_log.served({}, v) for v in ["v2"] * 90 + ["v1"] * 10))
    assert check(small_log.report(), "sample_ratio").ok
    small_log.log(*(small_log.served({}, "v1") for _ in range(60)))
    assert not check(small_log.report(), "sample_ratio").ok
    assert small_log.report().recommendation.action == "investigate"


def test_a_version_that_is_labelled_more_often_fails_the_check_of_label_rates(small_log):
    small_log.begin()
    rows = [small_log.served({"v1": 0, "v2": 0}, v) for v in ["v1", "v2"] * 60]
    small_log.log(*rows)
    small_log.give_all([(row, 0, "actual") for row in rows if row.version == "v1"])
    report = small_log.report()
    assert (check(report, "sample_ratio").ok, check(report, "label_rate").ok) == (True, False)


def test_in_shadow_the_paired_test_goes_on_and_promotion_is_not_trusted(small_log):
    small_log.begin(weights={"v1": 1.0, "v2": 0.0})
    rows = [small_log.served({"v1": 1, "v2": 0}, "v1") for _ in range(30)]
    small_log.log(*rows, *(small_log.served({"v1": 1, "v2": 0}, "v1") for _ in range(30)))
    small_log.give_all([(row, 0, "actual") for row in rows])
    report = small_log.report()
    assert (report.comparisons[0].verdict, report.recommendation.action) == ("better", "continue")
    assert "label the remaining 30 disagreements" in report.recommendation.reason
    assert report.comparisons[0].assumptions
    assert check(report, "sample_ratio").ok


def test_versions_that_hardly_differ_are_equivalent_without_a_label(small_log):
    small_log.begin(equivalence_margin=0.05)
    small_log.log(*(small_log.served({"v1": 0, "v2": 0}) for _ in range(200)))
    assert comparison(small_log).verdict == "equivalent"


@pytest.mark.parametrize("metric", ["brier", "log_loss"])
def test_probabilities_are_compared_on_the_same_request(small_log, metric):
    small_log.begin(metric=metric)
    rng, gains = random.Random(2), []
    loss, width = (brier, 2.0) if metric == "brier" else (log_loss, math.log(1000))
    for _ in range(40):
        p = [[q, 1 - q] for q in (rng.random(), rng.random())]
        row = small_log.served({"v1": {"c": 0, "p": p[0]}, "v2": {"c": 0, "p": p[1]}})
        small_log.log(row)
        small_log.give(row, 1)
        base, challenger = (loss(np.array([each]), np.array([1]))[0] for each in p)
        gains.append((base - challenger) / width)
    expected = paired_numeric.update(paired_numeric.initial(), np.array(gains))
    found = comparison(small_log)
    assert found.log_e == pytest.approx(paired_numeric.log_e(expected), abs=1e-12)
    assert found.difference == pytest.approx(np.mean(gains) * width)


@pytest.mark.parametrize("error_range", [(0.0, 10.0), None])
def test_a_regression_is_compared_by_absolute_errors(small_log, error_range):
    small_log.begin(metric="absolute_error", error_range=error_range)
    rng, gains = random.Random(3), []
    for _ in range(120):
        truth, one, two = rng.gauss(0, 1), rng.gauss(0, 1), rng.gauss(0, 0.5)
        row = small_log.served({"v1": {"v": one}, "v2": {"v": two}})
        small_log.log(row)
        small_log.give(row, truth)
        gains.append(abs(one - truth) - abs(two - truth))
    found = comparison(small_log)
    assert (found.n, found.asymptotic) == (120, error_range is None)
    assert found.difference == pytest.approx(np.mean(gains))
    if error_range is None:
        expected = asymptotic.update_paired(asymptotic.AsymptoticState(), np.array(gains))
        assert found.log_e == pytest.approx(asymptotic.log_e(expected), abs=1e-12)


def rewarded(small_log, n, seed, share):
    """n rewarded requests of one epoch: arms, values and propensities in the order of acknowledgement."""
    rng, taken = random.Random(seed), []
    for _ in range(n):
        version = "v2" if rng.random() < share else "v1"
        row, value = small_log.served({"v1": 0, "v2": 1}, version), rng.choice([0.0, 10.0])
        small_log.log(row)
        small_log.give(row, value, "reward")
        taken.append((version == "v2", value, share))
    return taken


@pytest.mark.parametrize("reward_range", [(0.0, 10.0), None])
def test_rewards_are_weighted_by_the_split_under_which_they_were_served(small_log, reward_range):
    terms = {"metric": "reward", "reward_range": reward_range}
    small_log.begin(**terms)
    taken = rewarded(small_log, 80, 4, 0.5)
    small_log.begin(weights={"v1": 0.8, "v2": 0.2}, **terms)
    taken += rewarded(small_log, 80, 5, 0.2)
    arms, values, shares = (np.array(column) for column in zip(*taken, strict=True))
    found = comparison(small_log)
    if reward_range:
        outcomes = Outcomes(arms.astype(bool), values / 10, shares)
        state = two_sample.update(two_sample.initial(), outcomes)
        assert found.log_e == pytest.approx(two_sample.log_e(state), abs=1e-12)
        assert found.difference == pytest.approx(10 * two_sample.difference(state))
    else:
        state = asymptotic.update_two_sample(asymptotic.AsymptoticState(), Outcomes(arms.astype(bool), values, shares))
        assert found.log_e == pytest.approx(asymptotic.log_e(state), abs=1e-12)
    assert (found.n, found.asymptotic) == (160, reward_range is None)


def test_rewards_of_fallbacks_and_of_certain_choices_are_left_out(small_log):
    small_log.begin(metric="reward", weights={"v1": 1.0, "v2": 0.0})
    certain = small_log.served({"v1": 0}, "v1")
    fallback = small_log.served({"v1": 0}, "v1", chosen="v2", assignment="fallback")
    small_log.log(certain, fallback)
    small_log.give_all([(certain, 1.0, "reward"), (fallback, 1.0, "reward")])
    report = small_log.report()
    assert (report.comparisons[0].n, variant(report, "v1").rewards) == (0, 2)


def test_triggered_rewards_wait_for_the_row_and_agreements_carry_nothing(small_log):
    small_log.begin(metric="reward", reward_triggered=True)
    same, other = small_log.served({"v1": 0, "v2": 0}, "v2"), small_log.served({"v1": 0, "v2": 1}, "v2")
    small_log.give_all([(same, 1.0, "reward"), (other, 1.0, "reward")])
    assert comparison(small_log).n == 0
    small_log.log(same, other)
    outcomes = Outcomes(np.array([True] * 2), np.ones(2), np.full(2, 0.5), np.array([False, True]))
    expected = two_sample.update(two_sample.initial(), outcomes)
    assert comparison(small_log).log_e == pytest.approx(two_sample.log_e(expected), abs=1e-12)


def test_a_sticky_user_has_one_vote_of_the_first_exposure(small_log):
    small_log.begin(metric="reward")
    first, again = (small_log.served({}, "v1", assignment="sticky", user=7) for _ in range(2))
    small_log.log(first, again)
    small_log.begin(metric="reward", weights={"v1": 0.1, "v2": 0.9})
    moved = small_log.served({}, "v2", assignment="sticky", user=7)
    small_log.log(moved)
    small_log.give_all([(moved, 1.0, "reward"), (again, 1.0, "reward"), (first, 0.0, "reward")])
    report = small_log.report()
    assert (report.comparisons[0].n, variant(report, "v1").users, variant(report, "v2").users) == (1, 1, 0)
    assert variant(report, "v1").rewards == 2


def test_a_user_seen_in_two_versions_under_one_split_is_in_quarantine(small_log):
    small_log.begin(metric="reward")
    rows = [small_log.served({}, version, assignment="sticky", user=7) for version in ("v1", "v2")]
    small_log.log(*rows)
    small_log.give_all([(row, 1.0, "reward") for row in rows])
    report = small_log.report()
    assert report.comparisons[0].n == 0
    assert "1 users" in check(report, "sticky_users").detail


def test_several_challengers_are_adjusted_for_each_other(small_log):
    small_log.begin(weights={"v1": 1 / 3, "v2": 1 / 3, "v3": 1 / 3})
    rows = [small_log.served({"v1": 1, "v2": 0, "v3": place % 2}, "v1") for place in range(8)]
    small_log.log(*rows)
    small_log.give_all([(row, 0, "actual") for row in rows])
    strong, weak = (comparison(small_log, name) for name in ("v2", "v3"))
    assert strong.log_e == pytest.approx(paired.log_e(PairedSummary(8, 0, 0)))
    mean = (np.exp(strong.log_e) + np.exp(weak.log_e)) / 2
    assert strong.p_value == pytest.approx(1 / mean)


def test_the_intervals_of_several_challengers_hold_together(small_log):
    small_log.begin(weights={"v1": 1 / 3, "v2": 1 / 3, "v3": 1 / 3})
    rows = [small_log.served({"v1": 1, "v2": 0, "v3": place % 2}, "v1") for place in range(8)]
    small_log.log(*rows)
    small_log.give_all([(row, 0, "actual") for row in rows])
    found = comparison(small_log, "v2")
    assert found.interval == paired_interval.interval(PairedSummary(8, 0, 0), 0.05 / 2)
    assert "95 % interval of the improvement" in small_log.report().recommendation.reason
    assert "joint for 2 challengers" in small_log.report().recommendation.reason


def test_versions_are_known_by_their_rows_where_the_configuration_does_not_number_them(small_log):
    small_log.begin(ordinals={})
    row = small_log.served({"v1": 0, "v2": 1}, "v2")
    small_log.log(row)
    small_log.give(row, 0)
    assert variant(small_log.report(), "v2").labelled == 1


def test_nothing_new_is_nothing_written(small_log):
    small_log.begin()
    small_log.random_traffic(5)
    publisher = small_log.publisher()
    small_log.process()
    assert len(publisher.publish()) == 1
    assert (small_log.step(ExperimentProjection()), publisher.publish()) == (0, [])
