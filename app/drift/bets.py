"""The alternatives that the detector bets on: shifts, changes of spread, values beyond all known ones, recent mixes.

A shift or spread is a distribution function G on the null's probabilities: where the null puts mass p below a point,
the bet puts G(p), with G(p) = Φ(Φ⁻¹(p) − δ) for a shift by δ and Φ(Φ⁻¹(p)/σ) for a spread of σ. Any increasing G from
0 to 1 gives an exact e-value, so reading G from a table costs nothing in validity (its error is below 1e-7).

Four bets expect that five requests in a hundred, or one, lie below, or above, everything in the reference: missing
values where none were missing, unknown categories, wrong units, rare outliers. The last one expects the mix of the last
few blocks. It finds changes that move nothing along a line: a category in the middle that grows, a hump that splits.
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist
from typing import Final

import numpy as np

SHIFTS: Final = (-2.0, -1.0, -0.5, -0.25, 0.25, 0.5, 1.0, 2.0)
SPREADS: Final = (0.6, 1.6)
TABLED: Final = len(SHIFTS) + len(SPREADS)
BELOW: Final = TABLED
ABOVE: Final = TABLED + 1
RECENT: Final = TABLED + 2
FEW_BELOW: Final = TABLED + 3
FEW_ABOVE: Final = TABLED + 4
BETS: Final = TABLED + 5
# Of the requests, so many are expected beyond all known values (ADR 0008); the second bet is for rare outliers.
BEYOND: Final = 0.05
FEW_BEYOND: Final = 0.01
_RECENT_DECAY: Final = 0.9
_RECENT_PRIOR: Final = 100.0
# Below this a decaying count is 0: it would end in subnormal numbers, which are slow.
_RECENT_LEAST: Final = 1e-9
_LOGIT_LIMIT: Final = 20.0
# Some 20,000 nodes: any increasing function is an exact bet, so the table's error of 1e-7 costs no validity.
_NODES_PER_LOGIT: Final = 512
_NODES: Final = int(2 * _LOGIT_LIMIT * _NODES_PER_LOGIT) + 1


def positions(below: np.ndarray, total: np.ndarray) -> np.ndarray:
    """The place of p = `below` / `total` in the table: node number and fraction as one float, same shape as `below`."""
    # In place: there are many, and each further array costs as much as the arithmetic.
    place: np.ndarray = total - below
    with np.errstate(divide="ignore"):
        np.log(np.divide(below, place, out=place), out=place)
    first, last = place == -np.inf, place == np.inf
    np.clip(place, -_LOGIT_LIMIT, _LOGIT_LIMIT, out=place)
    place += _LOGIT_LIMIT
    place *= _NODES_PER_LOGIT
    place += 1
    np.putmask(place, first, 0.0)
    np.putmask(place, last, _NODES + 1.0)
    return place


def recent_after(recent: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The decayed counts before each block of `counts`, and after the last: a block weighs 0.9 of the one after it.

    `recent` are those before the first, of the shape of a block.
    """
    faded = np.empty((len(counts) + 1, *recent.shape))
    faded[0] = recent
    # Arrays, made once: of numbers NumPy would make them again for each block.
    decay, least = np.full(recent.shape, _RECENT_DECAY), np.full(recent.shape, _RECENT_LEAST)
    before, is_gone = recent, np.empty(recent.shape, bool)
    for after, added in zip(faded[1:], counts, strict=True):
        np.multiply(before, decay, out=after)
        after[np.less(after, least, out=is_gone)] = 0.0
        after += added
        before = after
    return faded


def beyond_mass(share: np.ndarray, outermost: np.ndarray, expected: float) -> np.ndarray:
    """The mass that a bet on values beyond all known ones gives to bins that the null gives `share` of the mass.

    `outermost` is true for the bin at that end, where a share of `expected` of the requests is expected.
    """
    mass: np.ndarray = (1 - expected) * share + expected * outermost
    return mass


def recent_mass(share: np.ndarray, recent: np.ndarray, total: np.ndarray) -> np.ndarray:
    """The mass that the bet on the last blocks gives to bins that the null gives `share` of the mass.

    `recent` are the bins' faded counts, which sum to `total` per stream; the null's mass counts as 100 requests.
    """
    mass: np.ndarray = (recent + _RECENT_PRIOR * share) / (total + _RECENT_PRIOR)
    return mass


@functools.cache
def table() -> tuple[np.ndarray, np.ndarray]:
    """G of every bet at each node and its rise to the next node, two arrays of shape (nodes, `TABLED`).

    The nodes are evenly spaced in logit p, but the first is p = 0 and the last p = 1.
    """
    quantiles = [_quantile(node / _NODES_PER_LOGIT - _LOGIT_LIMIT) for node in range(_NODES)]
    columns = [[_normal(z - shift) for z in quantiles] for shift in SHIFTS]
    columns += [[_normal(z / spread) for z in quantiles] for spread in SPREADS]
    inner = np.array(columns)
    values = np.concatenate([np.zeros((TABLED, 1)), inner, np.ones((TABLED, 1))], axis=1)
    rises = np.zeros_like(values)
    rises[:, 1:-2] = np.diff(inner, axis=1)
    return np.ascontiguousarray(values.T), np.ascontiguousarray(rises.T)


def _quantile(logit: float) -> float:
    """Φ⁻¹ of the logistic function of `logit`, precise in both tails."""
    return math.copysign(NormalDist().inv_cdf(1 / (1 + math.exp(abs(logit)))), logit) if logit else 0.0


def _normal(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))
