"""Measure drift detection: false alarms compared with common rules, detection delay, score and cost.

    python bench/drift.py [--seed 1] [--replications 1000] [--quick] [--only NAME …] [--json FILE]

Traffic is a smoothed bootstrap of real rows (normal noise with a tenth of each feature's standard deviation). Every
replication draws a new reference, as large as the training part of the data set. `awkward` is synthetic traffic of
ties, categories, missing values and constants.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy.stats import beta

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.drift.callers import Callers, callers_of_rows
from app.drift.evidence import stream_scores
from app.drift.reference import DriftReference
from app.drift.watch import DriftState, start, update
from bench.drift_traffic import CROWD, CROWD_AT, CROWDS, LOADERS, MOVED, Awkward, Levels, Outliers, Population
from bench.opponents import drift_rules

REQUESTS = 10_000
CLEAN = 2_000
GIVE_UP = 5_000
AWKWARD = "awkward"
RARE = "rare"
OURS = "Bakeoff: block Pólya e-detector"
WINDOWS = (100, 200, 500, 1000, 2000)
SHIFTS = (0.0, 0.25, 0.5, 1.0, 2.0, 5.0)
Table = dict[str, dict[str, float]]
Changes = dict[str, Callable[[int], np.ndarray]]


def upper_limit(hits: int, trials: int) -> float:
    """The upper end of the exact two-sided 95 % interval of a share (Clopper & Pearson)."""
    return 1.0 if hits == trials else float(beta.ppf(0.975, hits + 1, trials - hits))


def false_alarms(population: Population | Awkward, replications: int) -> Table:
    """Share of runs of 10,000 requests without drift that raise an alarm; common rules need numeric features only."""
    hits: dict[str, int] = {}
    for _ in range(replications):
        rows, reference = population.reference()
        live = population.draw(REQUESTS)
        usual = drift_rules.alarms(rows, live) if population.contract.all_numeric else {}
        for rule, alarm in {OURS: _ever_alarms(reference, live), **usual}.items():
            hits[rule] = hits.get(rule, 0) + alarm
    return {
        rule: {"alarms": count, "share": count / replications, "upper": upper_limit(count, replications)}
        for rule, count in hits.items()
    }


def crowd_alarms(population: Population, replications: int) -> Table:
    """Share of clean runs of 10,000 rows with an alarm, where 100 rows come from one request, or from one user."""
    table: Table = {}
    for name, crowd in CROWDS.items():
        for caller in ("one request", "one user"):
            users, begins = np.zeros(REQUESTS, dtype=np.int64), np.ones(REQUESTS, dtype=bool)
            part = slice(CROWD_AT, CROWD_AT + CROWD)
            if caller == "one user":
                users[part] = 1
            else:
                begins[CROWD_AT + 1 : CROWD_AT + CROWD] = False
            count = 0
            for _ in range(replications):
                _, reference = population.reference()
                live = population.draw(REQUESTS)
                live[part] = crowd(population, live[part])
                count += _ever_alarms(reference, live, callers_of_rows(users, begins))
            row = {"alarms": count, "share": count / replications, "upper": upper_limit(count, replications)}
            table[f"100 rows {name}, {caller}"] = row
    return table


def _ever_alarms(reference: DriftReference, live: np.ndarray, callers: Callers | None = None) -> bool:
    # An alarm lasts for at least 50 clean blocks, so checking every 500 requests misses none.
    state = start(reference)
    for first in range(0, len(live), 500):
        part = slice(first, first + 500)
        who = None if callers is None else callers.part(part)
        state = update(reference, state, live[part], callers=who)
        if state.alarm:
            return True
    return False


def changes(population: Population) -> Changes:
    """Changes of one numeric feature, by name."""
    return {
        ".25 sd": lambda rows: population.shifted(rows, 0.25),
        ".5 sd": lambda rows: population.shifted(rows, 0.5),
        "1 sd": lambda rows: population.shifted(rows, 1.0),
        "2 sd": lambda rows: population.shifted(rows, 2.0),
        "sd x 1.5": lambda rows: population.spread_out(rows, 1.5),
        "decoupled": population.decoupled,
    }


def awkward_changes(population: Awkward) -> Changes:
    """Changes of categories and missing values, by name."""
    return {
        "first category 30 -> 50 %": lambda rows: population.recoloured(rows, 0, 0.5),
        "second category 20 -> 40 %": lambda rows: population.recoloured(rows, 1, 0.4),
        "fourth category 12 -> 32 %": lambda rows: population.recoloured(rows, 3, 0.32),
        "second category 20 -> 7 %": lambda rows: population.recoloured(rows, 1, 0.07),
        "an unknown category, 5 %": lambda rows: population.renamed(rows, 0.05),
        "missing 10 -> 30 %": lambda rows: population.emptied(rows, 0.3),
    }


def rare_levels(seed: int, replications: int) -> Table:
    """False alarms on unchanged categorical columns with a long tail, and delays of a new level in 5 % of the rows."""
    kinds = {
        "50 levels, 500 rows": Levels(50, 500, seed),
        "200 levels, 500 rows": Levels(200, 500, seed),
        "1,000 levels, 500 rows": Levels(1000, 500, seed),
        "ten columns of 20 levels, 60 rows": Levels(20, 60, seed, columns=10),
        "8 levels, 300 rows": Levels(8, 300, seed),
        "200 levels, 5,000 rows": Levels(200, 5000, seed),
    }
    table: Table = {}
    for name, population in kinds.items():
        hits = sum(_ever_alarms(population.reference()[1], population.draw(REQUESTS)) for _ in range(replications))
        few = max(5, replications // 20)
        waits = [_delay(population, lambda rows, levels=population: levels.renamed(rows, 0.05)) for _ in range(few)]
        table[name] = {
            "alarms": hits,
            "upper": upper_limit(hits, replications),
            "new level, median": float(np.quantile(waits, 0.5, method="higher")),
        }
    return table


def outliers(seed: int, replications: int) -> Table:
    """Delays of 1 % outliers at 8 standard deviations, by reference rows and features."""
    table: Table = {}
    for rows, columns in ((2500, 1), (2500, 4), (1000, 1)):
        population = Outliers(rows, seed, columns)
        ways: Changes = {f"{columns} of {rows}": lambda count, drawn=population: drawn.with_outliers(count, 0.01, 8.0)}
        table |= delays(population, ways, replications)
    return table


def delays(population: Population | Awkward | Outliers, ways: Changes, replications: int) -> Table:
    """Requests from a change to the alarm, after 2,000 requests without drift."""
    table: Table = {}
    for name, change in ways.items():
        waits = np.array([_delay(population, change) for _ in range(replications)])
        quantiles = np.quantile(waits, (0.5, 0.9), method="higher")
        table[name] = {"median": quantiles[0], "p90": quantiles[1], "found": float((waits < np.inf).mean())}
    return table


def _delay(population: Population | Awkward | Levels | Outliers, change: Callable[[int], np.ndarray]) -> float:
    """Requests until the alarm, a multiple of 10; infinite if there is none within 5,000."""
    state, reference = _clean_start(population)
    for waited in range(0, GIVE_UP, 100):
        rows = change(100)
        later = update(reference, state, rows)
        if later.alarm:
            return waited + next(_steps_to_alarm(reference, state, rows))
        state = later
    return np.inf


def _clean_start(population: Population | Awkward | Levels | Outliers) -> tuple[DriftState, DriftReference]:
    while True:
        _, reference = population.reference()
        state = update(reference, start(reference), population.draw(CLEAN))
        if not state.alarm:
            return state, reference


def _steps_to_alarm(reference: DriftReference, state: DriftState, rows: np.ndarray) -> Iterator[int]:
    for last in range(10, len(rows) + 1, 10):
        state = update(reference, state, rows[last - 10 : last])
        if state.alarm:
            yield last


def scores(population: Population, replications: int) -> Table:
    """Share of clean windows with a score of 0, and the median score under shifts at 500 rows."""
    table: Table = {}
    for window in WINDOWS:
        clean = [_score(population, population.draw(window), window) for _ in range(replications)]
        table[f"clean, W = {window}"] = {"zero": float(np.mean(np.array(clean) == 0))}
    for shift in SHIFTS:
        moved = [_score(population, population.shifted(500, shift), 500) for _ in range(replications // 4 + 1)]
        table[f"shift {shift:g} sd"] = {"median": float(np.median(moved)), "least": float(np.min(moved))}
    return table


def _score(population: Population, live: np.ndarray, window: int) -> float:
    _, reference = population.reference()
    state = update(reference, start(reference, window), live)
    return max(stream_scores(reference.inputs, state.inputs)[: len(reference.inputs.cells)])


def costs(population: Population) -> Table:
    """CPU time per request of a whole update, best of five, by batch size."""
    _, reference = population.reference()
    rows = population.draw(10_000)
    table: Table = {}
    for batch in (50, 200, 1000, 10_000):
        runs = [_seconds(reference, rows[: batch * 20], batch) for _ in range(5)]
        table[f"{rows.shape[1]} features, batches of {batch}"] = {"us": min(runs) * 1e6}
    return table


def _seconds(reference: DriftReference, rows: np.ndarray, batch: int) -> float:
    state, begun = start(reference), time.process_time()
    for first in range(0, len(rows), batch):
        state = update(reference, state, rows[first : first + batch])
    return (time.process_time() - begun) / len(rows)


def show(title: str, table: Table) -> None:
    """Print one table."""
    print(f"\n{title}")
    for name, cells in table.items():
        figures = "  ".join(f"{key} {value:.4g}" for key, value in cells.items())
        print(f"  {name:34} {figures}", flush=True)


def main() -> int:
    """Run all measurements and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replications", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="20 replications: a smoke test, not a measurement")
    parser.add_argument("--only", nargs="+", choices=[*LOADERS, AWKWARD, RARE])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    many = 20 if args.quick else args.replications
    results: dict[str, Table] = {}

    def add(title: str, table: Table) -> None:
        results[title] = table
        show(title, table)

    for name in args.only or [*LOADERS, AWKWARD, RARE]:
        if name == RARE:
            add(f"rare levels, {many} clean runs of {REQUESTS:,} requests", rare_levels(args.seed, many))
            add("1 % outliers at 8 standard deviations: delay", outliers(args.seed, max(10, many // 10)))
            continue
        population = Awkward(args.seed) if name == AWKWARD else Population(name, args.seed)
        add(f"{name}: false alarms in {many} clean runs of {REQUESTS:,} requests", false_alarms(population, many))
        few = max(10, many * 3 // 10)
        if isinstance(population, Awkward):
            add(f"{name}: delay, {few} runs", delays(population, awkward_changes(population), few))
            continue
        add(f"{name}: delay, {MOVED[name]} changed, {few} runs", delays(population, changes(population), few))
        add(f"{name}: crowds of one, {few} clean runs", crowd_alarms(population, few))
        add(f"{name}: score", scores(population, max(20, many * 4 // 10)))
    add("cost of an update, CPU time per request", costs(Population("breast_cancer", args.seed)))
    if args.json:
        args.json.write_text(json.dumps(results, indent=1, default=float))
    return 0


if __name__ == "__main__":
    sys.exit(main())
