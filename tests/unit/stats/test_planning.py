import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.stats import paired
from app.stats.estimates import NotEstimable, bar
from app.stats.forecast import Forecast, forecast
from app.stats.paired import PairedSummary
from app.stats.planning import boundary, discordance, plan, stopping_curve


@pytest.mark.parametrize(
    ("theta", "m", "expected"), [(0.6, 100, 0.2525500946), (0.6, 300, 0.7214860766), (0.75, 40, 0.6949373259)]
)
def test_the_chance_to_have_stopped_agrees_with_the_reference(theta, m, expected):
    assert stopping_curve(theta, m, 0.05)[m] == pytest.approx(expected, abs=1e-8)


def test_the_curve_agrees_with_simulation():
    # 4,000 runs: a standard error of .008.
    wins = np.cumsum(np.random.default_rng(1).random((4000, 60)) < 0.7, axis=1)
    stopped = (paired.log_es(wins, np.arange(1, 61) - wins) >= bar(0.05)).any(axis=1).mean()
    assert stopping_curve(0.7, 60, 0.05)[60] == pytest.approx(stopped, abs=0.03)


def test_equal_versions_are_distinguished_with_probability_below_alpha():
    assert stopping_curve(0.5, 3000, 0.05)[-1] < 0.05


@given(st.floats(0.5, 0.95), st.integers(1, 150))
@settings(max_examples=20, deadline=None)
def test_the_curve_is_a_distribution_and_the_same_for_either_winner(theta, m):
    curve = stopping_curve(theta, m, 0.05)
    assert np.all(np.diff(curve) >= 0)
    assert curve[-1] <= 1 + 1e-12
    assert stopping_curve(1 - theta, m, 0.05) == pytest.approx(curve, abs=1e-9)


def test_the_boundary_is_the_least_count_that_decides():
    for m, wins in enumerate(boundary(np.arange(200), 0.05).tolist()):
        if wins <= m:
            assert paired.log_e(PairedSummary(wins, m - wins)) >= bar(0.05)
        assert wins == (m + 1) // 2 or paired.log_e(PairedSummary(wins - 1, m - wins + 1)) < bar(0.05)


@given(st.floats(0.5, 0.99), st.floats(0.5, 0.99), st.floats(-1, 1))
def test_discordance_is_possible_and_keeps_the_accuracies(baseline, challenger, correlation):
    wins, losses = discordance(baseline, challenger, correlation)
    assert min(wins, losses) >= -1e-12
    assert wins + losses <= 1 + 1e-12
    assert wins - losses == pytest.approx(challenger - baseline)


def test_a_plan_says_how_long_it_will_take():
    made = plan(0.93, 0.96, 0.45, 0.05)
    assert made.likely == pytest.approx(480, rel=0.1)
    assert made.safe > made.likely


def test_versions_that_never_differ_are_never_told_apart():
    assert isinstance(plan(0.9, 0.9, 1.0, 0.05).likely, NotEstimable)


def test_a_plan_without_an_end_says_so():
    assert isinstance(plan(0.9, 0.9, 0.5, 0.05).likely, NotEstimable)


def test_a_forecast_is_seeded_and_ordered():
    made = forecast(PairedSummary(30, 15, 500), 0.05, seed=7)
    assert made == forecast(PairedSummary(30, 15, 500), 0.05, seed=7)
    assert 0 < made.low < made.median < made.high


def test_what_is_decided_needs_no_more_labels():
    assert forecast(PairedSummary(40, 2, 10), 0.05, seed=1) == Forecast(0, 0, 0, 0.0)


def test_a_forecast_needs_a_disagreement():
    assert isinstance(forecast(PairedSummary(0, 0, 50), 0.05, seed=1), NotEstimable)


def test_a_forecast_beyond_the_horizon_says_so():
    made = forecast(PairedSummary(10_000, 10_000, 10**6), 0.05, seed=1)
    assert isinstance(made.high, NotEstimable)
    assert made.undecided > 0.1


def test_a_forecast_holds_the_truth_about_as_often_as_it_says():
    # Truth from the model itself: theta and discordance drawn as the forecast draws them; 30 runs, tolerance .2.
    chance, hits = np.random.default_rng(3), 0
    start = PairedSummary(20, 10, 300)
    for seed in range(30):
        theta, share = chance.beta(21, 11), chance.beta(30.5, 300.5)
        wins = 20 + np.cumsum(chance.random(20_000) < theta)
        log_es = paired.log_es(wins, 30 + np.arange(1, 20_001) - wins)
        stop = int(np.argmax(log_es >= bar(0.05))) + 1 if (log_es >= bar(0.05)).any() else 10**9
        requests = stop + chance.negative_binomial(stop, share) if stop < 10**9 else 10**9
        made = forecast(start, 0.05, seed)
        hits += made.low <= requests <= (10**10 if isinstance(made.high, NotEstimable) else made.high)
    assert hits / 30 == pytest.approx(0.8, abs=0.2)
