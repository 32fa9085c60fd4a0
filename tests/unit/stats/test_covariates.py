"""Rewards that are predicted from the features of their rows."""

import math
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.experiment import CovariateColumn
from app.stats import betting, covariates, two_sample
from app.stats.betting import GRID, SIGNED_SIZES, WEIGHTS, Wealth
from app.stats.covariates import design
from app.stats.estimates import bar
from app.stats.strongest import Strongest
from app.stats.two_sample import Outcomes, TwoSampleState

SEEDS = st.integers(0, 2**32 - 1)
COLUMNS = 3


def _drawn(seed: int, n: int, r2=0.5, share=0.5, effect=0.0) -> Outcomes:
    """Rewards of which the columns explain the share `r2`; about .2 of spread around .5."""
    chance = np.random.default_rng(seed)
    columns, arms = chance.normal(size=(n, COLUMNS)), chance.random(n) < share
    explained = math.sqrt(r2 / COLUMNS) * columns.sum(axis=1)
    noise = math.sqrt(1 - r2) * chance.normal(size=n)
    values = np.clip(0.5 + 0.2 * (explained + noise) + effect * (arms - 0.5), 0, 1)
    return Outcomes(arms, values, np.full(n, share), None, columns)


def _part(outcomes: Outcomes, start: int, stop: int) -> Outcomes:
    cut = {name: value[start:stop] for name, value in msgspec.structs.asdict(outcomes).items() if value is not None}
    return Outcomes(**cut)


def _after(outcomes: Outcomes, columns: int = COLUMNS) -> TwoSampleState:
    return two_sample.update(two_sample.initial(columns), outcomes)


def _textbook(outcomes: Outcomes, n: int) -> np.ndarray:
    """Ridge regression on the first n outcomes, by a library's solver on rows and pseudo-rows."""
    rows = np.column_stack((np.ones(n), outcomes.columns[:n]))
    penalty = np.sqrt(5.0) * np.eye(COLUMNS + 1)[1:]
    target = np.concatenate((outcomes.values[:n], np.zeros(COLUMNS)))
    return np.linalg.lstsq(np.vstack((rows, penalty)), target)[0]


@pytest.mark.parametrize(("n", "fitted_on"), [(50, 50), (113, 50), (114, 114), (400, 370)])
def test_the_fit_is_ridge_regression_on_the_outcomes_up_to_the_last_refit(n, fitted_on):
    outcomes = _drawn(1, n)
    found = np.frombuffer(_after(outcomes).covariates.coefficients)
    assert found == pytest.approx(_textbook(outcomes, fitted_on), abs=1e-10)


def test_nothing_is_predicted_before_the_first_fit():
    state = _after(_drawn(1, 49)).covariates
    assert (state.coefficients, state.n, state.error, state.error_of_mean) == (b"", 49, 0.0, 0.0)


def test_r2_compares_predictions_with_the_running_mean_before_each_outcome():
    outcomes = _drawn(2, 150)
    values, error, error_of_mean = outcomes.values, 0.0, 0.0
    for at in range(50, 150):
        coefficients = _textbook(outcomes, 50 if at < 114 else 114)
        predicted = np.clip(coefficients[0] + outcomes.columns[at] @ coefficients[1:], 0, 1)
        error += (values[at] - predicted) ** 2
        error_of_mean += (values[at] - (values[:at].sum() + 1) / (at + 2)) ** 2
    assert _after(outcomes).covariates.r2 == pytest.approx(1 - error / error_of_mean, abs=1e-10)


@pytest.mark.parametrize(("r2", "in_use"), [(0.5, True), (0.3, True), (0.05, False), (0.0, False)])
def test_the_regression_is_used_only_where_it_predicts(r2, in_use):
    state = _after(_drawn(3, 1000, r2)).covariates
    assert (state.in_use, state.r2) == (in_use, pytest.approx(r2, abs=0.1))


def test_until_the_regression_is_used_the_test_is_the_one_without_it():
    outcomes = _drawn(4, 114)
    plain = two_sample.update(two_sample.initial(), outcomes)
    assert _after(outcomes).wealth == plain.wealth
    assert plain.covariates is None


def _by_definition(outcomes: Outcomes, d: float) -> float:
    """ln E_d straight from the formulas: the regression from the second fit on, with its own bound."""
    logs, values = np.log(WEIGHTS), outcomes.values
    for at, (arm, y, share) in enumerate(zip(outcomes.served_challenger, values, outcomes.propensities, strict=True)):
        centre = (values[:at].sum() + 1) / (at + 2)
        reach = max(centre, 1 - centre)
        if at >= 114:
            coefficients = _textbook(outcomes, at - (at - 50) % 64)
            centre, reach = np.clip(coefficients[0] + outcomes.columns[at] @ coefficients[1:], 0, 1), 1.0
        x = (y - centre) * (arm / share - (1 - arm) / (1 - share))
        cap = 0.999 / (reach / min(share, 1 - share) + abs(d))
        logs = logs + np.log1p(np.clip(SIGNED_SIZES * share * (1 - share), -cap, cap) * (x - d))
    return float(np.logaddexp.reduce(logs))


@pytest.mark.parametrize("column", [0, 80, 100, 117, 200])
@pytest.mark.parametrize("share", [0.5, 0.1])
def test_the_wealth_on_the_grid_agrees_with_the_definition(share, column):
    outcomes = _drawn(5, 200, 0.6, share)
    on_grid = np.logaddexp.reduce(betting.log_wealth(_after(outcomes).wealth)[:, column])
    assert on_grid == pytest.approx(_by_definition(outcomes, GRID[column]), abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.lists(st.integers(0, 200), max_size=4))
def test_batches_give_the_same_state_to_the_last_bit(seed, cuts):
    outcomes = _drawn(seed, 200, 0.5, 0.3)
    state = two_sample.initial(COLUMNS)
    for start, stop in pairwise([0, *sorted(cuts), 200]):
        state = two_sample.update(state, _part(outcomes, start, stop))
    assert state == _after(outcomes)


def test_one_by_one_is_the_same_to_the_last_bit():
    outcomes, state = _drawn(6, 130), two_sample.initial(COLUMNS)
    for at in range(130):
        state = two_sample.update(state, _part(outcomes, at, at + 1))
    assert state == _after(outcomes)


def test_a_state_survives_json_and_is_of_constant_size():
    small, large = _after(_drawn(1, 60)), _after(_drawn(1, 700))
    assert msgspec.json.decode(msgspec.json.encode(large), type=TwoSampleState) == large
    assert abs(len(msgspec.json.encode(small)) - len(msgspec.json.encode(large))) < 200


class _StateBefore(msgspec.Struct, frozen=True):
    """The state as the release before covariates decodes it."""

    wealth: Wealth
    n: int = 0
    skipped: int = 0
    informative: int = 0
    total: float = 0.0
    sum_x: float = 0.0
    strongest: Strongest = Strongest()


def test_the_previous_release_reads_the_state_and_goes_on_with_the_running_mean():
    state = _after(_drawn(1, 300))
    before = msgspec.json.decode(msgspec.json.encode(state), type=_StateBefore)
    assert all(getattr(before, name) == getattr(state, name) for name in _StateBefore.__struct_fields__)
    again = msgspec.json.decode(msgspec.json.encode(before), type=TwoSampleState)
    assert again == msgspec.structs.replace(state, covariates=None)


def test_outcomes_that_chance_did_not_decide_or_that_tell_nothing_do_not_train():
    outcomes = _drawn(7, 300)
    keep, informative = np.arange(300) % 3 > 0, np.arange(300) % 2 > 0
    shares = np.where(keep, 0.5, 1.0)
    marked = msgspec.structs.replace(outcomes, propensities=shares, informative=informative)
    trained = _part(outcomes, 0, 300)
    only = Outcomes(*(np.asarray(a)[keep & informative] for a in (trained.served_challenger, trained.values, shares)))
    only = msgspec.structs.replace(only, columns=outcomes.columns[keep & informative])
    assert _after(marked).covariates == _after(only).covariates
    assert _after(marked).covariates.n == 100


def test_a_missing_value_counts_as_the_mean_and_an_absurd_one_has_a_limit():
    columns = np.random.default_rng(1).normal(size=(130, COLUMNS))
    holes, zeros = columns.copy(), columns.copy()
    holes[::3, 1], zeros[::3, 1] = math.nan, 0.0
    holes[5, 2], zeros[5, 2] = math.inf, 8.0
    plain = _drawn(8, 130)
    one, other = (_after(msgspec.structs.replace(plain, columns=each)) for each in (holes, zeros))
    assert one == other
    assert np.isfinite(np.frombuffer(one.covariates.coefficients)).all()


def test_rows_that_are_not_known_count_as_the_mean_row():
    unknown = msgspec.structs.replace(_drawn(9, 130), columns=None)
    state = _after(unknown)
    assert (state.covariates.n, state.covariates.in_use) == (130, False)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.sampled_from([0.5, 0.1]), st.floats(-0.3, 0.3))
def test_test_and_interval_never_disagree(seed, share, effect):
    state = _after(_drawn(seed, 300, 0.6, share, effect))
    low, high = two_sample.interval(state, 0.05)
    assert (low > 0 or high < 0) == (two_sample.log_e(state) >= bar(0.05))
    assert low <= two_sample.difference(state) <= high


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.sampled_from([0.5, 0.1]))
def test_every_difference_outside_the_interval_is_excluded_by_definition(seed, share):
    outcomes = _drawn(seed, 250, 0.7, share, 0.2)
    if not _after(_part(outcomes, 0, 114)).covariates.in_use:
        return
    low, high = two_sample.interval(_after(outcomes), 0.05)
    outside = [*np.linspace(-1, low, 4)[1:-1], *np.linspace(high, 1, 4)[1:-1]]
    assert all(_by_definition(outcomes, d) >= bar(0.05) - 1e-9 for d in outside if not low <= d <= high)


def test_columns_that_predict_make_the_test_decide_sooner():
    def decided(columns: int) -> float:
        seen = []
        for seed in range(8):
            outcomes, state, n = _drawn(seed, 4000, 0.6, 0.5, 0.03), two_sample.initial(columns), 0
            while n < 4000 and two_sample.log_e(state) < bar(0.05):
                state, n = two_sample.update(state, _part(outcomes, n, n + 50)), n + 50
            seen.append(n)
        return float(np.median(seen))

    assert decided(COLUMNS) < 0.75 * decided(0)


def test_effects_of_both_signs_with_mean_zero_are_no_difference():
    positives = 0
    for seed in range(40):
        outcomes = _drawn(seed, 600, 0.5)
        effect = 0.2 * np.sign(outcomes.columns[:, 0]) * outcomes.served_challenger
        state = _after(msgspec.structs.replace(outcomes, values=np.clip(outcomes.values + effect, 0, 1)))
        positives += state.strongest.log_e >= bar(0.05)
    assert positives <= 2


def test_more_columns_than_outcomes_can_be_fitted():
    chance = np.random.default_rng(1)
    columns = chance.normal(size=(200, 64))
    outcomes = Outcomes(chance.random(200) < 0.5, chance.random(200), np.full(200, 0.5), None, columns)
    assert not _after(outcomes, 64).covariates.in_use


NUMBER = CovariateColumn(0, 10.0, 2.0)
RED, THREE = CovariateColumn(1, level="red"), CovariateColumn(1, level=3.0)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ('[14,"red"]', [2.0, 1.0, 0.0]),
        ("[9.5,3]", [-0.25, 0.0, 1.0]),
        ("[null,null]", [math.nan] * 3),
        ('["fourteen","blue"]', [math.nan, 0.0, 0.0]),
        ("[14]", [2.0, math.nan, math.nan]),
        ("", [math.nan] * 3),
    ],
)
def test_logged_rows_become_standardised_and_one_hot_columns(row, expected):
    assert design((NUMBER, RED, THREE), [row]) == pytest.approx(np.array([expected]), nan_ok=True)


def test_a_constant_column_says_nothing():
    assert np.isnan(design((CovariateColumn(0, 1.0, 0.0),), ["[1.0]", "[2.0]"])).all()


def test_a_design_has_a_row_for_each_row_and_a_column_for_each_column():
    assert design((NUMBER, RED), []).shape == (0, 2)
    assert design((NUMBER, RED), ["[1,2]"] * 5).shape == (5, 2)


def test_a_state_of_64_columns_is_as_large_as_its_docstring_says():
    assert len(msgspec.json.encode(covariates.initial(64))) == pytest.approx(46_500, abs=500)
