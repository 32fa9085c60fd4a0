"""Rewards predicted from features: outcomes until the decision, and the error rates, beside the running mean alone.

    python bench/rewards.py --seed 1 [--replications 2000] [--quick]

Both tests see the same rewards; "adjusted" is the test with covariates. R² is the share of the rewards' spread that
the features explain. The first replications of each scenario also run through `app.stats` and must agree to 1e-9.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.stats import binom
from simulated import BettingRuns, TwoSampleRuns, arguments, proportion

from app.stats import two_sample
from app.stats.estimates import bar
from app.stats.two_sample import Outcomes

CHUNK = 500
COLUMNS = 5
FIRST_FIT, REFIT, LEAST_R2, RIDGE = 50, 64, 0.15, 5.0
MOST = 12_000
ERRORS_AFTER = 5_000
CHECKED, CHECKED_OUTCOMES = 2, 1_500
# Rewards of spread .2 around .5 that differ by this much, so that the running mean needs a few thousand outcomes.
EFFECT, SPREAD = 0.0225, 0.2
AT_MOST, ERROR_TARGET = 0.75, 0.06


class Seen(NamedTuple):
    """One outcome in each replication: columns (replications, COLUMNS), the rest (replications,)."""

    columns: np.ndarray
    arm: np.ndarray
    reward: np.ndarray


Draw = Callable[[np.random.Generator, int, float], Seen]


def continuous(r2: float, effect: float = 0.0, swing: float = 0.0) -> Draw:
    """Rewards between 0 and 1, linear in the columns; the effect is `effect`, ± `swing` by the sign of the first."""

    def drawn(chance: np.random.Generator, n: int, share: float) -> Seen:
        columns, arm = chance.standard_normal((n, COLUMNS)), chance.random(n) < share
        noise = np.sqrt(1 - r2) * chance.standard_normal(n)
        centre = 0.5 + SPREAD * (np.sqrt(r2 / COLUMNS) * columns.sum(axis=1) + noise)
        own = effect + swing * np.sign(columns[:, 0])
        # The effect falls half on each arm and the range is clipped symmetrically, so mean effects of 0 stay 0.
        return Seen(columns, arm, np.clip(centre + own * (arm - 0.5), 0, 1))

    return drawn


def yes_no(r2: float, effect: float = 0.0) -> Draw:
    """Rewards of 0 or 1; the first column tells two kinds of rows apart, which explain the share `r2`."""

    def drawn(chance: np.random.Generator, n: int, share: float) -> Seen:
        columns, arm = chance.standard_normal((n, COLUMNS)), chance.random(n) < share
        columns[:, 0] = np.where(columns[:, 0] > 0, 1.0, -1.0)
        right = 0.5 + np.sqrt(r2) / 2 * columns[:, 0] + effect * (arm - 0.5)
        return Seen(columns, arm, (chance.random(n) < right).astype(float))

    return drawn


def uneven() -> Draw:
    """Rewards of 0 or 1: the challenger is .4 better on a fifth of the rows and .1 worse on the others, mean 0."""

    def drawn(chance: np.random.Generator, n: int, share: float) -> Seen:
        columns, arm = chance.standard_normal((n, COLUMNS)), chance.random(n) < share
        fifth = chance.random(n) < 0.2
        columns[:, 0], columns[:, 1] = np.where(fifth, 2.0, -0.5), np.where(columns[:, 1] > 0, 1.0, -1.0)
        right = 0.5 + 0.25 * columns[:, 1] + np.where(fifth, 0.4, -0.1) * (arm - 0.5)
        return Seen(columns, arm, (chance.random(n) < right).astype(float))

    return drawn


class AdjustedRuns(BettingRuns):
    """The two-sample test with covariates in many replications."""

    def __init__(self, replications: int, d: float = 0.0, alpha: float = 0.05) -> None:
        super().__init__(replications, d, alpha)
        self._total = np.zeros(replications)
        self._moments = np.zeros((replications, COLUMNS + 2, COLUMNS + 2))
        self._coefficients = np.zeros((replications, COLUMNS + 1))
        self._errors = np.zeros((2, replications))
        self.in_use = np.zeros(replications, bool)

    def serve(self, seen: Seen, share: float) -> None:
        """Add one outcome to each replication; `share` is the logged probability of the challenger."""
        reward, n = seen.reward, self._n
        row = np.column_stack((np.ones(len(reward)), np.clip(seen.columns, -8, 8), reward))
        mean = (self._total + 1) / (n + 2)
        predicted = np.clip((self._coefficients * row[:, :-1]).sum(axis=1), 0, 1)
        x = (reward - np.where(self.in_use, predicted, mean)) * np.where(seen.arm, 1 / share, -1 / (1 - share))
        reach = np.where(self.in_use, 1.0, np.maximum(mean, 1 - mean))
        self.observe(x, np.full(len(reward), share * (1 - share)), reach / min(share, 1 - share))
        self._total = self._total + reward
        self._moments += row[:, :, None] * row[:, None, :]
        if n >= FIRST_FIT:
            self._errors += (reward - predicted) ** 2, (reward - mean) ** 2
        if n + 1 >= FIRST_FIT and (n + 1 - FIRST_FIT) % REFIT == 0:
            self._refit()

    def _refit(self) -> None:
        gram = self._moments[:, :-1, :-1] + RIDGE * np.diag([0.0] + [1.0] * COLUMNS)
        self._coefficients = np.linalg.solve(gram, self._moments[:, :-1, -1:])[:, :, 0]
        # Error of the prediction at most .85 times that of the running mean; both are 0 at the first fit.
        better = self._errors[0] <= (1 - LEAST_R2) * self._errors[1]
        self.in_use = better & (self._errors[1] > 0)

    def keep(self, rows: np.ndarray) -> None:
        """Keep these replications only."""
        super().keep(rows)
        self._total, self._moments, self._coefficients = (
            self._total[rows],
            self._moments[rows],
            self._coefficients[rows],
        )
        self._errors, self.in_use = self._errors[:, rows], self.in_use[rows]


def stops(draw: Draw, share: float, replications: int, most: int, seed: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes until the decision, `most` where there was none: of the running mean, and adjusted."""
    chance, found = np.random.default_rng(seed), np.full((2, replications), most)
    for first in range(0, replications, CHUNK):
        size = min(CHUNK, replications - first)
        found[:, first : first + size] = _chunk(draw, share, size, most, chance)
    return found[0], found[1]


def _chunk(draw: Draw, share: float, size: int, most: int, chance: np.random.Generator) -> np.ndarray:
    plain, adjusted = TwoSampleRuns(size), AdjustedRuns(size)
    rows, found = np.arange(size), np.full((2, size), most)
    for n in range(most):
        seen = draw(chance, len(rows), share)
        plain.serve(seen.arm, seen.reward, np.full(len(rows), share))
        adjusted.serve(seen, share)
        decided = np.stack((plain.decided, adjusted.decided))
        done = (decided > 0).all(axis=0)
        if done.any() or n == most - 1:
            found[:, rows] = np.where(decided > 0, decided, most)
            plain.keep(~done)
            adjusted.keep(~done)
            rows = rows[~done]
        if not len(rows):
            break
    return found


def misses(draw: Draw, share: float, d: float, replications: int, most: int, seed: list[int]) -> int:
    """In how many replications the adjusted interval ever misses the true difference `d`; at 0, false winners."""
    chance, missed = np.random.default_rng(seed), 0
    for first in range(0, replications, CHUNK):
        runs = AdjustedRuns(min(CHUNK, replications - first), d)
        for _ in range(most):
            runs.serve(draw(chance, len(runs.decided), share), share)
        missed += int((runs.decided > 0).sum())
    return missed


def check(draw: Draw, share: float, seed: list[int]) -> None:
    """Compare a few replications with `app.stats`; exits if they differ."""
    chance, runs, path = np.random.default_rng(seed), AdjustedRuns(CHECKED), []
    for _ in range(CHECKED_OUTCOMES):
        path.append(draw(chance, CHECKED, share))
        runs.serve(path[-1], share)
    for place in range(CHECKED):
        columns, arm, reward = (np.stack([getattr(seen, name)[place] for seen in path]) for name in Seen._fields)
        outcomes = Outcomes(arm, reward, np.full(len(path), share), columns=columns)
        state = two_sample.update(two_sample.initial(COLUMNS), outcomes)
        if abs(two_sample.log_e(state) - np.log(runs.e[place])) > 1e-9:
            raise SystemExit("the vectorised test differs from app.stats")
        first = runs.decided[place]
        if (state.strongest.log_e >= bar(0.05)) != (first > 0):
            raise SystemExit("the vectorised decision differs from app.stats")


def median(found: np.ndarray) -> str:
    """The median with its 95 % confidence interval."""
    ordered, n = np.sort(found), len(found)
    low, high = int(binom.ppf(0.025, n, 0.5)), int(binom.ppf(0.975, n, 0.5))
    return f"{np.median(found):,.0f} [{ordered[low - 1]:,}, {ordered[min(high, n - 1)]:,}]"


SPEED: dict[str, tuple[Draw, bool]] = {
    "R² .5": (continuous(0.5, EFFECT), True),
    "R² .5, rewards 0 or 1": (yes_no(0.5, 0.056), True),
    "R² .25": (continuous(0.25, EFFECT), False),
    "R² .1": (continuous(0.1, EFFECT), False),
    "R² 0": (continuous(0.0, EFFECT), False),
}
ERRORS: dict[str, tuple[Draw, float, float]] = {
    "equal versions, R² .5": (continuous(0.5), 0.5, 0.0),
    "equal versions, R² .5, canary at 10 %": (continuous(0.5), 0.1, 0.0),
    "equal versions, R² .5, rewards 0 or 1": (yes_no(0.5), 0.5, 0.0),
    "equal versions, R² 0": (continuous(0.0), 0.5, 0.0),
    "effects ± .2 by row, mean 0": (continuous(0.5, swing=0.2), 0.5, 0.0),
    "effects ± .2 by row, mean 0, 10 %": (continuous(0.5, swing=0.2), 0.1, 0.0),
    "effects +.4 on a fifth, −.1 elsewhere": (uneven(), 0.5, 0.0),
    "the same, canary at 10 %": (uneven(), 0.1, 0.0),
    "interval misses .05, R² .5, 0 or 1": (yes_no(0.5, 0.05), 0.5, 0.05),
}


def main() -> int:
    """Print both tables; exit status 1 if a target is missed."""
    options = arguments(__doc__ or "", 2000)
    replications = max(20, options.replications // 10) if options.quick else options.replications
    most, after = (4000, 1000) if options.quick else (MOST, ERRORS_AFTER)
    reached, started = True, time.perf_counter()
    print(f"{replications} replications, seed {options.seed}; outcomes until the decision, medians [95 % interval]")
    print(f"{'scenario':<40}{'running mean':>24}{'adjusted':>24}  ratio")
    for number, (name, (draw, bound)) in enumerate(SPEED.items()):
        check(draw, 0.5, [options.seed, 1, number])
        plain, adjusted = stops(draw, 0.5, replications, most, [options.seed, 2, number])
        ratio = np.median(adjusted) / np.median(plain)
        reached &= not bound or ratio <= AT_MOST
        verdict = f"  target {AT_MOST}: {'reached' if ratio <= AT_MOST else 'MISSED'}" if bound else ""
        print(f"{name:<40}{median(plain):>24}{median(adjusted):>24}  {ratio:5.2f}{verdict}", flush=True)
    print(f"\n{after:,} outcomes, a look at each: false winners, or the interval ever misses; adjusted [95 % interval]")
    for number, (name, (draw, share, d)) in enumerate(ERRORS.items()):
        check(draw, share, [options.seed, 3, number])
        hits = misses(draw, share, d, replications, after, [options.seed, 4, number])
        reached &= hits / replications <= ERROR_TARGET
        print(f"{name:<40}{proportion(hits, replications):>26}", flush=True)
    print(f"targets: ratio ≤ {AT_MOST} at R² .5, errors ≤ {ERROR_TARGET}; {time.perf_counter() - started:.0f} s")
    return 0 if reached or options.quick else 1


if __name__ == "__main__":
    sys.exit(main())
