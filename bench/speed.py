"""Requests until a decision: the paired test, the two-sample test, and the sequential test of gbstats 0.8.0.

    python bench/speed.py --seed 1 [--replications 1600] [--quick] [--gbstats-python PATH]

All three see the same requests: a 50/50 split, every request labelled, a look after each. gbstats runs with its default
settings (relative effect, tuned for 5,000). It needs older numpy and pandas than this project, so install it into a
separate environment:

    python -m venv ENV && ENV/bin/pip install gbstats==0.8.0    then    --gbstats-python ENV/bin/python

Prints medians with their 95 % confidence intervals (exact, from order statistics).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import binom
from simulated import PairedRuns, TwoSampleRuns, correctness, draw

SETTINGS = [(0.93, 0.96), (0.90, 0.92), (0.96, 0.97)]
CORRELATIONS = (0.45, 0.70)
MOST_REQUESTS = 40_000
PAIRED_AT_MOST = {0.45: 1 / 3.3, 0.70: 1 / 6}
TWO_SAMPLE_AT_MOST = 1.1


class Stops(NamedTuple):
    """Requests until the decision in each replication; `MOST_REQUESTS` if there was none."""

    paired: np.ndarray
    two_sample: np.ndarray
    gbstats: np.ndarray | None


def simulate(cells: np.ndarray, replications: int, most: int, chance: np.random.Generator) -> tuple[Stops, np.ndarray]:
    """Run both tests on the same requests; also returns arm and reward, shape (2, replications, most)."""
    pairs, served = PairedRuns(replications, most), np.zeros((2, replications, most), np.uint8)
    arms, open_rows, stops = TwoSampleRuns(replications), np.arange(replications), np.full(replications, most)
    half = np.full(replications, 0.5)
    for n in range(most):
        seen = draw(chance, cells, half, None)
        pairs.observe(seen)
        served[:, :, n] = seen.arm, seen.reward
        if len(open_rows):
            arms.serve(seen.arm[open_rows], seen.reward[open_rows], half[: len(open_rows)])
            decided = arms.decided > 0
            if decided.any():
                stops[open_rows[decided]] = n + 1
                open_rows = open_rows[~decided]
                arms.keep(~decided)
    paired = np.where(pairs.decided > 0, pairs.decided, most)
    return Stops(paired, stops, None), served


def gbstats_stops(python: str, served: np.ndarray) -> np.ndarray:
    """Requests until gbstats decides, computed in its own environment."""
    with tempfile.TemporaryDirectory() as folder:
        draws, stops = Path(folder) / "draws.npz", Path(folder) / "stops.npy"
        np.savez(draws, arm=served[0], reward=served[1])
        subprocess.run([python, str(Path(__file__).with_name("gbstats_looks.py")), draws, stops], check=True)
        found: np.ndarray = np.load(stops)
    return np.where(found > 0, found, served.shape[2])


def median(stops: np.ndarray) -> str:
    """The median with its 95 % confidence interval."""
    ordered, n = np.sort(stops), len(stops)
    low, high = int(binom.ppf(0.025, n, 0.5)), int(binom.ppf(0.975, n, 0.5))
    return f"{np.median(stops):,.0f} [{ordered[low - 1]:,}, {ordered[min(high, n - 1)]:,}]"


def report(name: str, stops: Stops, correlation: float) -> bool:
    """Print one row; returns whether it meets the targets (true if gbstats did not run)."""
    row = f"{name:>10} {correlation:.2f}{median(stops.paired):>24}{median(stops.two_sample):>28}"
    if stops.gbstats is None:
        print(row, flush=True)
        return True
    base = np.median(stops.gbstats)
    by_pairs, by_arms = np.median(stops.paired) / base, np.median(stops.two_sample) / base
    reached = by_pairs <= PAIRED_AT_MOST[correlation] and by_arms <= TWO_SAMPLE_AT_MOST
    print(
        f"{row}{median(stops.gbstats):>28}{f'1/{1 / by_pairs:.2f}':>10}{by_arms:>9.2f}  {'yes' if reached else 'NO'}",
        flush=True,
    )
    return bool(reached)


def main() -> int:
    """Print the table; exit status 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replications", type=int, default=1600)
    parser.add_argument("--quick", action="store_true", help="a tenth of the replications, fewer requests")
    parser.add_argument(
        "--gbstats-python", help="an interpreter with gbstats==0.8.0; without it that column is omitted"
    )
    options = parser.parse_args()
    replications = max(20, options.replications // 10) if options.quick else options.replications
    most = 6000 if options.quick else MOST_REQUESTS
    if not options.gbstats_python:
        print("gbstats is not measured: give --gbstats-python (see --help)", file=sys.stderr)
    print(f"{replications} replications, at most {most:,} requests, seed {options.seed}; medians [95 % interval]")
    print(
        f"{'accuracies':>10} {'φ':>4}{'paired':>24}{'two-sample':>28}{'gbstats 0.8.0':>28}"
        f"{'paired/gb':>10}{'two/gb':>9}  reached"
    )
    reached, started = True, time.perf_counter()
    for number, (baseline, challenger) in enumerate(SETTINGS):
        for correlation in CORRELATIONS:
            chance = np.random.default_rng([options.seed, number, round(100 * correlation)])
            stops, served = simulate(correctness(baseline, challenger, correlation), replications, most, chance)
            if options.gbstats_python:
                stops = stops._replace(gbstats=gbstats_stops(options.gbstats_python, served))
            reached &= report(f"{baseline}/{challenger}", stops, correlation)
    print(f"{time.perf_counter() - started:.0f} s")
    return 0 if reached or options.quick else 1


if __name__ == "__main__":
    sys.exit(main())
