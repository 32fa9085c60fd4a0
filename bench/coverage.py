"""Confidence sequences: their time-uniform miscoverage, their width, and whether test and interval agree.

    python bench/coverage.py --seed 1 [--replications 2000] [--quick]

Miscoverage: the share of runs of 20,000 labels whose interval ever misses the truth, checked after each label (with a
95 % Clopper–Pearson interval; target: its lower end is at most .05). Width: the mean half-width of `app.stats`
intervals divided by Wald's at fixed n, from fewer replications. Agreement: the number of intervals that exclude 0
although the test does not reject, or the reverse (target: none). Wald's half-width is 1.96 standard errors of the
difference in the same data and is valid for a single look only. "Half of the disagreements labelled" is the product
form of `app.stats.all_traffic`: counted is whether either of its factors ever misses, without which the product cannot.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
from scipy.special import betaln
from simulated import (
    CHUNK,
    BettingRuns,
    RareClass,
    TwoSampleRuns,
    arguments,
    clopper_pearson,
    correctness,
    draw,
    proportion,
)

from app.stats import paired, paired_numeric, two_sample
from app.stats.all_traffic import Coverage, difference
from app.stats.estimates import bar
from app.stats.paired import PRIOR, PairedSummary
from app.stats.paired_interval import interval, log_e_at
from app.stats.two_sample import Outcomes

LABELS = 20_000
SIZES = (500, 1000, 2000, 5000, 10_000, 20_000, 50_000)
MOST_WIDE = {5000: 1.7, 50_000: 1.9}
SETTINGS = [(0.93, 0.96), (0.95, 0.95), (0.90, 0.92)]
CORRELATION = 0.45
NODES = 192
# How often baseline and challenger are right, on negative and on positive rows: accuracy and recall disagree.
UNEQUAL = ((0.97, 0.95), (0.7, 0.8))
# Of all requests: the challenger alone right, the baseline alone, both wrong but differently. A difference of .03.
DISAGREEMENTS = (0.05, 0.02, 0.02)
Width = tuple[float, float, bool]


class PairedMixture:
    """E_d of the paired interval in many replications, by Gauss–Legendre quadrature over u."""

    def __init__(self, replications: int, d: float) -> None:
        points, weights = np.polynomial.legendre.leggauss(NODES)
        u = (points + 1) / 2
        a, b = PRIOR * (1 + d), PRIOR * (1 - d)
        self._weights = weights / 2 * np.exp((a - 1) * np.log(u) + (b - 1) * np.log1p(-u) - betaln(a, b))
        bet = -1 / (1 - d) + 2 * u / (1 - d * d)
        self._tie, self._win, self._loss = 1 - bet * d, 1 + bet * (1 - d), 1 - bet * (1 + d)
        self._wealth = np.ones((replications, NODES))
        self.e = np.ones(replications)
        self.missed = np.zeros(replications, bool)

    def observe(self, outcome: np.ndarray, labelled: np.ndarray | None = None) -> None:
        """Add one label, 1, −1 or 0, to each replication; or to those that are `labelled`, a mask."""
        wins, losses = outcome > 0, outcome < 0
        if labelled is None:
            self._wealth[wins] *= self._win / self._tie
            self._wealth[losses] *= self._loss / self._tie
            self._wealth *= self._tie
        else:
            for mask, factor in ((wins, self._win), (losses, self._loss), (outcome == 0, self._tie)):
                self._wealth[mask & labelled] *= factor
        self._wealth[self._wealth < 1e-250] = 0.0
        self.e = self._wealth @ self._weights
        self.missed |= self.e >= 1 / 0.05


def paired_misses(baseline: float, challenger: float, replications: int, labels: int, seed: list[int]) -> int:
    """How many paired intervals ever miss the true difference."""
    chance, missed = np.random.default_rng(seed), 0
    cells = correctness(baseline, challenger, CORRELATION)
    d = challenger - baseline
    for first in range(0, replications, CHUNK):
        runs = PairedMixture(min(CHUNK, replications - first), d)
        outcomes = chance.choice([0, -1, 1, 0], p=cells, size=(labels, len(runs.e))).astype(np.int8)
        for outcome in outcomes:
            runs.observe(outcome)
        column = outcomes[:, 0]
        summary = PairedSummary(*(int(np.sum(column == value)) for value in (1, -1, 0)))
        if abs(log_e_at(summary, d) - np.log(runs.e[0])) > 1e-6:
            raise SystemExit("the vectorised interval differs from app.stats")
        missed += int(runs.missed.sum())
    return missed


def product_misses(labelled_share: float, replications: int, labels: int, seed: list[int]) -> int:
    """How many product intervals can ever miss a true difference of .03, with a share of the disagreements labelled."""
    chance, missed = np.random.default_rng(seed), 0
    differ_rate, lead = sum(DISAGREEMENTS), (DISAGREEMENTS[0] - DISAGREEMENTS[1]) / sum(DISAGREEMENTS)
    for first in range(0, replications, CHUNK):
        size = min(CHUNK, replications - first)
        runs, differ, either = PairedMixture(size, lead), np.zeros(size), np.zeros(size, bool)
        counts = np.zeros(3, int)
        for n in range(1, labels + 1):
            kind = np.searchsorted(np.cumsum(DISAGREEMENTS), chance.random(size), side="right")
            differ += kind < 3
            outcome, labelled = np.array([1, -1, 0, 0])[kind], (kind < 3) & (chance.random(size) < labelled_share)
            runs.observe(outcome, labelled)
            rate = betaln(0.5 + differ, 0.5 + n - differ) - betaln(0.5, 0.5)
            rate -= differ * np.log(differ_rate) + (n - differ) * np.log1p(-differ_rate)
            either |= (runs.e >= 1 / 0.045) | (rate >= np.log(1 / 0.005))
            counts[outcome[0]] += labelled[0]
        summary = PairedSummary(int(counts[1]), int(counts[-1]), int(counts[0]))
        both = Coverage(
            both=labels, differ=int(differ[0]), labelled=summary.n, wins=summary.wins, losses=summary.losses
        )
        low, high = difference(both, 0.05, exogenous=True).interval
        if abs(log_e_at(summary, lead) - np.log(runs.e[0])) > 1e-6 or not (either[0] or low <= 0.03 <= high):
            raise SystemExit("the vectorised product differs from app.stats")
        missed += int(either.sum())
    return missed


def two_sample_misses(share: float, replications: int, labels: int, seed: list[int]) -> int:
    """How many two-sample intervals ever miss a true difference of .03."""
    chance, missed = np.random.default_rng(seed), 0
    cells = correctness(0.93, 0.96, CORRELATION)
    for first in range(0, replications, CHUNK):
        runs = TwoSampleRuns(min(CHUNK, replications - first), d=0.03)
        shares = np.full(len(runs.decided), share)
        for _ in range(labels):
            seen = draw(chance, cells, shares, None)
            runs.serve(seen.arm, seen.reward, shares)
        missed += int((runs.decided > 0).sum())
    return missed


def numeric_misses(replications: int, labels: int, seed: list[int]) -> int:
    """How many intervals of paired losses ever miss a true mean gain of .01 (differences resemble Brier scores)."""
    chance, missed = np.random.default_rng(seed), 0
    for first in range(0, replications, CHUNK):
        size = min(CHUNK, replications - first)
        runs, ones = BettingRuns(size, d=0.01), np.ones(size)
        for _ in range(labels):
            runs.observe(gains(chance, size), ones, ones)
        missed += int((runs.decided > 0).sum())
    return missed


def gains(chance: np.random.Generator, size: int) -> np.ndarray:
    """Differences of two losses with mean .01 and standard deviation .12, within ± .5."""
    return chance.beta(8.16, 7.84, size) - 0.5


def metric_misses(metric: str, replications: int, labels: int, seed: list[int]) -> int:
    """How many intervals of a metric of classes ever miss the true gain, at 9 % positive (`RareClass`)."""
    chance, missed, rows = np.random.default_rng(seed), 0, RareClass(UNEQUAL, CORRELATION)
    gains = rows.gains(metric)
    d = rows.mean(gains)
    for first in range(0, replications, CHUNK):
        size = min(CHUNK, replications - first)
        pairs, bets, ones = PairedMixture(size, d), BettingRuns(size, d=d), np.ones(size)
        for _ in range(labels):
            gain = gains[rows.draw(chance, size)]
            if metric == "recall":
                pairs.observe(np.nan_to_num(gain).astype(int), ~np.isnan(gain))
            else:
                bets.observe(gain, ones, ones)
        missed += int((pairs.missed if metric == "recall" else bets.decided > 0).sum())
    return missed


def paired_widths(baseline: float, challenger: float, chance: np.random.Generator) -> Iterator[Width]:
    """One replication: at each n, the ratio to Wald's width, n, and whether test and interval agree."""
    steps = chance.choice([0, -1, 1, 0], p=correctness(baseline, challenger, CORRELATION), size=SIZES[-1])
    for n in SIZES:
        summary = PairedSummary(*(int(np.sum(steps[:n] == value)) for value in (1, -1, 0)))
        ends = interval(summary, 0.05)
        yield _width(ends, float(np.std(steps[:n])), n, paired.log_e(summary))


def two_sample_widths(share: float, chance: np.random.Generator) -> Iterator[Width]:
    """Like `paired_widths`, for the two-sample test on the served answers."""
    arm = chance.random(SIZES[-1]) < share
    right = (chance.random(SIZES[-1]) < np.where(arm, 0.96, 0.93)).astype(float)
    state, before = two_sample.initial(), 0
    for n in SIZES:
        part = slice(before, n)
        state = two_sample.update(state, Outcomes(arm[part], right[part], np.full(n - before, share)))
        spread = np.var(right[:n][arm[:n]]) / np.mean(arm[:n]) + np.var(right[:n][~arm[:n]]) / np.mean(~arm[:n])
        yield _width(two_sample.interval(state, 0.05), float(np.sqrt(spread)), n, two_sample.log_e(state))
        before = n


def numeric_widths(chance: np.random.Generator) -> Iterator[Width]:
    """Like `paired_widths`, for paired losses."""
    x = gains(chance, SIZES[-1])
    state, before = paired_numeric.initial(), 0
    for n in SIZES:
        state = paired_numeric.update(state, x[before:n])
        ends = paired_numeric.interval(state, 0.05)
        yield _width(ends, float(np.std(x[:n])), n, paired_numeric.log_e(state))
        before = n


def _width(ends: tuple[float, float], sd: float, n: int, log_e: float) -> Width:
    agrees = (ends[0] > 0 or ends[1] < 0) == (log_e >= bar(0.05))
    return (ends[1] - ends[0]) / 2 / (1.96 * sd / np.sqrt(n)), n, agrees


def report_misses(name: str, hits: int, replications: int) -> bool:
    """Print one row; whether the interval's lower end is at most .05."""
    print(f"{name:36}{proportion(hits, replications):>28}", flush=True)
    return clopper_pearson(hits, replications)[0] <= 0.05


def report_widths(name: str, one: Callable[[np.random.Generator], Iterator[Width]], runs: int, seed: list[int]) -> int:
    """Print the ratios at each n; returns how many intervals disagree with the test."""
    chance = np.random.default_rng(seed)
    rows = [list(one(chance)) for _ in range(runs)]
    ratios = np.mean([[width for width, _, _ in row] for row in rows], axis=0)
    limits = [min(limit for n_max, limit in MOST_WIDE.items() if n <= n_max) for n in SIZES]
    marks = [f"{ratio:.2f}{' ' if ratio <= limit else '*'}" for ratio, limit in zip(ratios, limits, strict=True)]
    disagreements = sum(not agrees for row in rows for _, _, agrees in row)
    print(f"{name:34}" + "".join(f"{mark:>8}" for mark in marks) + f"{disagreements:>6}", flush=True)
    return disagreements


def main() -> int:
    """Print both tables; exit status 1 if miscoverage is significantly above .05 or test and interval ever disagree."""
    options = arguments(__doc__ or "", 2000)
    replications = max(20, options.replications // 10) if options.quick else options.replications
    labels, runs, seed = LABELS // (10 if options.quick else 1), 5 if options.quick else 40, options.seed
    started = time.perf_counter()
    print(f"{replications} replications of {labels} labels, seed {seed}: share that ever misses [95 % interval]")
    sound = [
        report_misses(f"paired {a}/{b}", paired_misses(a, b, replications, labels, [seed, i]), replications)
        for i, (a, b) in enumerate(SETTINGS)
    ]
    hits = product_misses(0.5, replications, labels, [seed, 5])
    sound.append(report_misses("half of the disagreements labelled", hits, replications))
    for share in (0.5, 0.05):
        hits = two_sample_misses(share, replications, labels, [seed, 10, round(100 * share)])
        sound.append(report_misses(f"two-sample .93/.96, share {share}", hits, replications))
    sound.append(report_misses("paired losses", numeric_misses(replications, labels, [seed, 20]), replications))
    for number, metric in enumerate(("recall", "balanced_accuracy", "cost"), 21):
        hits = metric_misses(metric, replications, labels, [seed, number])
        sound.append(report_misses(f"{metric}, 9 % positive", hits, replications))
    print(f"\n{runs} replications: mean half-width / Wald's (*: above target); disagreements between test and interval")
    print(f"{'n':34}" + "".join(f"{n:>8,}" for n in SIZES))
    disagreements = sum(
        report_widths(f"paired {a}/{b}", lambda chance, a=a, b=b: paired_widths(a, b, chance), runs, [seed, 30, i])
        for i, (a, b) in enumerate(SETTINGS)
    )
    for share in (0.5, 0.05):
        name = f"two-sample .93/.96, share {share}"
        one = lambda chance, share=share: two_sample_widths(share, chance)  # noqa: E731
        disagreements += report_widths(name, one, max(5, runs // 4), [seed, 40, round(100 * share)])
    disagreements += report_widths("paired losses", numeric_widths, max(5, runs // 4), [seed, 50])
    print(f"{time.perf_counter() - started:.0f} s")
    return 0 if all(sound) and not disagreements else 1


if __name__ == "__main__":
    sys.exit(main())
