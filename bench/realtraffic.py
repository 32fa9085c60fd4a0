"""How often verdicts, automatic decisions and shown intervals are wrong on traffic as real users send it.

    python bench/realtraffic.py --seed 1 [--replications 2000] [--jobs 2] [--only NAME ...] [--quick]

Each replication is one experiment: a log of requests and outcomes that goes through the monitor's own projection,
report and automatic decision, with α = .05 and no least duration. Its traffic is made by a scenario of
`tests/unit/monitor/experiment/scenarios.py` or, of other metrics, of `metric_scenarios.py` beside it. Versions are
equal unless the row says otherwise. Prints how often the thing happened that the row is about, with its 95 %
Clopper–Pearson interval, and whether the limit of that interval keeps the target. `seconds` are those of the processor,
for all replications.

The interval of the timeline is computed at 1, 4, 16, … outcomes here, to save time; nothing here depends on it.
"""

from __future__ import annotations

import argparse
import sys
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import chain
from typing import NamedTuple

import numpy as np
from simulated import clopper_pearson, proportion

from app.monitor.experiment import comparisons
from tests.unit.monitor.experiment import metric_scenarios, scenarios

# Replications of one task of a process.
TASK = 25


class Target(NamedTuple):
    """What the 95 % interval of the share must keep: its upper end `at_most`, or its lower end."""

    text: str
    holds: Callable[[float, float], bool]


FALSE_WINNER = Target("upper ≤ .06", lambda _low, high: high <= 0.06)
SELDOM = Target("upper ≤ .01", lambda _low, high: high <= 0.01)
COVERED = Target("lower ≤ .05", lambda low, _high: low <= 0.05)
NEARLY_ALWAYS = Target("lower ≥ .95", lambda low, _high: low >= 0.95)


class Row(NamedTuple):
    """A scenario's name in `scenarios`, the text and number of requests of its experiment, and its target."""

    scenario: str
    text: str
    requests: int
    target: Target


TABLE = {
    "a winner is declared": (
        Row("users_one_way", "users × 20, one way", 1200, FALSE_WINNER),
        Row("users_mixed", "users × 20, Beta(2, 2)", 1200, FALSE_WINNER),
        Row("users_pareto", "users of Pareto activity, one way", 1200, FALSE_WINNER),
        Row("users_twice", "users × 2, one way", 1200, FALSE_WINNER),
        Row("fifth_six_times_keyed", "a fifth sent six times, own keys", 1200, FALSE_WINNER),
        Row("fifth_six_times", "a fifth sent six times, row units", 1200, FALSE_WINNER),
        Row("all_twice_keyed", "all sent twice, own keys", 1200, FALSE_WINNER),
        Row("all_twice", "all sent twice, row units", 1200, FALSE_WINNER),
        Row("small_pool", "drawn from 150 rows, row units", 1200, FALSE_WINNER),
        Row("large_pool", "drawn from 1,000 rows, row units", 3000, FALSE_WINNER),
        Row("rewards_of_users", "rewards, users × 20, one way", 1000, FALSE_WINNER),
        Row("sooner_for_one_version", "rewards told sooner for one version, users", 1000, FALSE_WINNER),
        Row("sooner_with_zeros", "converts sooner, zeros told, window", 500, FALSE_WINNER),
        Row("sooner_without_zeros", "converts sooner, zeros never told, window", 500, FALSE_WINNER),
    ),
    "a winner is declared by another metric": tuple(
        Row(f"{name}_{metric}", f"{metric}, {text}", 1200, FALSE_WINNER)
        for metric in metric_scenarios.METRICS
        for name, text in (("users", "users × 20"), ("repeated", "a fifth sent six times"))
    ),
    "promoted automatically by another metric": tuple(
        Row(f"wrong_first_{metric}", f"{metric}, wrong labelled first, shadow", 1000, FALSE_WINNER)
        for metric in metric_scenarios.METRICS
    ),
    "promoted automatically": (
        Row("wrong_first_canary", "wrong labelled first, 90/10", 1000, FALSE_WINNER),
        Row("wrong_first_shadow", "wrong labelled first, shadow", 1000, FALSE_WINNER),
        Row("wrong_first_balanced", "wrong labelled first, 50/50", 1000, FALSE_WINNER),
        Row("right_less_often_shadow", "always after wrong, 93 % after right", 1200, FALSE_WINNER),
        Row("users_only_wrong", "users × 20, labelled only when wrong", 1200, FALSE_WINNER),
        Row("fails_on_the_hardest", "worse, fails on the hardest tenth", 1000, FALSE_WINNER),
        Row("rewarded_sooner_for_users_who_stay", "rewards told sooner for one version, sticky", 1500, FALSE_WINNER),
        Row("worse_on_hot_rows", "worse on five hot rows of 60 %, row units", 1500, FALSE_WINNER),
        Row("better_and_labelled", "a better one, wrong labelled first, 90/10", 1000, NEARLY_ALWAYS),
    ),
    "a shown interval misses": (
        Row("any_of_eight_misses", "any difference, 8 challengers", 200, COVERED),
        Row("any_mean_misses", "any mean, 9 versions", 100, COVERED),
        Row("only_disagreements", "only disagreements labelled", 2000, COVERED),
        Row("half_the_disagreements", "half of them labelled, exogenous", 2000, COVERED),
        Row("only_disagreements_of_users", "only disagreements labelled, users × 20", 2000, COVERED),
        Row("complaints_only", "those labelled where the answer was wrong", 2000, COVERED),
    ),
    "rolled back": (
        Row("one_slow_client", "one slow client of 10 %, sticky", 1000, SELDOM),
        Row("both_fail_alike", "both fail on a tenth, 90/10", 1500, SELDOM),
        Row("each_fails_some_users", "each fails all requests of 5 % of users × 20", 4000, SELDOM),
        Row("two_backends_one_broken", "two backends, v2 broken, 300 failures", 3000, NEARLY_ALWAYS),
        Row("broken_in_shadow", "the same in shadow (its guardrail crosses)", 1500, NEARLY_ALWAYS),
    ),
}


def count(scenario: str, requests: int, seed: int, replications: range) -> tuple[int, float]:
    """How often the thing happened in these replications, and the seconds that they took."""
    comparisons.next_look = lambda n: 4 * n
    started, happened = time.process_time(), metric_scenarios.SCENARIOS.get(scenario) or getattr(scenarios, scenario)
    # Seeded by the name and the number of the replication, so that neither --jobs nor --only changes a figure.
    chances = (np.random.default_rng([seed, zlib.crc32(scenario.encode()), each]) for each in replications)
    hits = sum(bool(happened(chance, requests)) for chance in chances)
    return hits, time.process_time() - started


def measured(row: Row, options: argparse.Namespace, pool: ProcessPoolExecutor | None) -> bool:
    """Measure and print one row of the table; whether it keeps its target."""
    n = max(20, options.replications // 10) if options.quick else options.replications
    tasks = [range(first, min(first + TASK, n)) for first in range(0, n, TASK)]
    run = map if pool is None else pool.map
    found = [*run(partial(count, row.scenario, row.requests, options.seed), tasks)]
    hits, seconds = sum(hits for hits, _ in found), sum(seconds for _, seconds in found)
    holds = row.target.holds(*clopper_pearson(hits, n))
    share = proportion(hits, n)
    print(
        f"  {row.text:44}{row.requests:9,}{share:>26}{seconds:9.0f}  {row.target.text}  {'ok' if holds else 'NOT'}",
        flush=True,
    )
    return holds


def arguments() -> argparse.Namespace:
    """The options of the command line."""
    names = [row.scenario for row in chain(*TABLE.values())]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replications", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--quick", action="store_true", help="a tenth of the replications: a smoke test")
    return parser.parse_args()


def main() -> int:
    """Print the table; exit status 1 if a row misses its target."""
    options = arguments()
    print(f"{options.replications} replications, seed {options.seed}; share of experiments [95 % interval]")
    print(f"  {'scenario':44}{'requests':>9}{'share':>26}{'seconds':>9}  target")
    sound = True
    with ProcessPoolExecutor(options.jobs) as pool:
        for heading, rows in TABLE.items():
            chosen = [row for row in rows if row.scenario in options.only]
            if chosen:
                print(heading)
            for row in chosen:
                sound &= measured(row, options, pool if options.jobs > 1 else None)
    print("all rows keep their targets" if sound else "NOT all rows keep their targets")
    return 0 if sound or options.quick else 1


if __name__ == "__main__":
    sys.exit(main())
