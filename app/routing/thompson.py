"""Thompson sampling by probability matching: each version answers with its probability of being the best.

Drawing from posteriors at each request would make the propensity an integral that nobody logged, over states that
change while it runs. So the state enters through the configuration: the monitor computes `probabilities_to_be_best`
from time to time and sets them as the weights of a new config revision. Within a revision the propensity is the
weight, exactly, and is in the log; the choice has the same distribution as Thompson's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from app.routing import weighted
from app.routing.choice import Choice

_POINTS = 4001
_REACH_SD = 10.0
# Keeps the logarithm of 0 out of the sums, where 0 outcomes times it would be NaN.
_SMALLEST = 1e-300


class Beliefs(msgspec.Struct, frozen=True):
    """The belief about one version's chance of success: outcomes so far, under a uniform prior."""

    successes: float = 0.0
    failures: float = 0.0


def choose(weights: Mapping[str, float], eligible: Sequence[str], draw: float, user_hash: int) -> Choice:
    """The version in which `draw` falls when the eligible versions share it by their probability of being the best."""
    choice = weighted.choose(weights, eligible, draw, user_hash)
    return Choice(version=choice.version, propensity=choice.propensity, assignment="bandit")


def probabilities_to_be_best(beliefs: Mapping[str, Beliefs], least: float = 0.01) -> dict[str, float]:
    """The weights of the next revision: P(version has the highest chance of success), Beta posteriors, independent.

    ∫ f_i Π F_j on a grid, relative error below 1e-3 (tested against sampling). No share is below `least` (at most
    1 / number of versions): a version that is never asked can never recover, and the weights 1/propensity stay bounded.
    """
    grid = _grid(beliefs)
    densities = {name: _density(belief, grid) for name, belief in beliefs.items()}
    below = {name: _cumulated(density, grid) for name, density in densities.items()}
    won: dict[str, float] = {}
    for name, density in densities.items():
        others = np.prod([below[other] for other in below if other != name], axis=0) if len(below) > 1 else 1.0
        won[name] = float(np.trapezoid(density * others, grid))
    total = sum(won.values())
    # Mixed in and not clipped, so that the shares still sum to 1.
    floor = min(least, 1 / len(beliefs))
    return {name: floor + (1 - floor * len(beliefs)) * share / total for name, share in won.items()}


def _grid(beliefs: Mapping[str, Beliefs]) -> np.ndarray:
    """Points on [0, 1], dense where a posterior has its mass: it narrows with the root of the outcomes."""
    parts = [np.linspace(0.0, 1.0, _POINTS)]
    for belief in beliefs.values():
        a, b = belief.successes + 1, belief.failures + 1
        mean = a / (a + b)
        sd = (mean * (1 - mean) / (a + b + 1)) ** 0.5
        low, high = max(0.0, mean - _REACH_SD * sd), min(1.0, mean + _REACH_SD * sd)
        parts.append(np.linspace(low, high, _POINTS))
    return np.unique(np.concatenate(parts))


def _density(belief: Beliefs, grid: np.ndarray) -> np.ndarray:
    """The Beta density up to rounding, normalised on the grid: its own constant would overflow."""
    inside = np.clip(grid, _SMALLEST, 1 - 2**-53)
    logs = belief.successes * np.log(inside) + belief.failures * np.log1p(-inside)
    density = np.exp(logs - logs.max())
    total = float(np.trapezoid(density, grid))
    normalised: np.ndarray = density / total
    return normalised


def _cumulated(density: np.ndarray, grid: np.ndarray) -> np.ndarray:
    steps = (density[1:] + density[:-1]) / 2 * np.diff(grid)
    return np.concatenate([[0.0], np.cumsum(steps)])
