import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import betaln

from app.stats import paired
from app.stats.estimates import NotEstimable, bar
from app.stats.paired import PairedSummary
from app.stats.paired_interval import interval, log_e_at

SMALL = st.integers(0, 400)
SIZES = st.sampled_from([0, 1, 7, 1000, 10**7])


@pytest.mark.parametrize(
    ("wins", "ties", "losses", "d", "expected"),
    [(45, 930, 25, 0.01, -0.80035126928), (20, 475, 5, 0.005, 1.980161491694)],
)
def test_log_e_at_a_difference_agrees_with_the_reference(wins, ties, losses, d, expected):
    assert log_e_at(PairedSummary(wins, losses, ties), d) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(
    ("wins", "ties", "losses", "expected"),
    [(45, 930, 25, (-0.00570314776, 0.04730441293)), (0, 50, 0, (-0.12742636, 0.12742636))],
)
def test_the_interval_agrees_with_the_reference(wins, ties, losses, expected):
    assert interval(PairedSummary(wins, losses, ties), 0.05) == pytest.approx(expected, abs=1e-8)


def _integrated(summary: PairedSummary, d: float) -> float:
    """E_d by adaptive quadrature of the definition, for few labels."""

    def integrand(u: float) -> float:
        bet = -1 / (1 - d) + 2 * u / (1 - d * d)
        gains = (1 + bet * (1 - d)) ** summary.wins * (1 - bet * d) ** summary.ties
        prior = u ** (2 * (1 + d) - 1) * (1 - u) ** (2 * (1 - d) - 1) / math.exp(betaln(2 * (1 + d), 2 * (1 - d)))
        return gains * (1 - bet * (1 + d)) ** summary.losses * prior

    return math.log(quad(integrand, 0, 1, epsabs=0, epsrel=1e-11, limit=1000)[0])


@pytest.mark.parametrize("counts", [(3, 0, 7), (0, 0, 9), (2, 5, 1), (12, 1, 30)])
@pytest.mark.parametrize("d", [-0.7, -0.45, -0.1, 0.02, 0.3, 0.55])
def test_the_fast_integral_agrees_with_adaptive_quadrature(counts, d):
    summary = PairedSummary(*counts)
    assert log_e_at(summary, d) == pytest.approx(_integrated(summary, d), abs=1e-6)


@given(SMALL, SMALL, SMALL)
def test_at_no_difference_it_is_the_paired_test(wins, losses, ties):
    summary = PairedSummary(wins, losses, ties)
    assert log_e_at(summary, 0.0) == pytest.approx(paired.log_e(summary), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(SMALL, SMALL, SMALL, st.sampled_from([0.05, 0.01, 0.2]))
@example(20, 4, 0, 0.05)
def test_test_and_interval_never_disagree(wins, losses, ties, alpha):
    summary = PairedSummary(wins, losses, ties)
    if not summary.n:
        return
    low, high = interval(summary, alpha)
    assert (low > 0 or high < 0) == (paired.log_e(summary) >= bar(alpha))


@settings(max_examples=25, deadline=None)
@given(SMALL, SMALL, SMALL)
def test_the_interval_holds_the_estimate_and_mirrors_when_swapped(wins, losses, ties):
    summary = PairedSummary(wins, losses, ties + 1)
    low, high = interval(summary, 0.05)
    assert -1 <= low <= paired.difference(summary) <= high <= 1
    assert interval(summary.swapped(), 0.05) == pytest.approx((-high, -low), abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(SIZES, SIZES, SIZES)
def test_extreme_counts_give_finite_intervals_that_hold_the_estimate(wins, losses, ties):
    summary = PairedSummary(wins, losses, ties + 1)
    low, high = interval(summary, 0.05)
    assert -1 <= low <= paired.difference(summary) <= high <= 1


@settings(max_examples=25, deadline=None)
@given(SMALL, SMALL, SMALL)
def test_a_smaller_alpha_gives_a_wider_interval(wins, losses, ties):
    summary = PairedSummary(wins, losses, ties + 1)
    (low, high), (lower, higher) = interval(summary, 0.05), interval(summary, 0.005)
    assert lower <= low
    assert high <= higher


def test_one_more_win_moves_both_ends_up():
    ends = [interval(PairedSummary(wins, 25, 1000 - wins), 0.05) for wins in range(0, 100, 10)]
    assert np.all(np.diff(np.array(ends), axis=0) > 0)


def test_without_labels_there_is_no_interval():
    assert isinstance(interval(PairedSummary(), 0.05), NotEstimable)


def test_the_interval_covers_the_truth_at_its_end_more_often_than_promised():
    # 300 runs of 1,500 labels, checked 30 times; the standard error at .05 is .013.
    chance = np.random.default_rng(5)
    steps = chance.multinomial(50, (0.05, 0.03, 0.92), size=(300, 30)).cumsum(axis=1)
    missed = [any(log_e_at(PairedSummary(*map(int, look)), 0.02) >= bar(0.05) for look in run[::3]) for run in steps]
    assert np.mean(missed) <= 0.05
