"""Measure the cost of the statistics: time per label, time per report, size of the state.

    python bench/stats_cost.py [--seed 1] [--quick]

Times are the best of several rounds on this machine, in one thread. Targets: paired ≤ 5 µs per label, two-sample
≤ 25 µs per label, including the interval's state.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import msgspec
import numpy as np
from simulated import arguments

from app.stats import agreement, checks, forecast, paired, paired_numeric, planning, two_sample
from app.stats.agreement import AgreementState
from app.stats.checks import RatioState
from app.stats.paired import PairedSummary
from app.stats.paired_interval import interval
from app.stats.strongest import Strongest
from app.stats.two_sample import Outcomes

BATCH = 256


def best_us(call: Callable[[], object], per_call: int, rounds: int) -> float:
    """The shortest time per unit of work, in µs."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times) / per_call * 1e6


def one_paired_label(labels: int) -> None:
    """Process labels one at a time: add, evaluate, remember the strongest evidence."""
    summary, memory = PairedSummary(), Strongest()
    for n in range(labels):
        summary = summary.add(wins=1) if n % 3 else summary.add(losses=1)
        memory = memory.remember(paired.log_e(summary), summary.n, 1)


def main() -> int:
    """Print the table; exit status 1 if a target is missed."""
    options = arguments(__doc__ or "", 0)
    rounds = 10 if options.quick else 200
    chance = np.random.default_rng(options.seed)
    steps = chance.choice([0, -1, 1], p=[0.94, 0.025, 0.035], size=BATCH)
    arms = chance.random(BATCH) < 0.5
    outcomes = Outcomes(arms, (chance.random(BATCH) < 0.95).astype(float), np.full(BATCH, 0.5))
    single = Outcomes(arms[:1], outcomes.values[:1], outcomes.propensities[:1])
    rich = msgspec.structs.replace(outcomes, columns=chance.normal(size=(BATCH, 64)))
    adjusted = two_sample.update(two_sample.initial(64), rich)
    gains = chance.beta(8, 8, BATCH) - 0.5
    tied, numeric = two_sample.update(two_sample.initial(), outcomes), paired_numeric.initial()
    summary, versions = PairedSummary(45, 25, 930), chance.integers(0, 2, BATCH)
    shares, differ = (0.5, 0.5), steps != 0
    rows: list[tuple[str, float, float | None]] = [
        ("paired, one label at a time", best_us(lambda: one_paired_label(1000), 1000, rounds), 5),
        ("paired, batches of 256", best_us(lambda: paired.follow(summary, Strongest(), steps), BATCH, rounds), 5),
        ("two-sample, batches of 256", best_us(lambda: two_sample.update(tied, outcomes), BATCH, rounds), 25),
        ("two-sample, 64 covariates", best_us(lambda: two_sample.update(adjusted, rich), BATCH, rounds), None),
        ("two-sample, one label in a batch", best_us(lambda: two_sample.update(tied, single), 1, rounds), None),
        ("paired losses, batches of 256", best_us(lambda: paired_numeric.update(numeric, gains), BATCH, rounds), 25),
        (
            "sample ratio, per event",
            best_us(lambda: checks.follow(RatioState(), 1, shares, versions), BATCH, rounds),
            None,
        ),
        (
            "agreement, per request",
            best_us(lambda: agreement.follow(AgreementState(), differ, 0.02), BATCH, rounds),
            None,
        ),
        ("report: paired interval", best_us(lambda: interval(summary, 0.05), 1, rounds), None),
        ("report: two-sample interval", best_us(lambda: two_sample.interval(tied, 0.05), 1, rounds), None),
        ("report: forecast", best_us(lambda: forecast.forecast(summary, 0.05, 1), 1, rounds), None),
        ("planning: plan", best_us(lambda: planning.plan(0.93, 0.96, 0.45, 0.05), 1, 3), None),
    ]
    for name, us, target in rows:
        verdict = "" if target is None else f"   target {target:.0f}: {'reached' if us <= target else 'MISSED'}"
        print(f"{name:36}{us:>12,.1f} µs{verdict}")
    print(f"{'state: paired':36}{len(msgspec.json.encode(summary)):>12,} bytes as JSON")
    print(f"{'state: two-sample':36}{len(msgspec.json.encode(tied)):>12,} bytes as JSON, the same at any n")
    size = len(msgspec.json.encode(adjusted))
    print(f"{'state: two-sample, 64 covariates':36}{size:>12,} bytes as JSON, the same at any n")
    return 0 if all(target is None or us <= target for _, us, target in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
