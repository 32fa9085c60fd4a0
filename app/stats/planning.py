"""How long an experiment will take, computed before it starts, with no simulation.

Model: of the labelled requests a share `discordance` has exactly one version right, in a fraction θ of them the
challenger; the paired test is evaluated after each. The distribution of the stopping time is exact: a dynamic programme
over (w, l) that drops the paths which have stopped. Source: the stopping rule is that of `app.stats.paired`.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from app.stats.estimates import NotEstimable, bar
from app.stats.paired import log_es

MOST_DISCORDANT = 20_000


class PlannedRun(msgspec.Struct, frozen=True):
    """Labelled requests until the decision: `likely` for half of the experiments, `safe` for four in five.

    `discordance` is the share of requests on which exactly one version is right, `theta` the challenger's share of
    these.
    """

    discordance: float
    theta: float
    likely: int | NotEstimable
    safe: int | NotEstimable


def boundary(discordant: np.ndarray, alpha: float) -> np.ndarray:
    """The least number of wins, out of each number of discordant requests, at which E ≥ 1/α; that many + 1 if none."""
    threshold = bar(alpha)
    # By bisection: the evidence grows with the number of wins above a half.
    low, high = (discordant + 1) // 2, discordant + 1
    while (low < high).any():
        middle = (low + high) // 2
        stops = (middle <= discordant) & (
            log_es(np.minimum(middle, discordant), np.maximum(discordant - middle, 0)) >= threshold
        )
        low, high = np.where(stops, low, np.minimum(middle + 1, high)), np.where(stops, middle, high)
    found: np.ndarray = high
    return found


def stopping_curve(theta: float, discordant: int, alpha: float) -> np.ndarray:
    """P(decided after at most m discordant requests | θ) for m = 0 … `discordant`; shape (discordant + 1,)."""
    most = boundary(np.arange(discordant + 1), alpha) - 1
    alive = np.zeros(discordant + 2)
    alive[0] = 1.0
    stopped = np.zeros(discordant + 1)
    for m in range(1, discordant + 1):
        low, high = max(0, m - 1 - int(most[m - 1])), min(m - 1, int(most[m - 1]))
        before = alive[low : high + 1].copy()
        alive[low : high + 1] = before * (1 - theta)
        alive[high + 1] = 0.0
        alive[low + 1 : high + 2] += before * theta
        losers, winners = max(0, m - int(most[m])), int(most[m]) + 1
        stopped[m] = alive[low:losers].sum() + alive[winners : high + 2].sum()
        alive[low:losers] = 0.0
        alive[winners : high + 2] = 0.0
    curve: np.ndarray = np.cumsum(stopped)
    return curve


def discordance(baseline: float, challenger: float, error_correlation: float) -> tuple[float, float]:
    """P(challenger alone right), P(baseline alone right) for two accuracies and the correlation φ of their errors.

    Where φ is larger than the accuracies allow, the largest possible one.
    """
    wrong_a, wrong_b = 1 - baseline, 1 - challenger
    spread = math.sqrt(baseline * wrong_a * challenger * wrong_b)
    both_wrong = min(wrong_a * wrong_b + error_correlation * spread, wrong_a, wrong_b)
    both_wrong = max(both_wrong, 0.0, wrong_a + wrong_b - 1)
    return wrong_a - both_wrong, wrong_b - both_wrong


def plan(baseline: float, challenger: float, error_correlation: float, alpha: float) -> PlannedRun:
    """The labelled requests that a comparison of two accuracies will need at error rate `alpha`.

    `error_correlation` is φ, the correlation of the versions' errors.
    """
    wins, losses = discordance(baseline, challenger, error_correlation)
    share = wins + losses
    if share <= 0:
        never = NotEstimable("two versions that never differ are never told apart")
        return PlannedRun(0.0, 0.5, never, never)
    theta = wins / share
    # Far from ½ it decides early, so a shorter horizon is enough; the programme takes time with its square.
    curve = stopping_curve(theta, MOST_DISCORDANT if abs(theta - 0.5) < 0.1 else MOST_DISCORDANT // 10, alpha)
    return PlannedRun(share, theta, _requests(curve, 0.5, share), _requests(curve, 0.8, share))


def _requests(curve: np.ndarray, probability: float, share: float) -> int | NotEstimable:
    reached = np.flatnonzero(curve >= probability)
    if not len(reached):
        return NotEstimable(f"not within {len(curve) - 1:,} requests on which the versions differ in being right")
    return math.ceil(int(reached[0]) / share)
