"""The confidence sequence that the wealth of `app.stats.betting` gives, rounded outwards between grid points.

A difference δ is excluded where a lower bound of E_δ reaches 1/α. The bound needs only the grid: wealth bet on the
challenger falls in δ and the other wealth rises, so each is at least its value at the worse end of the cell; and where
the cap never binds, ln W_k is a sum of logarithms of affine functions of δ, hence concave, hence above its chord. A
grid point, 0 among them, is excluded by E itself, so test and interval always agree.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from app.stats.betting import FOR, GRID, Wealth, log_wealth, never_capped
from app.stats.estimates import Interval, bar

# At a grid point that is excluded itself the interval is open: this part of the cell is left out there.
_OPEN = 1e-9


class _Bound:
    """The lower bound of ln E_δ within one cell, as a function of the position 0 ≤ t ≤ 1 in it; convex in t."""

    def __init__(self, left: np.ndarray, right: np.ndarray, chord: np.ndarray) -> None:
        worse = np.where(FOR, right, left)
        self._start = np.where(chord, left, worse)
        self._rise = np.where(chord, right - left, 0.0)

    def __call__(self, t: float) -> float:
        logs = self._start + t * self._rise
        top = float(logs.max())
        return top + math.log(float(np.exp(logs - top).sum()))


def interval(wealth: Wealth, alpha: float, reach: float) -> Interval:
    """The hull of the differences that are not excluded, within [−1, 1]; `reach` is the largest scale of the bets.

    P(it ever misses the true difference) ≤ α. Where everything is excluded (probability ≤ α), the least excluded
    difference, twice.
    """
    logs = log_wealth(wealth)
    threshold = bar(alpha)
    # A quick bound excludes most cells. The ends lie in the first and the last of the others that hold a point.
    cells = np.flatnonzero(_floor(logs) < threshold)
    chords = never_capped(reach)
    low = next(filter(None, (_within(logs, chords, int(cell), threshold) for cell in cells)), None)
    high = next(filter(None, (_within(logs, chords, int(cell), threshold) for cell in cells[::-1])), None)
    if low is None or high is None:
        least = float(GRID[np.argmin(_log_sum(logs))])
        return least, least
    return low[0], high[1]


def _log_sum(logs: np.ndarray) -> np.ndarray:
    top = logs.max(axis=0)
    total: np.ndarray = top + np.log(np.exp(logs - top).sum(axis=0))
    return total


def _floor(logs: np.ndarray) -> np.ndarray:
    """A quick lower bound of ln E over each cell, shape (200,): each side's wealth at its worse end."""
    return _log_sum(np.where(FOR[:, None], logs[:, 1:], logs[:, :-1]))


def _within(logs: np.ndarray, chords: np.ndarray, cell: int, threshold: float) -> Interval | None:
    """The part of a cell that is not excluded; None where there is none."""
    bound = _Bound(logs[:, cell], logs[:, cell + 1], chords[:, cell])
    lowest = 0.0 if bound(0.0) < threshold else 1.0
    if bound(lowest) >= threshold:
        lowest = float(minimize_scalar(bound, bounds=(0.0, 1.0), method="bounded").x)
        if bound(lowest) >= threshold:
            return None
    low, high = GRID[cell], GRID[cell + 1]
    excluded = _log_sum(logs[:, cell : cell + 2]) >= threshold
    ends = (
        _crossing(bound, lowest, _OPEN if excluded[0] else 0.0, threshold),
        _crossing(bound, lowest, 1 - _OPEN if excluded[1] else 1.0, threshold),
    )
    return float(low + (high - low) * ends[0]), float(low + (high - low) * ends[1])


def _crossing(bound: _Bound, inside: float, end: float, threshold: float) -> float:
    """Where the bound reaches the threshold between a point that is not excluded and an end of the cell."""
    if bound(end) < threshold:
        return end
    return float(brentq(lambda t: bound(t) - threshold, inside, end, xtol=1e-12))
