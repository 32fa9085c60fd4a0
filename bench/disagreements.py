"""Measure disagreements: what they cost the monitor, and how long the call takes at two million requests.

    python bench/disagreements.py [--requests 2000000] [--url postgresql://…]

Two versions, 3 classes; they differ in 1 of 2,000 requests, or in every other one, and 80 % of the requests are
labelled. A row is a prediction or a label. `alone` is the projection, `in all` also reads the log and writes the state
and the table. The call is the use case with the encoding of its answer, for one page of 100 rows.
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
from sqlalchemy import text

sys.path.insert(0, str(ROOT))

from app.domain.log_event import Event
from app.domain.monitor_state import Changes
from app.monitor.disagreements import DisagreementProjection
from app.monitor.projection import DerivedReads, step
from app.services.ports import LoadedModels
from app.services.queries.breakdown import Breakdowns
from app.services.queries.disagreements import Disagreements, Wanted
from app.store.disagreements import DisagreementTable
from app.store.engine import Database
from app.store.kinds import RECORDING
from app.store.logged import last_number
from app.store.predictions import PredictionLog
from app.store.reports import ExperimentTable
from tests.unit.monitor.small_log import SmallLog
from tests.unit.store.stored_rows import logged

CHUNK = 20_000
CLASSES = ("a", "b", "c")
_LABEL = text(
    "INSERT INTO feedback (prediction_id, kind, outcome, received_at_us, version_ordinal, epoch, counts, randomised, "
    "answer, user_hash, predictions_seen) VALUES (:id, 'actual', :label, 1, 1, :epoch, TRUE, TRUE, 0, 0, "
    ":seen)"
)


class Timed:
    """The projection, with the seconds that it took itself."""

    def __init__(self) -> None:
        self.name, self.seconds, self._projection = "disagreements", 0.0, DisagreementProjection()

    def apply(self, events: Sequence[Event], reads: DerivedReads) -> Changes:
        """The projection's changes."""
        started = time.process_time()
        changes = self._projection.apply(events, reads)
        self.seconds += time.process_time() - started
        return changes


def fill(log: SmallLog, requests: int, every: int) -> None:
    """Write so many requests and their labels; the versions differ in one of `every`."""
    epoch, chance, writer = log.begin("one", classes=CLASSES), np.random.default_rng(1), PredictionLog(log.database)
    for start in range(1, requests + 1, CHUNK):
        rows = []
        for number in range(start, min(start + CHUNK, requests + 1)):
            base, differs = number % 3, number % every == 0
            answers = {
                "v1": {"c": base, "p": [0.5, 0.25, 0.25]},
                "v2": {"c": (base + differs) % 3, "p": [0.25, 0.5, 0.25]},
            }
            features = f"[{number % 50_000}.5, 3.5, 1.4, 0.2]"
            rows.append(logged(number, epoch=epoch, features=features, answers=json.dumps(answers)))
        writer.append(rows)
        labels = [
            {"id": row.prediction_id, "label": str(int(label)), "epoch": epoch}
            for row, label in zip(rows, chance.integers(3, size=len(rows)), strict=True)
            if chance.random() < 0.8
        ]
        with log.database.begin(RECORDING) as connection:
            connection.execute(_LABEL, [{**label, "seen": last_number(connection)} for label in labels])


def monitored(log: SmallLog) -> tuple[float, float, int]:
    """CPU µs a row of the projection alone and in all, and the number of rows."""
    projection, rows, started = Timed(), 0, time.process_time()
    while done := step(projection, log.events, log.stored_states):
        rows += done
    return projection.seconds / rows * 1e6, (time.process_time() - started) / rows * 1e6, rows


def called_ms(database: Database, wanted: Wanted, times: int = 20) -> tuple[list[float], int]:
    """Milliseconds of each call, and the number of rows in the answer."""
    nothing = LoadedModels({}, None, (), {})
    breakdowns = Breakdowns(lambda _: {}, ExperimentTable(database), None)  # no call here asks for a part
    queries = Disagreements(
        DisagreementTable(database), ExperimentTable(database), lambda: nothing, breakdowns.part, time.monotonic
    )
    figures, found = [], 0
    for _ in range(times):
        started = time.perf_counter()
        page = queries.page("one", wanted)
        msgspec.json.encode(page)
        figures.append((time.perf_counter() - started) * 1e3)
        found = len(page.disagreements)
    return figures, found


def middle_id(database: Database) -> str:
    """The id in the middle of those that are kept."""
    with database.begin(RECORDING) as connection:
        ids = connection.execute(text("SELECT prediction_id FROM disagreements ORDER BY prediction_id")).scalars().all()
    return str(ids[len(ids) // 2])


def report(url: str, requests: int, every: int) -> None:
    """Fill, process, call, and print the figures."""
    database = Database(url)
    log = SmallLog(database)
    fill(log, requests, every)
    alone, in_all, rows = monitored(log)
    print(f"\n1 of {every:,} differs: {rows:,} rows, CPU µs a row: {alone:.2f} alone, {in_all:.1f} in all\n")
    print("| call | rows | ms, median (maximum) | target |\n|---|---|---|---|")
    calls = {
        "newest": Wanted(),
        "from the middle": Wanted(before=middle_id(database)),
        "won=challenger": Wanted(won="challenger"),
        "won=baseline, class=b": Wanted(won="baseline", true_class="b"),
        "won=failed (none)": Wanted(won="failed"),
    }
    for name, wanted in calls.items():
        figures, found = called_ms(database, wanted)
        print(f"| {name} | {found} | {statistics.median(figures):.1f} ({max(figures):.1f}) | ≤ 50 |", flush=True)
    database.close()


def main() -> int:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2_000_000)
    parser.add_argument("--every", type=int, nargs="+", default=[2000, 2])
    parser.add_argument("--url", help="an empty PostgreSQL database, for one value of --every (default: SQLite)")
    args = parser.parse_args()
    for every in args.every:
        with tempfile.TemporaryDirectory() as folder:
            report(args.url or f"sqlite:///{folder}/log.sqlite", args.requests, every)
    return 0


if __name__ == "__main__":
    sys.exit(main())
