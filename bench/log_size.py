"""Measure the bytes of a prediction and of its label in the log, on SQLite and PostgreSQL, packed and in the old form.

    python bench/log_size.py [--rows 100000]

Rows as the service logs them one by one: Iris with one decimal, two versions, probabilities of float32 for one and of
float64 for the other, requests whose ids the API made. Needs the programs of a PostgreSQL server.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import numpy as np
from sqlalchemy import text

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.domain.log_event import Cursor
from app.domain.logged_rows import LoggedPrediction
from app.domain.outcome import Outcome
from app.domain.prediction_id import ServedFact, Signer
from app.store.engine import Database
from app.store.event_log import EventLog
from app.store.kinds import DURABLE, READING
from app.store.outcomes import FeedbackLog
from app.store.predictions import PredictionLog
from tests import postgres

SERVED_AT_US = 1_790_000_000_000_000
AT_ONCE = 40
FACT = ServedFact(served_at_us=1, version_ordinal=1, epoch=3, counts=True, randomised=True, user_hash=0, answer=0.0)


def predictions(rows: int) -> list[LoggedPrediction]:
    """Rows as the recorder makes them."""
    signer, draw = Signer(b"k" * 32, b"host"), np.random.default_rng(1)
    found = []
    for number in range(rows):
        at_us, class_id = SERVED_AT_US + 1000 * number, int(draw.integers(3))
        version, shares = f"v{draw.integers(1, 3)}", draw.dirichlet([1, 1, 1], 2)
        answers = {
            "v1": {"c": class_id, "p": shares[0].astype(np.float32).tolist()},
            "v2": {"c": class_id, "p": shares[1].round(2).tolist()},
        }
        [prediction_id] = signer.sign_all(
            served_at_us=at_us, version_ordinal=int(version[1]), epoch=3, counts=True, randomised=True, user_hash=0,
            answers=np.array([class_id]),
        )  # fmt: skip
        features = msgspec.json.encode(draw.normal(4, 1, 4).round(1).tolist()).decode()
        request_id = f"{at_us - 400:014x}{draw.integers(2**62):018x}"
        found.append(
            LoggedPrediction(
                prediction_id, at_us, request_id, 3, version, version, "weighted", 0.5, True, False, 0, features,
                msgspec.json.encode(answers).decode(), 412,
            )
        )  # fmt: skip
    return found


def used(database: Database) -> int:
    """The bytes of the store's pages that are in use."""
    if database.kind.file is not None:
        with database.begin(READING) as connection:
            size, count, free = (
                connection.execute(text(f"PRAGMA {name}")).scalar_one()
                for name in ("page_size", "page_count", "freelist_count")
            )
        return int(size * (count - free))
    with database.begin(READING) as connection:
        sizes = "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c WHERE c.relkind = 'r' AND relnamespace = "
        return int(connection.execute(text(f"{sizes} current_schema()::regnamespace")).scalar_one())


def measured(url: str, rows: list[LoggedPrediction], *, packed: bool) -> tuple[float, float, float, float]:
    """Bytes a prediction and a label, and CPU µs of this process to append and to read a row."""
    database = Database(url)
    with database.begin(DURABLE) as connection:
        if not packed:
            connection.execute(text("DELETE FROM log_marks"))
    empty, log = used(database), PredictionLog(database)
    begun = time.process_time()
    for start in range(0, len(rows), AT_ONCE):
        log.append(rows[start : start + AT_ONCE])
    appended_us = (time.process_time() - begun) / len(rows) * 1e6
    full = used(database)
    begun, events, read = time.process_time(), EventLog(database), 0
    cursor = Cursor()
    while len(page := events.page(cursor, 5000)):
        cursor, read = page.cursor, read + len(page)
    read_us = (time.process_time() - begun) / read * 1e6
    labels = FeedbackLog(database, lambda: SERVED_AT_US)
    for start in range(0, len(rows), 500):
        labels.commit([[Outcome(row.prediction_id, "actual", 0, FACT)] for row in rows[start : start + 500]])
    labelled = used(database)
    database.close()
    return (full - empty) / len(rows), (labelled - full) / len(rows), appended_us, read_us


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    rows = predictions(parser.parse_args().rows)
    print(
        "| | bytes a prediction | bytes a label | µs to append (40 rows a commit) | µs to read |\n|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        for packed in (False, True):
            url = f"sqlite:///{folder}/{packed}.sqlite"
            print(line("SQLite", packed, measured(url, rows, packed=packed)), flush=True)
    with postgres.server() as server:
        for packed in (False, True):
            print(line("PostgreSQL", packed, measured(server.fresh(), rows, packed=packed)), flush=True)
    return 0


def line(name: str, packed: bool, figures: tuple[float, ...]) -> str:
    """A row of the table."""
    return f"| {name}, {'packed' if packed else 'old form'} | " + " | ".join(f"{each:.0f}" for each in figures) + " |"


if __name__ == "__main__":
    sys.exit(main())
