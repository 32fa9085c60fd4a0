"""Shared by the statistical benchmarks: simulated labelled requests and vectorised tests for many replications.

The tests run all replications in parallel with numpy; each benchmark checks a few of them against `app.stats`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import beta

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from app.domain.experiment import ExperimentTerms
from app.scoring.contract import Answer
from app.scoring.table import METRICS
from app.stats.betting import SIZES
from app.stats.planning import boundary

CHUNK = 500
_SIDE_WEIGHTS = np.exp(-(np.log(SIZES / 0.3) ** 2) / 2)
_SIDE_WEIGHTS = _SIDE_WEIGHTS / _SIDE_WEIGHTS.sum() / 2
# Columns: baseline correct, challenger correct.
_CELLS = np.array([(1, 1), (1, 0), (0, 1), (0, 0)], bool)
_FLUSH_EVERY = 64


class Labels(NamedTuple):
    """One labelled request in each replication, each of shape (replications,)."""

    arm: np.ndarray
    baseline_right: np.ndarray
    challenger_right: np.ndarray

    @property
    def reward(self) -> np.ndarray:
        """1 if the served answer was correct, else 0."""
        return np.where(self.arm, self.challenger_right, self.baseline_right).astype(float)


def arguments(description: str, replications: int, flags: Mapping[str, str] | None = None) -> argparse.Namespace:
    """The common command-line options of the statistical benchmarks, and further `flags` with their help."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replications", type=int, default=replications)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work: a smoke test")
    for flag, said in (flags or {}).items():
        parser.add_argument(flag, action="store_true", help=said)
    return parser.parse_args()


def clopper_pearson(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The exact confidence interval of a proportion."""
    spare = (1 - level) / 2
    low = beta.ppf(spare, hits, n - hits + 1) if hits else 0.0
    return float(low), float(beta.ppf(1 - spare, hits + 1, n - hits) if hits < n else 1.0)


def proportion(hits: int, n: int) -> str:
    """A proportion with its 95 % interval, as text."""
    low, high = clopper_pearson(hits, n)
    return f"{hits / n:.4f} [{low:.4f}, {high:.4f}]"


def correctness(baseline: float, challenger: float, correlation: float) -> np.ndarray:
    """Probabilities of the four cells: both correct, only the baseline, only the challenger, neither."""
    wrong_a, wrong_b = 1 - baseline, 1 - challenger
    neither = wrong_a * wrong_b + correlation * np.sqrt(baseline * wrong_a * challenger * wrong_b)
    return np.array([1 - wrong_a - wrong_b + neither, wrong_b - neither, wrong_a - neither, neither])


def draw(
    chance: np.random.Generator, cells: np.ndarray, share: np.ndarray, label_rate: Callable[..., np.ndarray] | None
) -> Labels:
    """One labelled request per replication: cell and arm are drawn given that a label arrives.

    `share`, shape (replications,), is the probability of the challenger; `label_rate(arm, served_right)` is the
    probability of a label (None: always).
    """
    arms = np.array([False, True])
    joint = cells[None, :, None] * np.stack((1 - share, share), axis=1)[:, None, :]
    if label_rate is not None:
        served_right = np.stack((_CELLS[:, 0], _CELLS[:, 1]), axis=1)
        joint = joint * label_rate(arms[None, :], served_right)[None]
    edges = np.cumsum(joint.reshape(len(share), -1), axis=1)
    picked = (chance.random(len(share))[:, None] * edges[:, -1:] > edges[:, :-1]).sum(axis=1)
    cell, arm = np.divmod(picked, 2)
    return Labels(arm.astype(bool), _CELLS[cell, 0], _CELLS[cell, 1])


# The metrics of classes are simulated at 9 % positive; a right answer costs nothing.
RARE = ExperimentTerms(
    metric="accuracy",
    classes=("no", "yes"),
    class_shares=(0.91, 0.09),
    positive_class="yes",
    cost_matrix={"yes": {"no": 10.0}, "no": {"yes": 1.0}},
    error_range=(0.0, 9.0),
)
Rates = tuple[tuple[float, float], tuple[float, float]]


class RareClass:
    """Labelled rows of which 9 % are positive, and both versions' answers to them.

    `rates`: how often baseline and challenger are right, on negative rows and on positive ones.
    """

    def __init__(self, rates: Rates, correlation: float) -> None:
        self._cells = np.array([correctness(*pair, correlation) for pair in rates])
        self._edges = np.cumsum(self._cells, axis=1)[:, :-1]

    def gains(self, metric: str) -> np.ndarray:
        """The gain by label and cell, shape (2, 4), from the metric itself; NaN where the label is no outcome."""
        scored, found = METRICS[metric], np.full((2, 4), np.nan)
        for label, cell in np.ndindex(2, 4):
            base, other = (
                scored.value(Answer(c=label if right else 1 - label), label, RARE) for right in _CELLS[cell].tolist()
            )
            if base is not None and other is not None:
                found[label, cell] = scored.gain(RARE, base, other)
        return found

    def mean(self, gains: np.ndarray) -> float:
        """The true mean of such gains over the rows that are outcomes."""
        chances = self._cells * np.array(RARE.class_shares)[:, None]
        outcome = ~np.isnan(gains)
        return float((gains * chances)[outcome].sum() / chances[outcome].sum())

    def draw(self, chance: np.random.Generator, replications: int) -> tuple[np.ndarray, np.ndarray]:
        """Label and cell of one row in each replication."""
        labels = (chance.random(replications) < 0.09).astype(int)
        return labels, (chance.random(replications)[:, None] > self._edges[labels]).sum(axis=1)


class PairedRuns:
    """The paired test in many replications; `decided` is the number of labels until the decision (0: none yet)."""

    def __init__(self, replications: int, labels: int, alpha: float = 0.05) -> None:
        self.wins = np.zeros(replications, int)
        self.losses = np.zeros(replications, int)
        self.decided = np.zeros(replications, int)
        self._bar = boundary(np.arange(labels + 1), alpha)
        self._n = 0

    def observe(self, labels: Labels) -> None:
        """Add one label to each replication."""
        self._n += 1
        self.wins += labels.challenger_right & ~labels.baseline_right
        self.losses += labels.baseline_right & ~labels.challenger_right
        crossed = np.maximum(self.wins, self.losses) >= self._bar[self.wins + self.losses]
        self.decided[crossed & (self.decided == 0)] = self._n


class BettingRuns:
    """Betting against one difference in many replications, with the formulas of `app.stats.betting`."""

    def __init__(self, replications: int, d: float = 0.0, alpha: float = 0.05) -> None:
        self.log_e = np.zeros(replications)
        self.decided = np.zeros(replications, int)
        self._gap, self._bar = d, 1 / alpha
        self._wealth = np.ones((2, replications, len(SIZES)))
        self._n = 0

    def observe(self, x: np.ndarray, scale: np.ndarray, bound: np.ndarray) -> None:
        """Add one outcome to each replication; shapes (replications,)."""
        self._n += 1
        bets = np.minimum(SIZES * scale[:, None], (0.999 / (bound + abs(self._gap)))[:, None])
        bets *= (x - self._gap)[:, None]
        self._wealth[0] *= 1 + bets
        self._wealth[1] *= 1 - bets
        self.e = (self._wealth[0] + self._wealth[1]) @ _SIDE_WEIGHTS
        self.decided[(self.e >= self._bar) & (self.decided == 0)] = self._n
        if self._n % _FLUSH_EVERY == 0:
            self._wealth[self._wealth < 1e-200] = 0.0  # negligible wealth; subnormal numbers are slow

    def keep(self, rows: np.ndarray) -> None:
        """Keep these replications only."""
        self._wealth, self.decided = self._wealth[:, rows], self.decided[rows]


class TwoSampleRuns(BettingRuns):
    """The two-sample test in many replications."""

    def __init__(self, replications: int, d: float = 0.0, alpha: float = 0.05) -> None:
        super().__init__(replications, d, alpha)
        self._total = np.zeros(replications)

    def serve(self, arm: np.ndarray, reward: np.ndarray, share: np.ndarray) -> None:
        """Add one outcome to each replication; `share` is the logged probability of the challenger."""
        mean = (self._total + 1) / (self._n + 2)
        x = (reward - mean) * np.where(arm, 1 / share, -1 / (1 - share))
        bound = np.maximum(mean, 1 - mean) / np.minimum(share, 1 - share)
        self._total = self._total + reward
        self.observe(x, share * (1 - share), bound)

    def keep(self, rows: np.ndarray) -> None:
        """Keep these replications only."""
        super().keep(rows)
        self._total = self._total[rows]
