from __future__ import annotations

import itertools

import numpy as np
import pytest

from app.drift.bets import SHIFTS
from app.drift.urn import block_e_values, urns_before

PLUS_ONE = SHIFTS.index(1.0)


def e_values(alpha: list[float], blocks: list[list[int]], recent: list[float] | None = None) -> np.ndarray:
    """Shape (bets, blocks), of one stream."""
    urn = np.array([alpha])
    faded = np.zeros_like(urn) if recent is None else np.array([recent])
    bins = np.array(blocks, dtype=np.uint8).T[:, :, None]
    return block_e_values(urns_before(urn, faded, bins, np.array([True])), np.array([len(alpha) - 1]))[:, :, 0].T


def test_one_value_at_a_time_gives_the_published_e_values():
    found = e_values([1, 1], [[1], [1]])[PLUS_ONE]
    np.testing.assert_allclose(found, [1.682689, 1.385619], atol=1e-6)
    assert found.prod() == pytest.approx(2.331566, abs=1e-6)


def test_one_block_of_two_gives_the_published_e_value():
    assert e_values([1, 1], [[1, 1]])[PLUS_ONE, 0] == pytest.approx(2.257067, abs=1e-6)


def polya_probability(alpha: list[float], block: tuple[int, ...]) -> float:
    urn, probability = list(alpha), 1.0
    for value in block:
        probability *= urn[value] / sum(urn)
        urn[value] += 1
    return probability


@pytest.mark.parametrize("alpha", [[1.0, 1.0, 1.0], [1.0, 5.0, 2.0], [40.0, 1.0, 3.0]])
def test_every_bet_has_mean_one_when_nothing_has_changed(alpha):
    mean = sum(
        polya_probability(alpha, block) * e_values(alpha, [list(block)], [4.0, 0.0, 1.0])[:, 0]
        for block in itertools.product(range(3), repeat=4)
    )
    np.testing.assert_allclose(mean, 1.0, rtol=1e-12)


def test_the_order_within_a_block_does_not_matter():
    np.testing.assert_allclose(e_values([2, 3, 4], [[0, 1, 1, 2]]), e_values([2, 3, 4], [[1, 2, 1, 0]]), rtol=1e-12)


def test_a_stream_that_does_not_absorb_keeps_its_urn():
    bins = np.ones((1, 2, 1), dtype=np.uint8)
    urns = urns_before(np.ones((1, 2)), np.zeros((1, 2)), bins, np.array([False]))
    found = block_e_values(urns, np.array([1]))[:, PLUS_ONE, 0]
    assert found[0] == found[1]
