"""Archives a log of Iris with two versions, and reads all events from it: rows a second of CPU time, bytes a row.

python -m bench.archive [ROWS] [--random]

Labels come in the order of their predictions, some thousand requests later; with `--random` in any order, at the end.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from app.domain.experiment import Configuration, ExperimentTerms
from app.domain.log_event import Cursor
from app.domain.log_order import in_order
from app.domain.logged_rows import LoggedPrediction
from app.domain.outcome import Outcome
from app.domain.prediction_id import Signer
from app.store.archive.archiver import Archiver
from app.store.archive.log import ArchivableLog
from app.store.archive.places import place_of
from app.store.archive.writing import SpanWriter
from app.store.configurations import ConfigurationLog
from app.store.engine import Database
from app.store.event_log import EventLog
from app.store.log_rows import LogRows
from app.store.outcomes import FeedbackLog
from app.store.predictions import PredictionLog
from tests.builders import two_class_contract

START_US = 1_790_000_000_000_000
NAMES = ("sepal_length", "sepal_width", "petal_length", "petal_width")


def served(signer: Signer, number: int, rng: random.Random) -> LoggedPrediction:
    """A prediction as a single request makes it."""
    at_us = START_US + number * 10_000
    counts = {"served_at_us": at_us, "version_ordinal": 1, "epoch": 1, "counts": True, "randomised": True}
    answers = {f"v{version}": (float(np.float32(rng.random()))) for version in (1, 2)}
    texts = ",".join(f'"{name}":{{"c":{int(p < 0.5)},"p":[{p},{1 - p}]}}' for name, p in answers.items())
    return LoggedPrediction(
        prediction_id=signer.sign_all(**counts, user_hash=0, answers=np.array([0.0]))[0],
        served_at_us=at_us,
        request_id=f"{at_us - 400:014x}{rng.getrandbits(62):018x}",  # as the api makes it
        epoch=1,
        version="v1",
        chosen="v1",
        assignment="weighted",
        propensity=0.5,
        counts=True,
        synthetic=False,
        user_hash=0,
        features=str([round(rng.uniform(0.1, 7.9), 1) for _ in NAMES]).replace(" ", ""),
        answers=f"{{{texts}}}",
        latency_us=rng.randint(200, 900),
    )


def filled(database: Database, rows: int, *, at_random: bool, labelled: float = 0.5) -> None:
    """Write predictions of an experiment, and labels for a part of them a while later."""
    terms = ExperimentTerms(metric="accuracy", baseline="v1")
    first = Configuration(epoch=0, experiment_id="e", weights={"v1": 0.5, "v2": 0.5}, terms=terms)
    ConfigurationLog(database).settle(lambda _latest: first)
    signer, rng = Signer(b"k" * 32, b"test"), random.Random(0)
    predictions, feedback, waiting = (
        PredictionLog(database),
        FeedbackLog(database, lambda: START_US + rows * 10_000),
        list[LoggedPrediction](),
    )

    def give(labelled_rows: list[LoggedPrediction]) -> None:
        feedback.commit(
            [[Outcome(row.prediction_id, "actual", 0, signer.verify(row.prediction_id))] for row in labelled_rows]
        )

    for start in range(0, rows, 1000):
        some = [served(signer, start + place, rng) for place in range(min(1000, rows - start))]
        predictions.append(some)
        waiting += [row for row in some if rng.random() < labelled]
        if len(waiting) > 10_000 and not at_random:
            give(waiting[:2000])
            del waiting[:2000]
    if at_random:
        rng.shuffle(waiting)
        for start in range(0, len(waiting), 2000):
            give(waiting[start : start + 2000])


def read_all(database: Database) -> int:
    """Read every event, and return how many there are."""
    log, cursor, events = EventLog(database), Cursor(), 0
    while len(page := log.page(cursor, 2000)):
        events += len(in_order(page))
        cursor = page.cursor
    return events


def main(rows: int, *, at_random: bool) -> None:
    """Measure, and print."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/log.sqlite")
        filled(database, rows, at_random=at_random)
        print(f"{rows:,} predictions, {LogRows(database).ends()[1]}")
        database.close()
        size = (Path(folder) / "log.sqlite").stat().st_size
        print(f"SQLite: {size / rows:.0f} bytes a prediction, with its share of labels")
        pa.array([0])  # the first one imports pandas, where it is installed: once a process, however long the log
        started = time.process_time()
        events = read_all(database)
        print(f"read from the tables: {events / (time.process_time() - started):,.0f} events/s")
        times = {"": time.process_time()}
        seqs: dict[str, int] = {}

        def progress(what: str, number: int) -> None:
            seqs[what] = seqs.get(what, 0) + number
            now = time.process_time()
            spent[what] = spent.get(what, 0.0) + now - times[""]
            times[""] = now

        spent: dict[str, float] = {}
        log = ArchivableLog(database, lambda: START_US, pause=lambda _s: None)
        writer = SpanWriter(log, {name: two_class_contract(*NAMES) for name in ("v1", "v2")}, {1: "v1", 2: "v2"})
        ends = LogRows(database).ends()[1]
        cursors = {"all": Cursor(ends.predictions, ends.outcomes)}
        archiver = Archiver(
            log,
            place_of(f"{folder}/archive"),
            writer,
            lambda: cursors,
            lambda: ends,
            lambda: START_US,
            Path(folder),
            progress=progress,
        )
        started = time.process_time()
        done = archiver.run(2**62)
        took = time.process_time() - started
        total = done.predictions + done.outcomes
        print(f"archived and removed: {total / took:,.0f} rows/s; {done.files} files")
        for what, seconds in spent.items():
            print(f"  {what}: {seqs[what] / seconds:,.0f} rows/s")
        predictions = sum(path.stat().st_size for path in Path(folder, "archive/predictions").rglob("*.parquet"))
        outcomes = sum(path.stat().st_size for path in Path(folder, "archive/outcomes").rglob("*.parquet"))
        a_row, a_label = predictions / done.predictions, outcomes / max(1, done.outcomes)
        print(f"Parquet: {a_row:.0f} bytes a prediction, {a_label:.0f} a label")
        started = time.process_time()
        assert read_all(database) == events
        print(f"read from the archive: {events / (time.process_time() - started):,.0f} events/s")
        database.close()
        print(f"SQLite afterwards: {(Path(folder) / 'log.sqlite').stat().st_size / 1e6:.1f} MB of {size / 1e6:.1f}")


if __name__ == "__main__":
    numbers = [int(each) for each in sys.argv[1:] if each.isdigit()]
    main(numbers[0] if numbers else 200_000, at_random="--random" in sys.argv)
