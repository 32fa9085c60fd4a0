"""Measure breakdowns: what their counters cost the monitor, and how long the call takes at two million requests.

    python bench/breakdown.py [--requests 2000000]

Two versions, 3 classes, accuracy, 80 % of the requests labelled. A row is a prediction or a label, as the monitor
counts them. `counting` is the projection alone; `in all` also reads the log from SQLite and writes the state, as every
projection does.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time

import msgspec
import numpy as np
from servers import ROOT

sys.path.insert(0, str(ROOT))

from app.domain.breakdown import BreakdownState
from app.domain.contract import Feature
from app.domain.log_event import Event
from app.monitor.breakdown import NAME, BreakdownProjection
from app.monitor.projection import BATCH_ROWS, step
from app.services.queries.breakdown import Breakdowns
from app.store.engine import Database
from tests.unit.monitor.broken_down import CLASSES, BrokenDown, references
from tests.unit.monitor.small_log import SmallLog
from tests.unit.services.control.deciders import MemoryReports, record

BATCHES = 20


def features_of(count: int) -> tuple[Feature, ...]:
    """Numbers and categories, in turn."""
    kinds = ("numeric", "numeric", "categorical")
    names = ("low", "middle", "high")
    return tuple(
        Feature(name=f"f{place}", kind=kinds[place % 3], categories=names if place % 3 == 2 else ())
        for place in range(count)
    )


def rows_of(chance: np.random.Generator, count: int, n: int) -> np.ndarray:
    """Random rows of those features, shape (n, count)."""
    rows = np.empty((n, count), dtype=object)
    for place in range(count):
        rows[:, place] = chance.choice(["low", "middle", "high"], n) if place % 3 == 2 else chance.normal(size=n)
    return rows


def filled(count: int) -> BrokenDown:
    """A log of as many requests as `BATCHES` batches, in memory."""
    chance = np.random.default_rng(1)
    made = BrokenDown(found=references(features_of(count), rows_of(chance, count, 500)))
    for row in rows_of(chance, count, BATCHES * BATCH_ROWS).tolist():
        answers = dict(zip(("v1", "v2"), chance.integers(3, size=2).tolist(), strict=True))
        served = made.log.serve(answers, "v1", features=json.dumps(row))
        if chance.random() < 0.8:
            made.log.label(served, int(chance.integers(3)))
    return made


def counting_us(made: BrokenDown, requests: int) -> tuple[list[float], int]:
    """CPU microseconds a row of each batch, until so many requests were counted; and how many those are."""
    entries = made.log.entries
    batches: list[tuple[list[Event], int]] = []
    for start in range(0, len(entries), 2 * BATCH_ROWS):  # a batch has up to so many of each kind
        some = entries[start : start + 2 * BATCH_ROWS]
        batches.append(([event for entry in some for event in entry], len(some)))
    figures, counted = [], 0
    while counted < requests:
        for events, rows in batches:
            started = time.process_time()
            changes = made.projection.apply(events, made._reads)
            figures.append((time.process_time() - started) / rows * 1e6)
            made.states |= {f"{NAME}/{name}": body for name, body in changes.states.items()}
        counted = msgspec.json.decode(made.states[f"{NAME}/one"], type=BreakdownState).requests[-1]
    return figures, counted


def step_us(count: int) -> list[float]:
    """CPU microseconds a row of a step of the monitor over a log in SQLite."""
    chance = np.random.default_rng(2)
    projection = BreakdownProjection(references(features_of(count), rows_of(chance, count, 500)))
    with tempfile.TemporaryDirectory() as folder:
        log = SmallLog(Database(f"sqlite:///{folder}/log.sqlite"))
        log.begin("one", classes=CLASSES)
        for _ in range(5):
            rows = [
                log.served({"v1": int(chance.integers(3)), "v2": int(chance.integers(3))}, features=json.dumps(row))
                for row in rows_of(chance, count, BATCH_ROWS).tolist()
            ]
            log.log(*rows)
            log.give_all([(row, int(chance.integers(3)), "actual") for row in rows[::2]])
        figures = []
        while True:
            started = time.process_time()
            rows_done = step(projection, log.events, log.stored_states)
            if not rows_done:
                return figures
            figures.append((time.process_time() - started) / rows_done * 1e6)


def calls_ms(made: BrokenDown, by: str, times: int = 20) -> list[float]:
    """Milliseconds of the use case behind the call, with the reading of the state as JSON."""
    kept = MemoryReports(records=[record(id="one", terms=made.log.last.terms)])
    queries = Breakdowns(lambda names: {name: made.states[name] for name in names}, kept, None)
    figures = []
    for _ in range(times):
        started = time.perf_counter()
        msgspec.json.encode(queries.of("one", "v2", by))
        figures.append((time.perf_counter() - started) * 1e3)
    return figures


def main() -> int:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2_000_000)
    args = parser.parse_args()
    print("| features | counting, CPU µs a row, median (minimum) | in all | target of counting |")
    print("|---|---|---|---|")
    largest = None
    for count in (4, 12):
        made = filled(count)
        figures, counted = counting_us(made, args.requests if count == 12 else 200_000)
        in_all = statistics.median(step_us(count))
        print(f"| {count} | {statistics.median(figures):.1f} ({min(figures):.1f}) | {in_all:.1f} | ≤ 3 |")
        largest = made, counted
    assert largest is not None
    made, counted = largest
    print(f"\n| call, {counted:,} requests | ms, median (maximum) | target |")
    print("|---|---|---|")
    for by in ("class", "feature:f0", "feature:f2"):
        figures = calls_ms(made, by)
        print(f"| by={by} | {statistics.median(figures):.1f} ({max(figures):.1f}) | ≤ 100 |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
