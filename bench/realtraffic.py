"""How often equal versions are promoted automatically when labels depend on the answer that was served.

    python bench/realtraffic.py --seed 1 [--replications 200] [--quick]

Each replication is a log of requests and labels that goes through the monitor's own projection, report and automatic
decision, with α = .05 and no least duration; it counts when a promotion is called for at any report. Prints the share
with its 95 % Clopper–Pearson interval. The last row is a better challenger: there a promotion is right.

Two more rows: in how many experiments with 8 challengers equal to the baseline (ten times as many replications) any
interval ever excludes 0, checked after each of 5,000 labels: each interval at α, and at α/8 as shown. (The paired
interval excludes 0 exactly where the test rejects.)

The interval of the timeline is computed at 1, 2, 4, 8, … outcomes here, to save time; no promotion depends on it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from simulated import arguments, proportion

from app.monitor.experiment import comparisons
from app.monitor.experiment.projection import load_state
from app.monitor.experiment.state import plan_of
from app.stats.estimates import bar
from app.stats.paired import log_es
from app.stats.strongest import decided
from tests.unit.monitor.experiment.memory_log import MemoryLog

TARGET = 0.06
ACCURACY, BETTER = 0.7, 0.8
CANARY, SHADOW, BALANCED = {"v1": 0.9, "v2": 0.1}, {"v1": 1.0, "v2": 0.0}, {"v1": 0.5, "v2": 0.5}
# Requests until the label of a right answer arrives, where labels of wrong ones come first.
DELAY = 500
LOOKS = 40
CHALLENGERS, LABELS = 8, 5000

# Whether the served answer was right → after how many requests its label arrives; None: never.
Arrival = Callable[[bool, np.random.Generator], int | None]


def wrong_first(right: bool, _chance: np.random.Generator) -> int:
    """A wrong answer is labelled at once, a right one later; in the end all are."""
    return DELAY if right else 0


def right_less_often(right: bool, chance: np.random.Generator) -> int | None:
    """A wrong answer is always labelled, a right one in 93 % of cases."""
    return 0 if not right or chance.random() < 0.93 else None


class Scenario(NamedTuple):
    """What is served, how it is labelled, and how good the challenger is."""

    weights: dict[str, float]
    arrival: Arrival
    requests: int
    challenger: float = ACCURACY


SCENARIOS = {
    "wrong answers labelled first, 90/10": Scenario(CANARY, wrong_first, 1000),
    "wrong answers labelled first, shadow": Scenario(SHADOW, wrong_first, 1000),
    "wrong answers labelled first, 50/50": Scenario(BALANCED, wrong_first, 1000),
    "always after wrong, 93 % after right, 90/10": Scenario(CANARY, right_less_often, 20_000),
    "a better challenger, wrong first, 90/10": Scenario(CANARY, wrong_first, 1000, BETTER),
}


def promoted(scenario: Scenario, chance: np.random.Generator) -> bool:
    """Whether the monitor promotes the challenger in one replication."""
    log = MemoryLog(scenario.weights)
    n, (baseline, challenger) = scenario.requests, scenario.weights
    wrong = chance.random((n, 2)) >= (ACCURACY, scenario.challenger)
    served = (chance.random(n) < scenario.weights[challenger]).astype(int)
    due: dict[int, list] = {}
    for place in range(n + DELAY):
        if place < n:
            answers = {baseline: int(wrong[place, 0]), challenger: int(wrong[place, 1])}
            row = log.serve(answers, (baseline, challenger)[served[place]])
            delay = scenario.arrival(not wrong[place, served[place]], chance)
            if delay is not None:
                due.setdefault(place + delay, []).append(row)
        for row in due.pop(place, ()):
            log.label(row)
        if place % (n // LOOKS) == 0 or place == n + DELAY - 1:
            log.process()
            # Without a verdict there is no promotion, and no need of a report.
            if _has_verdict(log) and log.look():
                return True
    return False


def _has_verdict(log: MemoryLog) -> bool:
    state = load_state(plan_of(log.last), log.states.get("experiment/one"))
    return any(decided(pair.adjusted, 0.05) for pair in state.pairs.values())


def any_interval_misses(share_alpha: bool, replications: int, seed: int) -> str:
    """The share of experiments of `CHALLENGERS` equal challengers of which any interval ever excludes 0."""
    threshold = bar(0.05 / CHALLENGERS if share_alpha else 0.05)
    missed = 0
    for each in range(replications):
        chance = np.random.default_rng([seed, each])
        baseline = chance.random((LABELS, 1)) < ACCURACY
        challengers = chance.random((LABELS, CHALLENGERS)) < ACCURACY
        wins = np.cumsum(challengers & ~baseline, axis=0)
        losses = np.cumsum(baseline & ~challengers, axis=0)
        missed += bool(np.any(log_es(wins, losses) >= threshold))
    return proportion(missed, replications)


def main() -> int:
    """Print the table; exit status 1 if an upper limit exceeds the target."""
    options = arguments(__doc__ or "", 200)
    replications = max(10, options.replications // 10) if options.quick else options.replications
    comparisons.next_look = lambda n: 2 * n
    print(f"{replications} replications, seed {options.seed}; promoted automatically [95 % interval]")
    print(f"{'scenario':46}{'requests':>9}{'promoted':>26}{'seconds':>9}")
    sound = True
    for number, (name, scenario) in enumerate(SCENARIOS.items()):
        started = time.perf_counter()
        chances = (np.random.default_rng([options.seed, number, each]) for each in range(replications))
        text = proportion(sum(promoted(scenario, chance) for chance in chances), replications)
        if scenario.challenger == ACCURACY:
            sound &= float(text.split(", ")[1].rstrip("]")) <= TARGET
        print(f"{name:46}{scenario.requests:9,}{text:>26}{time.perf_counter() - started:9.0f}", flush=True)
    print(f"{'all' if sound else 'NOT all'} upper limits of equal versions ≤ {TARGET}")
    for name, shared in (
        ("any of 8 intervals misses, each at α", False),
        ("any of 8 intervals misses, at α/8", True),
    ):
        print(f"{name:46}{LABELS:9,}{any_interval_misses(shared, 10 * replications, options.seed):>26}", flush=True)
    return 0 if sound or options.quick else 1


if __name__ == "__main__":
    sys.exit(main())
