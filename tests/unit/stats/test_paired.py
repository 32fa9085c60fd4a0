"""The paired test. Reference values were computed with 40 digits; see docs/statistics.md."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.stats import paired
from app.stats.estimates import NotEstimable, bar
from app.stats.paired import PairedSummary
from app.stats.strongest import Strongest

COUNTS = st.integers(0, 10**7)
OUTCOMES = st.lists(st.sampled_from([1, -1, 0]), max_size=60)


@pytest.mark.parametrize(
    ("wins", "losses", "expected"),
    [(1, 0, 0.0), (3, 0, 0.4700036292457), (20, 5, 3.190085956532), (120, 80, 1.940181771551)],
)
def test_log_e_agrees_with_the_reference(wins, losses, expected):
    assert paired.log_e(PairedSummary(wins, losses)) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(("wins", "losses", "expected"), [(20, 5, 3.881371822961), (5, 20, -2.404169894033)])
def test_one_sided_log_e_agrees_with_the_reference(wins, losses, expected):
    assert paired.log_e_one_sided(PairedSummary(wins, losses)) == pytest.approx(expected, abs=1e-8)


@given(COUNTS, COUNTS, COUNTS)
def test_swapping_the_versions_changes_nothing_two_sided(wins, losses, ties):
    summary = PairedSummary(wins, losses, ties)
    assert paired.log_e(summary) == pytest.approx(paired.log_e(summary.swapped()), abs=1e-6)


@given(COUNTS, COUNTS)
def test_evidence_is_finite_at_any_counts(wins, losses):
    summary = PairedSummary(wins, losses)
    assert math.isfinite(paired.log_e(summary))
    assert math.isfinite(paired.log_e_one_sided(summary))
    assert math.isfinite(paired.log_e_one_sided(summary.swapped()))


@given(st.integers(0, 10**4), st.integers(0, 10**4))
def test_the_two_sided_e_is_the_mean_of_the_one_sided_ones(wins, losses):
    summary = PairedSummary(wins, losses)
    sides = np.logaddexp(paired.log_e_one_sided(summary), paired.log_e_one_sided(summary.swapped())) - math.log(2)
    assert paired.log_e(summary) == pytest.approx(sides, abs=1e-7)


@given(st.integers(0, 10**5), st.integers(0, 10**5))
def test_one_more_win_of_the_leader_strengthens_the_evidence(lead, losses):
    wins = losses + lead
    more, less = PairedSummary(wins + 1, losses), PairedSummary(wins, losses)
    assert paired.log_e(more) >= paired.log_e(less) - 1e-9


@given(OUTCOMES, st.randoms(use_true_random=False))
def test_the_order_of_labels_does_not_matter(outcomes, chance):
    shuffled = chance.sample(outcomes, len(outcomes))
    one, _ = paired.follow(PairedSummary(), Strongest(), np.array(outcomes, int))
    other, _ = paired.follow(PairedSummary(), Strongest(), np.array(shuffled, int))
    assert paired.log_e(one) == paired.log_e(other)


@given(OUTCOMES, st.integers(0, 60))
def test_batches_and_single_labels_give_the_same_memory(outcomes, cut):
    labels = np.array(outcomes, int)
    whole = paired.follow(PairedSummary(), Strongest(), labels)
    parts = paired.follow(*paired.follow(PairedSummary(), Strongest(), labels[:cut]), labels[cut:])
    singles = (PairedSummary(), Strongest())
    for label in labels:
        singles = paired.follow(*singles, np.array([label]))
    assert whole == parts == singles


def test_the_memory_holds_the_strongest_moment_and_its_side():
    labels = np.array([1] * 12 + [-1] * 12)
    summary, memory = paired.follow(PairedSummary(), Strongest(), labels)
    assert (memory.n, memory.side) == (12, 1)
    assert memory.log_e == paired.log_e(PairedSummary(12, 0)) > paired.log_e(summary)


def test_a_ratio_of_chances_is_a_posterior_probability():
    assert paired.probability_better(PairedSummary(3, 3)) == pytest.approx(0.5)
    assert paired.probability_better(PairedSummary(1, 0)) == pytest.approx(0.75)


@pytest.mark.parametrize("estimate", [paired.difference, paired.probability_better])
def test_what_nothing_is_known_about_is_not_estimable(estimate):
    assert isinstance(estimate(PairedSummary()), NotEstimable)


def test_the_difference_is_that_of_the_accuracies():
    assert paired.difference(PairedSummary(45, 25, 930)) == pytest.approx(0.02)


def test_a_summary_survives_json():
    summary = PairedSummary(1, 2, 3)
    assert msgspec.json.decode(msgspec.json.encode(summary), type=PairedSummary) == summary


def test_false_positives_stay_below_alpha_with_a_look_at_every_label():
    # 1,000 A/A runs of 2,000 disagreements; the standard error at .05 is .007.
    wins = np.cumsum(np.random.default_rng(11).random((1000, 2000)) < 0.5, axis=1)
    log_es = paired.log_es(wins, np.arange(1, 2001) - wins)
    assert (log_es.max(axis=1) >= bar(0.05)).mean() <= 0.05
