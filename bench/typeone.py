"""False positives of the paired and the two-sample test when both versions are equally good, with a look per label.

    python bench/typeone.py --seed 1 [--replications 2000] [--metrics] [--quick]

Seven scenarios, 20,000 labels each; prints how often a winner is ever declared (α = .05), with the 95 % Clopper–Pearson
interval. Then each further metric, at 9 % positive: both versions are right on .95 of the negative rows and .8 of the
positive ones; a squared error is that of normal residuals. The first replications of each row also run through
`app.stats` and must agree to 1e-9. `--metrics` runs these rows alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from simulated import (
    CHUNK,
    RARE,
    BettingRuns,
    Labels,
    PairedRuns,
    RareClass,
    TwoSampleRuns,
    arguments,
    correctness,
    draw,
    proportion,
)

from app.scoring.table import METRICS
from app.stats import paired, paired_numeric, two_sample
from app.stats.estimates import bar
from app.stats.paired import PairedSummary
from app.stats.strongest import Strongest
from app.stats.two_sample import Outcomes

LABELS = 20_000
CORRELATION = 0.45
TARGET = 0.055
METRIC_TARGET = 0.06
CHECKED, CHECKED_LABELS = 3, 2000
EQUAL = ((0.95, 0.95), (0.8, 0.8))


class Traffic:
    """A 50/50 split, accuracy .95, every request labelled; each scenario changes something."""

    accuracy = 0.95
    label_rate: Callable[..., np.ndarray] | None = None

    def __init__(self, replications: int, labels: int) -> None:
        self._replications, self._labels = replications, labels

    def share(self, n: int, chance: np.random.Generator) -> np.ndarray:  # noqa: ARG002
        """The challenger's share for the next label, shape (replications,)."""
        return np.full(self._replications, 0.5)

    def base_rate(self, n: int) -> float:  # noqa: ARG002
        """The accuracy of both versions."""
        return self.accuracy

    def learn(self, labels: Labels) -> None:
        """Update the split from the labels, as a bandit does; nothing here."""


class Canary(Traffic):
    """The challenger gets 5 % of the traffic."""

    def share(self, n: int, chance: np.random.Generator) -> np.ndarray:  # noqa: ARG002
        return np.full(self._replications, 0.05)


class Ramp(Traffic):
    """The share grows from 10 to 50 % while the accuracy of both falls from .97 to .85."""

    def share(self, n: int, chance: np.random.Generator) -> np.ndarray:  # noqa: ARG002
        return np.full(self._replications, 0.1 + 0.4 * n / self._labels)

    def base_rate(self, n: int) -> float:
        return 0.97 - 0.12 * n / self._labels


class Waves(Traffic):
    """The accuracy swings by ± .05 in waves of 5,000 labels."""

    def base_rate(self, n: int) -> float:
        return 0.92 + 0.05 * float(np.sin(2 * np.pi * n / 5000))


class LabelRates(Traffic):
    """The baseline's answers are labelled with probability .8, the challenger's with .9."""

    @staticmethod
    def label_rate(arm: np.ndarray, served_right: np.ndarray) -> np.ndarray:
        return np.where(arm, 0.9, 0.8) * np.ones_like(served_right, float)


class Complaints(Traffic):
    """Correct answers are labelled with probability .3, wrong ones with .6."""

    @staticmethod
    def label_rate(arm: np.ndarray, served_right: np.ndarray) -> np.ndarray:  # noqa: ARG004
        return np.where(served_right, 0.3, 0.6)


class Thompson(Traffic):
    """Every 50 labels the share becomes the posterior probability that the challenger is better, within .05 to .95."""

    def __init__(self, replications: int, labels: int) -> None:
        super().__init__(replications, labels)
        self._right = np.ones((2, replications))
        self._wrong = np.ones((2, replications))
        self._share = np.full(replications, 0.5)

    def share(self, n: int, chance: np.random.Generator) -> np.ndarray:
        if n % 50 == 0:
            drawn = chance.beta(self._right, self._wrong, size=(100, *self._right.shape))
            self._share = np.clip((drawn[:, 1] > drawn[:, 0]).mean(axis=0), 0.05, 0.95)
        return self._share

    def learn(self, labels: Labels) -> None:
        right = labels.reward > 0
        rows = np.arange(self._replications)
        self._right[labels.arm.astype(int), rows] += right
        self._wrong[labels.arm.astype(int), rows] += ~right


SCENARIOS: dict[str, type[Traffic]] = {
    "plain 50/50": Traffic,
    "canary at 5 %": Canary,
    "ramp 10→50 %, accuracy .97→.85": Ramp,
    "sinusoidal drift": Waves,
    "label rate .8/.9 by version": LabelRates,
    "labels depend on the served answer": Complaints,
    "Thompson sampling": Thompson,
}


class Positives(NamedTuple):
    """How many of the replications declared a winner."""

    paired: int
    two_sample: int


def run(scenario: type[Traffic], replications: int, labels: int, chance: np.random.Generator) -> Positives:
    """Run one chunk of replications of one scenario, and check it against `app.stats`."""
    traffic = scenario(replications, labels)
    by_pairs, by_arms = PairedRuns(replications, labels), TwoSampleRuns(replications)
    kept = []
    for n in range(labels):
        share = traffic.share(n, chance)
        cells = correctness(traffic.base_rate(n), traffic.base_rate(n), CORRELATION)
        seen = draw(chance, cells, share, traffic.label_rate)
        by_pairs.observe(seen)
        by_arms.serve(seen.arm, seen.reward, share)
        traffic.learn(seen)
        if n < CHECKED_LABELS:
            kept.append((seen, share, by_arms.e[:CHECKED].copy()))
    _check(kept)
    return Positives(int((by_pairs.decided > 0).sum()), int((by_arms.decided > 0).sum()))


def _check(kept: list[tuple[Labels, np.ndarray, np.ndarray]]) -> None:
    """Check the first replications against `app.stats`: the evidence must agree to 1e-9."""
    for row in range(min(CHECKED, len(kept[0][1]))):
        arms, rewards, shares = (
            np.array([column[row] for column in columns])
            for columns in ([s.arm for s, _, _ in kept], [s.reward for s, _, _ in kept], [p for _, p, _ in kept])
        )
        state = two_sample.update(two_sample.initial(), Outcomes(arms, rewards, shares))
        timeline = np.log([e[row] for _, _, e in kept])
        if abs(two_sample.log_e(state) - timeline[-1]) > 1e-9:
            raise SystemExit("the vectorised two-sample test differs from app.stats")
        if abs(state.strongest.log_e - max(timeline.max(), 0.0)) > 1e-9:
            raise SystemExit("the maximum of the vectorised two-sample test differs from app.stats")
        _check_paired(np.array([int(s.challenger_right[row]) - int(s.baseline_right[row]) for s, _, _ in kept]))


def _check_paired(outcomes: np.ndarray) -> None:
    runs = PairedRuns(1, len(outcomes))
    for outcome in outcomes:
        runs.observe(Labels(np.array([False]), np.array([outcome < 0]), np.array([outcome > 0])))
    _, memory = paired.follow(PairedSummary(), Strongest(), outcomes)
    if (memory.log_e >= bar(0.05)) != (runs.decided[0] > 0):
        raise SystemExit("the vectorised paired test differs from app.stats")


def recall_positives(replications: int, labels: int, chance: np.random.Generator) -> int:
    """How many of the replications declare a winner by recall."""
    rows, runs, kept = RareClass(EQUAL, CORRELATION), PairedRuns(replications, labels), []
    gains = rows.gains("recall")
    for _ in range(labels):
        gain = gains[rows.draw(chance, replications)]
        runs.observe(Labels(np.zeros(replications, bool), gain < 0, gain > 0))
        kept.append(gain[0])
    outcomes = np.array(kept)
    _, memory = paired.follow(PairedSummary(), Strongest(), outcomes[~np.isnan(outcomes)].astype(int))
    if (memory.log_e >= bar(0.05)) != (runs.decided[0] > 0):
        raise SystemExit("the vectorised recall differs from app.stats")
    return int((runs.decided > 0).sum())


def numeric_positives(metric: str, replications: int, labels: int, chance: np.random.Generator) -> int:
    """How many of the replications declare a winner by a metric that is compared as paired numbers."""
    next_gain = squared_gains if metric == "squared_error" else class_gains(metric)
    runs, ones, kept = BettingRuns(replications), np.ones(replications), []
    for n in range(labels):
        gain = next_gain(chance, replications)
        runs.observe(gain, ones, ones)
        if n < CHECKED_LABELS:
            kept.append(gain[0])
            last = float(np.log(runs.e[0]))
    if abs(paired_numeric.log_e(paired_numeric.update(paired_numeric.initial(), np.array(kept))) - last) > 1e-9:
        raise SystemExit(f"the vectorised {metric} differs from app.stats")
    return int((runs.decided > 0).sum())


def class_gains(metric: str) -> Callable[[np.random.Generator, int], np.ndarray]:
    """Draws gains in a metric of classes, one in each replication."""
    rows = RareClass(EQUAL, CORRELATION)
    gains = rows.gains(metric)
    return lambda chance, replications: gains[rows.draw(chance, replications)]


def squared_gains(chance: np.random.Generator, replications: int) -> np.ndarray:
    """Gains in squared error of two versions with normal residuals; some squares are outside the declared range."""
    residuals = chance.normal(size=(3, replications))
    base, other = ((residuals[0] + 0.7 * own) ** 2 for own in residuals[1:])
    low, high = RARE.error_range or (0.0, 1.0)
    gain: np.ndarray = (np.clip(base, low, high) - np.clip(other, low, high)) / (high - low)
    if abs(METRICS["squared_error"].gain(RARE, float(base[0]), float(other[0])) - gain[0]) > 1e-12:
        raise SystemExit("the vectorised squared error differs from app.scoring")
    return gain


def metric_rows(replications: int, labels: int, seed: int) -> bool:
    """Print a row for each further metric; whether all keep the target."""
    print(f"{'metric, at 9 % positive':36}{'method':>26}{'a winner is declared':>26}{'seconds':>9}")
    sound = True
    for number, metric in enumerate(("recall", "balanced_accuracy", "cost", "squared_error"), 100):
        started, hits = time.perf_counter(), 0
        chance = np.random.default_rng([seed, number])
        for first in range(0, replications, CHUNK):
            size = min(CHUNK, replications - first)
            by_pairs = metric == "recall"
            hits += (
                recall_positives(size, labels, chance) if by_pairs else numeric_positives(metric, size, labels, chance)
            )
        text = proportion(hits, replications)
        sound &= float(text.split(", ")[1].rstrip("]")) <= METRIC_TARGET
        method = METRICS[metric].method
        print(f"{metric:36}{method:>26}{text:>26}{time.perf_counter() - started:9.0f}", flush=True)
    print(f"{'all' if sound else 'NOT all'} upper limits of the metrics ≤ {METRIC_TARGET}")
    return sound


def main() -> int:
    """Print the tables; exit status 1 if an upper limit exceeds the target."""
    options = arguments(__doc__ or "", 2000, {"--metrics": "the rows of the further metrics alone"})
    replications = max(20, options.replications // 10) if options.quick else options.replications
    labels = LABELS // 10 if options.quick else LABELS
    print(f"{replications} replications of {labels} labels, seed {options.seed}; false positives [95 % interval]")
    if options.metrics:
        return 0 if metric_rows(replications, labels, options.seed) or options.quick else 1
    print(f"{'scenario':36}{'paired':>26}{'two-sample':>26}{'seconds':>9}")
    sound = True
    for number, (name, scenario) in enumerate(SCENARIOS.items()):
        started, total = time.perf_counter(), np.zeros(2, int)
        chance = np.random.default_rng([options.seed, number])
        for first in range(0, replications, CHUNK):
            total += run(scenario, min(CHUNK, replications - first), labels, chance)
        texts = [proportion(int(hits), replications) for hits in total]
        sound &= all(float(text.split(", ")[1].rstrip("]")) <= TARGET for text in texts)
        print(f"{name:36}{texts[0]:>26}{texts[1]:>26}{time.perf_counter() - started:9.0f}", flush=True)
    print(f"{'all' if sound else 'NOT all'} upper limits ≤ {TARGET}")
    sound &= metric_rows(replications, labels, options.seed)
    return 0 if sound or options.quick else 1


if __name__ == "__main__":
    sys.exit(main())
