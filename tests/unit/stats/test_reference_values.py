"""Means, asymptotic intervals, tails, closed testing, evidence and bounds whoever was labelled."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betainc

from app.errors import InvalidRequest
from app.stats import asymptotic, means, paired, robust, strongest, tails
from app.stats.asymptotic import AsymptoticState
from app.stats.estimates import NotEstimable, bar
from app.stats.paired import PairedSummary
from app.stats.strongest import Strongest
from app.stats.two_sample import Outcomes

E_VALUES = st.lists(st.floats(-20, 20), min_size=1, max_size=6)
FEW = st.integers(0, 60)


def test_the_asymptotic_boundary_agrees_with_the_reference():
    assert asymptotic.rho_squared(0.05) == pytest.approx(0.001587230920348, abs=1e-12)
    assert asymptotic.radius(1.0, 1000, 0.05) == pytest.approx(0.1063754701, abs=1e-8)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(-0.5, 0.5), st.sampled_from([0.05, 0.01]))
def test_asymptotic_test_and_interval_never_disagree(seed, shift, alpha):
    state = asymptotic.update_paired(AsymptoticState(), np.random.default_rng(seed).normal(shift, 2, 150))
    low, high = asymptotic.interval(state, alpha)
    assert (low > 0 or high < 0) == (asymptotic.log_e(state) > bar(alpha))


def test_asymptotic_states_do_not_depend_on_batches():
    gains = np.random.default_rng(1).normal(0.1, 1, 200)
    parts = asymptotic.update_paired(asymptotic.update_paired(AsymptoticState(), gains[:77]), gains[77:])
    assert parts == asymptotic.update_paired(AsymptoticState(), gains)
    assert msgspec.json.decode(msgspec.json.encode(parts), type=AsymptoticState) == parts


@pytest.mark.parametrize("gains", [[], [1.0] * 50, [2.0] * 500])
def test_few_or_constant_numbers_have_no_asymptotic_interval(gains):
    state = asymptotic.update_paired(AsymptoticState(), np.array(gains))
    assert isinstance(asymptotic.interval(state, 0.05), NotEstimable)
    assert isinstance(asymptotic.log_e(state), NotEstimable)


def test_rewards_without_a_range_are_weighted_by_the_propensity():
    chance = np.random.default_rng(3)
    arms = chance.random(4000) < 0.2
    outcomes = Outcomes(arms, chance.normal(100, 5, 4000) + 3 * arms, np.full(4000, 0.2))
    state = asymptotic.update_two_sample(AsymptoticState(), outcomes)
    low, high = asymptotic.interval(state, 0.05)
    assert low < 3 < high
    assert asymptotic.difference(state) == pytest.approx(3, abs=1)


def test_rows_that_chance_did_not_decide_are_skipped():
    state = asymptotic.update_two_sample(
        AsymptoticState(), Outcomes(np.array([True]), np.array([5.0]), np.array([1.0]))
    )
    assert (state.n, state.skipped) == (0, 1)


def test_a_number_that_is_not_finite_is_refused():
    with pytest.raises(InvalidRequest):
        asymptotic.update_paired(AsymptoticState(), np.array([math.inf]))


@given(FEW, FEW, st.floats(0.05, 0.95))
def test_log_tails_agree_with_the_tails(a, b, x):
    a, b = a + 0.5, b + 1.0
    assert tails.log_beta_cdf(x, a, b) == pytest.approx(math.log(betainc(a, b, x)), abs=1e-9, rel=1e-9)


@pytest.mark.parametrize(("x", "a", "b"), [(0.3, 900, 800), (0.02, 30.5, 400), (0.2, 4, 1)])
def test_the_deep_tail_continues_the_ordinary_one(x, a, b):
    assert tails._log_deep_tail(x, a, b) == pytest.approx(math.log(betainc(a, b, x)), rel=1e-11)


def test_the_deep_tail_of_a_power_is_exact():
    assert tails.log_beta_cdf(0.01, 5000.0, 1.0) == pytest.approx(5000 * math.log(0.01), rel=1e-12)


def test_closed_testing_agrees_with_the_reference():
    adjusted = np.exp(strongest.adjusted(np.log([90, 45, 3, 0.4]).tolist()))
    assert adjusted == pytest.approx([31.1333333333, 16.1333333333, 1.7, 0.4], abs=1e-8)


def _by_all_subsets(log_es: list[float], j: int) -> float:
    others = [e for i, e in enumerate(log_es) if i != j]
    subsets = ([e for i, e in enumerate(others) if mask >> i & 1] for mask in range(2 ** len(others)))
    return min(float(np.logaddexp.reduce([log_es[j], *s])) - math.log(1 + len(s)) for s in subsets)


@given(E_VALUES)
def test_closed_testing_is_the_least_mean_over_all_subsets(log_es):
    expected = [_by_all_subsets(log_es, j) for j in range(len(log_es))]
    assert strongest.adjusted(log_es) == pytest.approx(expected, abs=1e-9)


def test_closed_testing_of_one_changes_nothing():
    assert strongest.adjusted([4.2]) == [4.2]


@given(wins=FEW, losses=FEW, won=FEW, lost=FEW, tied=FEW)
def test_the_gate_never_exceeds_the_evidence_of_any_labelling(wins, losses, won, lost, tied):
    known = PairedSummary(wins, losses, 0)
    labelled = paired.log_e_one_sided(known.add(won, lost, tied))
    assert robust.log_e(known, won + lost + tied) <= labelled + 1e-9


def test_without_unlabelled_disagreements_the_gate_is_the_one_sided_evidence():
    assert robust.log_e(PairedSummary(20, 5, 100), 0) == pytest.approx(3.881371822961, abs=1e-8)


def test_the_gate_sees_through_labels_that_come_only_after_wrong_answers():
    # In shadow, equal versions, 200 disagreements: the baseline was wrong in 100, and only those are labelled.
    complaints = PairedSummary(100, 0, 0)
    assert paired.log_e(complaints) > bar(0.05)
    assert robust.log_e(complaints, 100) < 0


def test_worst_case_bounds_give_every_unlabelled_disagreement_to_one_side():
    assert robust.worst_case(PairedSummary(8, 2, 80), 4, 6) == (0.02, 0.1)
    assert isinstance(robust.worst_case(PairedSummary(), 0), NotEstimable)
    assert isinstance(robust.worst_case_interval(PairedSummary(), 0, 0, 0.05), NotEstimable)


def test_the_worst_case_interval_holds_that_of_every_possible_labelling():
    low, high = robust.worst_case_interval(PairedSummary(30, 10, 400), 6, 100, 0.05)
    for wins in range(7):
        for lost in range(7 - wins):
            labelled = PairedSummary(30 + wins, 10 + lost, 506 - wins - lost)
            inner = robust.worst_case_interval(labelled, 0, 0, 0.05)
            assert low <= inner[0] + 1e-9
            assert inner[1] <= high + 1e-9


@pytest.mark.parametrize(("total", "n"), [(0, 10), (10, 10), (93, 100), (4.5, 9), (10**7, 2 * 10**7)])
def test_a_mean_lies_in_its_interval(total, n):
    low, high = means.interval(total, n, 0.05)
    assert 0 <= low <= total / n <= high <= 1
    assert all(
        means.log_e_at(total, n, end) == pytest.approx(bar(0.05), abs=1e-4) for end in (low, high) if 0 < end < 1
    )


def test_a_mean_of_nothing_is_not_estimable():
    assert isinstance(means.interval(0, 0, 0.05), NotEstimable)


def test_the_p_value_is_the_inverse_of_the_largest_e():
    assert strongest.p_value(Strongest()) == 1.0
    assert strongest.p_value(Strongest(math.log(40), 10, 1)) == pytest.approx(0.025)
    assert strongest.decided(Strongest(math.log(20), 10, 1), 0.05)


@given(st.lists(st.floats(-5, 5), max_size=20))
def test_memory_keeps_the_first_of_the_largest(log_es):
    sides = np.ones(len(log_es))
    memory = strongest.remember_path(Strongest(), np.array(log_es), sides, 0)
    assert memory.log_e == max([0.0, *log_es])
    assert memory.n == (log_es.index(memory.log_e) + 1 if memory.log_e > 0 else 0)
