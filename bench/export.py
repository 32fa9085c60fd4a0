"""Measure how many rows per second `bakeoff export` writes, by format, on SQLite and on PostgreSQL, in the same run.

    python bench/export.py [--rows 200000] [--profile]

The log has rows of Iris with the answers of two versions, half of them labelled. Figures are of the whole export: both
passes, and the file on disk. PostgreSQL is left out where its programs are not installed.
"""

from __future__ import annotations

import argparse
import cProfile
import resource
import sys
import tempfile
import time
from pathlib import Path

from servers import ROOT

sys.path.insert(0, str(ROOT))

from app.domain.contract import Feature, FeatureContract
from app.domain.experiment import Configuration, ExperimentTerms
from app.domain.outcome import Outcome
from app.domain.prediction_id import ServedFact
from app.services.export.rows import Selection
from app.services.export.whole import find, write
from app.store.configurations import ConfigurationLog
from app.store.engine import Database
from app.store.log_rows import LogRows
from app.store.outcomes import FeedbackLog
from app.store.predictions import PredictionLog
from tests import postgres
from tests.unit.store.stored_rows import logged

NAMES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
CONTRACT = FeatureContract(
    "classification", "species", tuple(Feature(name=name) for name in NAMES), ("setosa", "versicolor", "virginica")
)
CONTRACTS = {"v1": CONTRACT, "v2": CONTRACT}
ANSWERS = '{"v1":{"c":0,"p":[0.9812345,0.0187655,0.0]},"v2":{"c":0,"p":[0.9712345,0.0287655,0.0]}}'
FACT = ServedFact(served_at_us=1, version_ordinal=1, epoch=1, counts=True, randomised=True, user_hash=0, answer=0.0)
BATCH = 1000


def fill(url: str, rows: int) -> None:
    """Write the log."""
    database = Database(url)
    terms = ExperimentTerms(metric="accuracy", baseline="v1")
    first = Configuration(epoch=0, experiment_id="e", weights={"v1": 0.5, "v2": 0.5}, terms=terms)
    ConfigurationLog(database).settle(lambda _latest: first)
    predictions, feedback = PredictionLog(database), FeedbackLog(database, lambda: 1)
    for start in range(0, rows, BATCH):
        numbers = range(start, min(start + BATCH, rows))
        features = [f"[{4 + n % 40 / 10},{2 + n % 20 / 10},{1 + n % 60 / 10},0.2]" for n in numbers]
        predictions.append(
            [logged(n, epoch=1, features=row, answers=ANSWERS) for n, row in zip(numbers, features, strict=True)]
        )
        feedback.commit([[Outcome(f"{n:064d}", "actual", 0, FACT) for n in numbers if n % 2]])
    database.close()


def rate(url: str, form: str, folder: str) -> tuple[float, float]:
    """Rows per second of one export, and bytes per row."""
    database = Database(url)
    path = Path(folder) / f"log.{form}"
    start = time.perf_counter()
    log = LogRows(database)
    with path.open("wb") as out:
        rows = write(log, find(log, Selection(), CONTRACTS), form, out, lambda _done, _of: None)  # type: ignore[arg-type]
    seconds = time.perf_counter() - start
    database.close()
    return rows / seconds, path.stat().st_size / rows


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--profile", action="store_true", help="profile the export of Parquet from SQLite instead")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sqlite = f"sqlite:///{folder}/log.sqlite"
        fill(sqlite, args.rows)
        if args.profile:
            cProfile.runctx("rate(sqlite, 'parquet', folder)", globals(), locals(), sort="tottime")
            return 0
        print(f"| {args.rows:,} rows | format | rows per second | bytes a row |")
        print("|---|---|---|---|")
        show("SQLite", sqlite, folder)
        if postgres.binaries() is not None:
            with postgres.server() as server:
                url = server.fresh()
                fill(url, args.rows)
                show("PostgreSQL", url, folder)
    print(f"largest memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")
    return 0


def show(name: str, url: str, folder: str) -> None:
    """Measure one database."""
    for form in ("parquet", "csv", "jsonl"):
        speed, size = rate(url, form, folder)
        print(f"| {name} | {form} | {speed:,.0f} | {size:,.0f} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
