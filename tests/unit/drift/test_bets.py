from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from app.drift.bets import BETS, SHIFTS, SPREADS, beyond_mass, positions, recent_after, recent_mass, table

NORMAL = NormalDist()


def below(p: float) -> np.ndarray:
    place = float(positions(np.array([p]), np.array([1.0]))[0])
    values, rises = table()
    return values[int(place)] + (place - int(place)) * rises[int(place)]


@pytest.mark.parametrize("p", [1e-6, 0.003, 1 / 3, 0.5, 0.77, 0.9999])
def test_the_table_agrees_with_the_normal_distribution(p):
    z = NORMAL.inv_cdf(p)
    expected = [NORMAL.cdf(z - shift) for shift in SHIFTS] + [NORMAL.cdf(z / spread) for spread in SPREADS]
    np.testing.assert_allclose(below(p), expected, atol=2e-7)


def test_no_mass_lies_below_nothing_and_all_of_it_below_everything():
    assert (below(0.0) == 0).all()
    assert (below(1.0) == 1).all()


def test_every_bet_is_an_increasing_distribution_function():
    values, rises = table()
    assert values.shape[1] == BETS - 5
    assert (np.diff(values, axis=0) >= 0).all()
    assert (rises >= 0).all()


def test_the_bets_without_direction_give_all_their_mass_to_the_bins():
    shares = np.array([0.1, 0.2, 0.7])
    recent = recent_mass(shares, np.array([3.0, 0.0, 9.0]), np.array(12.0))
    np.testing.assert_allclose(recent, [13 / 112, 20 / 112, 79 / 112])
    np.testing.assert_allclose(beyond_mass(shares, np.arange(3) == 2, 0.05), [0.095, 0.19, 0.715])


def test_counts_fade_to_nothing_in_the_end():
    assert recent_after(np.array([5.0]), np.zeros((300, 1)))[-1, 0] == 0.0
