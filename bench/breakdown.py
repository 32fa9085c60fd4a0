"""Measure breakdowns: what their counters cost the monitor, and how long the call takes at two million requests.

    python bench/breakdown.py [--requests 2000000]

Two versions, 3 classes, accuracy. A row is a prediction or a label, as the monitor counts them. `counting` is the
projection alone, on the pages of a log in SQLite, half of whose requests are labelled; `in all` also reads the pages
and writes the state, as every projection does. The calls read the state of a log in memory, 80 % of it labelled.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence

import msgspec
import numpy as np
from servers import ROOT

sys.path.insert(0, str(ROOT))

from app.domain.breakdown import BreakdownState
from app.domain.contract import Feature
from app.domain.log_event import Event
from app.domain.monitor_state import Changes
from app.monitor.breakdown import NAME, BreakdownProjection
from app.monitor.projection import BATCH_ROWS, DerivedReads, step
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


def count_up(made: BrokenDown, requests: int) -> int:
    """Count the log again and again, until so many requests were counted; how many those are."""
    entries = made.log.entries
    batches: list[list[Event]] = []
    for start in range(0, len(entries), 2 * BATCH_ROWS):  # a batch has up to so many of each kind
        batches.append([event for entry in entries[start : start + 2 * BATCH_ROWS] for event in entry])
    counted = 0
    while counted < requests:
        for events in batches:
            changes = made.projection.apply(events, made._reads)
            made.states |= {f"{NAME}/{name}": body for name, body in changes.states.items()}
        counted = msgspec.json.decode(made.states[f"{NAME}/one"], type=BreakdownState).requests[-1]
    return counted


class Timed(BreakdownProjection):
    """Keeps what its last batch took, in seconds of the processor."""

    last_s = 0.0

    def apply(self, events: Sequence[Event], reads: DerivedReads) -> Changes:
        """The same."""
        started = time.process_time()
        changes = super().apply(events, reads)
        self.last_s = time.process_time() - started
        return changes


def steps_us(count: int) -> list[tuple[float, float]]:
    """CPU microseconds a row of each step of the monitor over a log in SQLite: of counting, and in all."""
    chance = np.random.default_rng(2)
    projection = Timed(references(features_of(count), rows_of(chance, count, 500)))
    with tempfile.TemporaryDirectory() as folder:
        log = SmallLog(Database(f"sqlite:///{folder}/log.sqlite"))
        log.begin("one", classes=CLASSES)
        for _ in range(10):
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
            took = (projection.last_s, time.process_time() - started)
            figures.append((took[0] / rows_done * 1e6, took[1] / rows_done * 1e6))


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
    for count in (4, 12):
        counting, in_all = zip(*steps_us(count), strict=True)
        median, least, whole = statistics.median(counting), min(counting), statistics.median(in_all)
        print(f"| {count} | {median:.1f} ({least:.1f}) | {whole:.1f} | ≤ 3 |")
    made = filled(12)
    counted = count_up(made, args.requests)
    print(f"\n| call, {counted:,} requests | ms, median (maximum) | target |")
    print("|---|---|---|")
    for by in ("class", "feature:f0", "feature:f2"):
        figures = calls_ms(made, by)
        print(f"| by={by} | {statistics.median(figures):.1f} ({max(figures):.1f}) | ≤ 100 |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
