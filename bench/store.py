"""Measure how many rows per second the store can write, on SQLite and on PostgreSQL, in the same run.

    python bench/store.py [--seconds 3] [--writers 2]

Needs the programs of a PostgreSQL server (apt-get install postgresql), which runs in a temporary folder with `fsync`
on. Predictions are appended in batches of 100, like the recorder's. Outcomes are committed durably, one by one and in
groups of 16, like concurrent requests. Each writer is a process.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from servers import ROOT

sys.path.insert(0, str(ROOT))

from app.domain.outcome import Outcome
from app.domain.prediction_id import ServedFact
from app.errors import StoreUnavailable
from app.store.engine import Database
from app.store.kinds import READING
from app.store.outcomes import FeedbackLog
from app.store.predictions import PredictionLog
from tests import postgres
from tests.unit.store.stored_rows import id_of, logged

FACT = ServedFact(served_at_us=1, version_ordinal=2, epoch=3, counts=True, randomised=True, user_hash=0, answer=1.0)
GROUPS = {"predictions in batches of 100": 100, "feedback, 1 per commit": 1, "feedback, 16 per commit": 16}


def work(url: str, what: str, seconds: float, writer: int, turn: str) -> int:
    """Rows that one process writes in `seconds`."""
    database, group, rows = Database(url), GROUPS[what], 0
    predictions, feedback = PredictionLog(database), FeedbackLog(database, lambda: 1, Path(turn))
    with database.begin(READING):
        pass  # opened before the clock starts
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        numbers = range(rows, rows + group)
        try:
            if what.startswith("predictions"):
                predictions.append([logged(writer * 10**9 + number) for number in numbers])
            else:
                feedback.commit([[Outcome(id_of(writer * 10**9 + number), "actual", 0, FACT)] for number in numbers])
        except StoreUnavailable:
            continue
        rows += group
    return rows


def rate(url: str, what: str, seconds: float, writers: int) -> float:
    """Rows per second over all writers."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, __file__, "--url", url, "--what", what, "--seconds", str(seconds)]
        words += ["--turn", f"{folder}/turn", "--writer"]
        running = [
            subprocess.Popen([*words, str(one)], stdout=subprocess.PIPE, text=True) for one in range(1, writers + 1)
        ]
        return sum(int(process.communicate()[0]) for process in running) / seconds


def measure(seconds: float, writers: int) -> None:
    """Measure both databases, one after the other, and print the table."""
    with tempfile.TemporaryDirectory() as folder, postgres.server(fsync="on", full_page_writes="on") as server:
        print(f"| {writers} writers, rows per second | SQLite | PostgreSQL |")
        print("|---|---|---|")
        for what in GROUPS:
            name = what.replace(" ", "-")
            figures = [rate(url, what, seconds, writers) for url in (f"sqlite:///{folder}/{name}", server.fresh())]
            print(f"| {what} | {figures[0]:,.0f} | {figures[1]:,.0f} |", flush=True)


def main() -> int:
    """Measure; with the hidden --writer, run as one of the writers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--writers", type=int, default=2)
    for hidden in ("--url", "--what", "--turn"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--writer", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.writer:
        print(work(args.url, args.what, args.seconds, args.writer, args.turn))
        return 0
    if postgres.binaries() is None:
        sys.exit("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    measure(args.seconds, args.writers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
