import math
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.errors import InvalidRequest
from app.stats import betting, paired_numeric, two_sample
from app.stats.betting import GRID, SIGNED_SIZES, SIZES, WEIGHTS, ZERO, Bets
from app.stats.betting_interval import interval
from app.stats.estimates import NotEstimable, bar
from app.stats.paired_numeric import PairedNumericState
from app.stats.two_sample import Outcomes, TwoSampleState

REFERENCE = [(1, 1, 0.5), (0, 0, 0.5), (1, 1, 0.5), (0, 1, 0.5), (0, 0, 0.5), (1, 1, 0.1)]
EXPECTED = [0.0, 0.036300908032, 0.096822834537, 0.021779447163, 0.099171107259, 0.225389404012]
SEEDS = st.integers(0, 2**32 - 1)


def _outcomes(rows) -> Outcomes:
    arms, values, shares = (np.array(column, float) for column in zip(*rows, strict=True))
    return Outcomes(arms.astype(bool), values, shares)


def _drawn(seed: int, n: int, share=0.5, baseline=0.8, challenger=0.8) -> Outcomes:
    chance = np.random.default_rng(seed)
    arms = chance.random(n) < share
    values = (chance.random(n) < np.where(arms, challenger, baseline)).astype(float)
    return Outcomes(arms, values, np.full(n, share))


def _part(outcomes: Outcomes, start: int, stop: int) -> Outcomes:
    part = slice(start, stop)
    return Outcomes(outcomes.served_challenger[part], outcomes.values[part], outcomes.propensities[part])


def test_tied_betting_agrees_with_the_reference_after_each_outcome():
    state, seen = two_sample.initial(), []
    for row in REFERENCE:
        state = two_sample.update(state, _outcomes([row]))
        seen.append(two_sample.log_e(state))
    assert seen == pytest.approx(EXPECTED, abs=1e-8)


def _by_definition(outcomes: Outcomes, d: float) -> float:
    """ln E_d straight from the formulas, with logarithms."""
    logs, total = np.log(WEIGHTS), 0.0
    for n, (arm, y, share) in enumerate(
        zip(outcomes.served_challenger, outcomes.values, outcomes.propensities, strict=True)
    ):
        m = (total + 1) / (n + 2)
        x = (y - m) * (arm / share - (1 - arm) / (1 - share))
        cap = 0.999 / (max(m, 1 - m) / min(share, 1 - share) + abs(d))
        logs = logs + np.log1p(np.clip(SIGNED_SIZES * share * (1 - share), -cap, cap) * (x - d))
        total += y
    return float(np.logaddexp.reduce(logs))


@pytest.mark.parametrize("share", [0.5, 0.05, 0.9])
@pytest.mark.parametrize("column", [0, 60, ZERO, 117, 200])
def test_the_wealth_on_the_grid_agrees_with_the_definition(share, column):
    outcomes = _drawn(3, 150, share)
    state = two_sample.update(two_sample.initial(), outcomes)
    on_grid = np.logaddexp.reduce(betting.log_wealth(state.wealth)[:, column])
    assert on_grid == pytest.approx(_by_definition(outcomes, GRID[column]), abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.lists(st.integers(0, 150), max_size=4))
def test_batches_give_the_same_state_to_the_last_bit(seed, cuts):
    outcomes = _drawn(seed, 150, 0.3)
    whole = two_sample.update(two_sample.initial(), outcomes)
    state = two_sample.initial()
    edges = [0, *sorted(cuts), 150]
    for start, stop in pairwise(edges):
        state = two_sample.update(state, _part(outcomes, start, stop))
    assert state == whole


def test_one_by_one_is_the_same_to_the_last_bit():
    gains = np.random.default_rng(2).uniform(-1, 1, 80)
    state = paired_numeric.initial()
    for gain in gains:
        state = paired_numeric.update(state, np.array([gain]))
    assert state == paired_numeric.update(paired_numeric.initial(), gains)


def test_states_survive_json_without_losing_a_digit():
    state = two_sample.update(two_sample.initial(), _drawn(1, 70))
    numeric = paired_numeric.update(paired_numeric.initial(), np.random.default_rng(2).uniform(-1, 1, 70))
    assert msgspec.json.decode(msgspec.json.encode(state), type=TwoSampleState) == state
    assert msgspec.json.decode(msgspec.json.encode(numeric), type=PairedNumericState) == numeric


def test_a_state_is_of_constant_size():
    small = two_sample.update(two_sample.initial(), _drawn(1, 1))
    large = two_sample.update(two_sample.initial(), _drawn(1, 400))
    assert len(small.wealth.mantissas) + len(small.wealth.exponents) == 52 * 201 * 12
    assert abs(len(msgspec.json.encode(small)) - len(msgspec.json.encode(large))) < 200


def test_swapping_the_versions_mirrors_everything():
    outcomes = _drawn(4, 300, 0.5, 0.7, 0.9)
    mirrored = Outcomes(~outcomes.served_challenger, outcomes.values, 1 - outcomes.propensities)
    one, other = (two_sample.update(two_sample.initial(), drawn) for drawn in (outcomes, mirrored))
    low, high = two_sample.interval(one, 0.05)
    assert two_sample.log_e(one) == pytest.approx(two_sample.log_e(other), abs=1e-9)
    assert two_sample.interval(other, 0.05) == pytest.approx((-high, -low), abs=1e-9)


def test_without_chance_nothing_is_learned():
    rows = [(1, 1.0, 1.0), (0, 0.0, 0.0)] * 20
    state = two_sample.update(two_sample.initial(), _outcomes(rows))
    assert (state.n, state.skipped, two_sample.log_e(state)) == (0, 40, pytest.approx(0.0, abs=1e-12))
    assert isinstance(two_sample.difference(state), NotEstimable)
    assert isinstance(two_sample.interval(state, 0.05), NotEstimable)


def test_requests_on_which_the_versions_agree_do_not_touch_the_triggered_test():
    outcomes = _drawn(9, 200, 0.5, 0.5, 0.7)
    differ = np.random.default_rng(1).random(200) < 0.3
    only = Outcomes(*(a[differ] for a in (outcomes.served_challenger, outcomes.values, outcomes.propensities)))
    marked = Outcomes(outcomes.served_challenger, outcomes.values, outcomes.propensities, differ)
    triggered = two_sample.update(two_sample.initial(), marked)
    alone = two_sample.update(two_sample.initial(), only)
    assert two_sample.log_e(triggered) == pytest.approx(two_sample.log_e(alone), abs=1e-12)
    assert two_sample.difference(triggered) == pytest.approx(two_sample.difference(alone) * differ.mean())


def test_values_outside_the_range_count_as_its_end():
    outside = two_sample.update(two_sample.initial(), _outcomes([(1, 7.0, 0.5), (0, -3.0, 0.5)]))
    assert outside == two_sample.update(two_sample.initial(), _outcomes([(1, 1.0, 0.5), (0, 0.0, 0.5)]))


@pytest.mark.parametrize("row", [(1, math.nan, 0.5), (1, 1.0, math.nan)])
def test_what_is_not_a_number_is_refused(row):
    with pytest.raises(InvalidRequest):
        two_sample.update(two_sample.initial(), _outcomes([row]))


def test_a_loss_that_is_not_a_number_is_refused():
    with pytest.raises(InvalidRequest):
        paired_numeric.update(paired_numeric.initial(), np.array([0.1, math.nan]))


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.sampled_from([0.5, 0.1]), st.floats(0.3, 0.99))
@example(1_410_639_598, 0.1, 0.875)  # the evidence just passes the threshold, and the bound just beside 0 does not
def test_two_sample_test_and_interval_never_disagree(seed, share, challenger):
    state = two_sample.update(two_sample.initial(), _drawn(seed, 300, share, 0.6, challenger))
    low, high = two_sample.interval(state, 0.05)
    assert (low > 0 or high < 0) == (two_sample.log_e(state) >= bar(0.05))
    assert low <= two_sample.difference(state) <= high


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.floats(-0.3, 0.3))
def test_paired_numeric_test_and_interval_never_disagree(seed, shift):
    gains = np.random.default_rng(seed).uniform(-0.5, 0.5, 120) + shift
    state = paired_numeric.update(paired_numeric.initial(), gains)
    low, high = paired_numeric.interval(state, 0.05)
    assert (low > 0 or high < 0) == (paired_numeric.log_e(state) >= bar(0.05))
    assert low <= paired_numeric.difference(state) <= high


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.sampled_from([0.5, 0.1]))
def test_every_difference_outside_the_interval_is_really_excluded_or_within_rounding(seed, share):
    outcomes = _drawn(seed, 250, share, 0.5, 0.8)
    low, high = two_sample.interval(two_sample.update(two_sample.initial(), outcomes), 0.05)
    outside = [d for d in (*np.linspace(-1, low, 4)[1:-1], *np.linspace(high, 1, 4)[1:-1]) if not low <= d <= high]
    assert all(_by_definition(outcomes, d) >= bar(0.05) for d in outside)


def test_the_interval_costs_little_by_its_grid():
    outcomes = _drawn(8, 3000, 0.5, 0.5, 0.6)
    state = two_sample.update(two_sample.initial(), outcomes)
    assert [_by_definition(outcomes, end) for end in two_sample.interval(state, 0.05)] == pytest.approx(
        [bar(0.05)] * 2, abs=0.01
    )


def test_an_interval_narrower_than_a_cell_is_found_within_it():
    gains = np.tile([0.403, 0.397], 60_000)
    state = paired_numeric.update(paired_numeric.initial(), gains[:3000])
    low, high = paired_numeric.interval(state, 0.05)
    assert low < 0.4 < high
    assert high - low < 0.05


def test_a_wealth_that_excludes_every_difference_gives_a_point():
    # Large bets while all is lost, small ones while all is won: no constant difference explains both.
    x, scale = np.repeat([-1.0, 1.0], [400, 800]), np.repeat([1.0, 0.01], [400, 800])
    wealth, _ = betting.advance(betting.initial_wealth(), Bets(x, scale, np.ones(1200)))
    low, high = interval(wealth, 0.05, 1.0)
    assert low == high


def test_long_one_sided_runs_neither_overflow_nor_underflow():
    state = paired_numeric.update(paired_numeric.initial(), np.ones(5000))
    low, high = paired_numeric.interval(state, 0.05)
    assert math.isfinite(paired_numeric.log_e(state))
    assert np.isfinite(betting.log_wealth(state.wealth)).all()
    assert 0.9 < low < high <= 1


def test_a_batch_remembers_the_strongest_evidence_after_any_of_its_labels():
    gains = np.random.default_rng(5).uniform(-0.4, 0.6, 30)
    log_es = [paired_numeric.log_e(paired_numeric.update(paired_numeric.initial(), gains[:n])) for n in range(1, 31)]
    strongest = paired_numeric.update(paired_numeric.initial(), gains).strongest
    assert (strongest.log_e, strongest.n) == (max(log_es), int(np.argmax(log_es)) + 1)


def test_the_strongest_moment_and_its_side_are_remembered():
    gains = np.concatenate((np.full(40, -0.6), np.full(200, 0.1)))
    state = paired_numeric.update(paired_numeric.initial(), gains)
    assert (state.strongest.n, state.strongest.side) == (40, -1)
    assert state.strongest.log_e > paired_numeric.log_e(state)


def test_the_chance_to_win_counts_requests_with_different_losses():
    assert isinstance(paired_numeric.probability_better(paired_numeric.initial()), NotEstimable)
    state = paired_numeric.update(paired_numeric.initial(), np.array([0.2, 0.0]))
    assert paired_numeric.probability_better(state) == pytest.approx(0.75)


def test_the_grid_holds_zero_and_reaches_both_ends():
    assert (GRID[ZERO], GRID[0], GRID[-1], len(GRID), len(SIZES)) == (0.0, -1.0, 1.0, 201, 26)
    assert np.all(np.diff(GRID) > 0)


def test_false_positives_stay_below_alpha_under_a_ramp_and_drift():
    # 60 A/A runs of 600 outcomes; the standard error at .05 is .03, and the true rate is far below.
    chance, positives = np.random.default_rng(21), 0
    shares = np.linspace(0.1, 0.5, 600)
    for _ in range(60):
        arms = chance.random(600) < shares
        values = (chance.random(600) < np.linspace(0.97, 0.85, 600)).astype(float)
        state = two_sample.update(two_sample.initial(), Outcomes(arms, values, shares))
        positives += state.strongest.log_e >= bar(0.05)
    assert positives / 60 <= 0.05
