from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_iris

from app.drift.evidence import (
    alarm_wealth,
    distances,
    evidence,
    false_alarm_bound,
    least_detectable_outliers,
    least_detectable_shift,
    margin,
    scores_of,
)
from app.drift.reference import build_reference
from app.drift.report import drift_report
from app.drift.watch import start, update
from tests.unit.drift.drift_samples import numeric_contract

IRIS = load_iris().data
SPREAD = IRIS.std(axis=0)


@pytest.mark.parametrize(("shift", "expected"), [(0.25, 0.0995), (0.5, 0.1974), (1, 0.3829), (2, 0.6827), (5, 0.9876)])
def test_the_distance_of_two_shifted_normal_distributions_is_the_published_one(shift, expected):
    edges = np.arange(-10, 16.001, 0.005)
    reference, live = ([NormalDist(mean).cdf(edge) for edge in edges] for mean in (0, shift))
    assert distances(np.diff(reference), np.diff(live)) == pytest.approx(expected, abs=1e-4)


def test_the_margin_is_that_of_the_two_sample_bound():
    assert margin(120, 500, 4) == pytest.approx(0.185842, abs=1e-6)


@pytest.mark.parametrize(("reference", "live"), [([0, 0], [1, 2]), ([1, 2], [0, 0])])
def test_without_values_there_is_no_distance(reference, live):
    assert distances(reference, live) == 0.0
    assert margin(sum(reference), sum(live), 1) > 1


def iris_score(shift: float, seed: int, window: int = 500) -> float:
    """The score of a window of smoothed bootstrap rows with petal_length moved by `shift` standard deviations."""
    chance = np.random.default_rng(seed)
    rows = IRIS[chance.integers(0, 150, 120 + window)] + chance.normal(size=(120 + window, 4)) * SPREAD * 0.1
    rows[120:, 2] += shift * SPREAD[2]
    reference = build_reference(numeric_contract(4), rows[:120], seed=seed)
    return drift_report("v1", reference, update(reference, start(reference, window), rows[120:])).score


@pytest.mark.parametrize(("shift", "expected"), [(0, 0.0), (0.5, 0.10), (1, 0.26), (2, 0.49), (5, 0.81)])
def test_the_median_scores_on_iris_are_the_published_ones(shift, expected):
    median = float(np.median([iris_score(shift, seed) for seed in range(15)]))
    assert median == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize("window", [100, 2000])
def test_clean_windows_score_nothing(window):
    assert sum(iris_score(0, seed, window) > 0 for seed in range(20)) <= 1


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(1, 20), shifts=st.tuples(st.floats(0, 8), st.floats(0, 8)))
def test_the_score_never_falls_with_a_greater_shift(seed, shifts):
    assert iris_score(min(shifts), seed) <= iris_score(max(shifts), seed)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_five_standard_deviations_score_at_least_seven_tenths(seed):
    assert iris_score(5, seed) >= 0.7


@pytest.mark.parametrize(
    ("wealth", "requests", "expected"),
    [
        (1e4, 0, 0.0),
        (0.0, 0, 0.0),
        (2e6, 0, 1.0),
        (1e9, 0, 1.0),
        (2e6, 10**9, 1.0),
        (2e5, 10**9, 0.0),
        (141421.356, 0, 0.5),
    ],
)
def test_evidence_runs_from_chance_to_the_alarm(wealth, requests, expected):
    assert evidence(wealth * 7, requests, 7) == pytest.approx(expected)


def test_evidence_is_one_exactly_at_the_alarm():
    assert evidence(alarm_wealth(9), 5000, 9) == 1.0
    assert evidence(alarm_wealth(9) * 0.999, 5000, 9) < 1.0


def test_what_is_promised_and_what_can_be_proven():
    assert false_alarm_bound(10_000) == 0.01
    assert false_alarm_bound(10**9) == 1.0
    assert least_detectable_shift(9, 120) == pytest.approx(0.4124, abs=0.001)
    assert least_detectable_shift(9, 0) is None


@pytest.mark.parametrize(("streams", "rows", "share"), [(1, 2500, 0.0085), (4, 2500, 0.0091), (9, 120, 0.138)])
def test_the_least_share_of_outliers_that_a_reference_can_prove(streams, rows, share):
    assert least_detectable_outliers(streams, rows) == pytest.approx(share, rel=0.08)


def test_a_reference_of_few_rows_can_prove_no_share_of_outliers():
    assert least_detectable_outliers(1, 10) is None
    assert least_detectable_outliers(1, 0) is None


def test_the_scores_of_windows_that_overlap_are_those_of_each_alone():
    chance = np.random.default_rng(6)
    family = build_reference(numeric_contract(3), chance.normal(size=(100, 3)), seed=1).inputs
    keys = chance.normal(size=(900, 3)) + np.linspace(0, 1, 900)[:, None]
    shown = family.shown(keys, family.bins(np.tile(keys, 3)[:, : len(family.streams)], 0))[:, :3]
    ends = np.array([3, 40, 41, 300, 620, 900])
    scores = scores_of(family, shown, ends, 250)
    for end, found in zip(ends.tolist(), scores.tolist(), strict=True):
        assert found == scores_of(family, shown[max(0, end - 250) : end], np.array([min(end, 250)]), 250)[0].tolist()
    assert scores[-1].max() > scores[0].max() == 0
