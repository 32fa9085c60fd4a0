"""Measure the processor time of the recorder's thread for each row of the log, by part.

    python bench/recorder.py [--rows 20000] [--rounds 3]

Requests of one row (Iris with one decimal), answered by two versions of 100 trees, the other one asked in shadow;
every row is counted, packed and committed to SQLite: 40 in a commit, 160 as at 4,000 rows/s, or 512. The medians of the
rounds are printed.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from servers import ROOT, train

sys.path.insert(0, str(ROOT))

from app.domain.columns import union_of
from app.domain.layouts import RequestColumns
from app.domain.prediction import Exposure
from app.domain.prediction_id import Signer
from app.inference.loader import load_models
from app.inference.registry import ModelRegistry
from app.observe.metrics import Metrics
from app.services.ports import LoadedModels
from app.services.recording.batch import BatchProcessor, RecordQueue
from app.store.engine import Database
from app.store.keys import load_or_create
from app.store.kinds import READING
from app.store.predictions import PredictionLog

SERVED_AT_US = 1_790_000_000_000_000
COMMITS = (40, 160, 512)
FIRST = 40
SHADOW, METRICS, STORE, WHOLE = "shadow predictions", "metrics", "packing and commit", "whole thread"


class Timed:
    """Passes calls on, and adds their processor time to a part."""

    def __init__(self, inner: Any, part: str, spent: Counter[str]) -> None:
        self._inner, self._part, self._spent = inner, part, spent

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """The method of that name, timed."""
        method = getattr(self._inner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            begun = time.thread_time()
            try:
                return method(*args, **kwargs)
            finally:
                self._spent[self._part] += time.thread_time() - begun

        return timed


def exposures(models: LoadedModels, rows: int) -> list[Exposure]:
    """Requests as the predictor records them."""
    union = union_of("v1", {name: version.contract for name, version in models.versions.items()})
    columns, signer, draw = RequestColumns("v1", union), Signer(b"k" * 32, b"host"), np.random.default_rng(1)
    found = []
    for number, values in enumerate(draw.uniform([4.3, 2.0, 1.0, 0.1], [7.9, 4.4, 6.9, 2.5], (rows, 4)).round(1)):
        version, at_us = f"v{number % 2 + 1}", SERVED_AT_US + 1000 * number
        row, layout = columns.row(values.tolist())
        outputs = models.versions[version].runtime.predict(layout.readers[version].rows(row))
        ids = signer.sign_all(
            served_at_us=at_us, version_ordinal=models.versions[version].ordinal, epoch=3, counts=True,
            randomised=True, user_hash=0, answers=outputs.class_ids,
        )  # fmt: skip
        found.append(
            Exposure(
                ids, at_us, f"{at_us - 400:014x}{draw.integers(2**62):018x}", row, layout, version, version, "weighted",
                0.5, 3, True, 0, False, outputs, 0.0004,
            )
        )  # fmt: skip
    return found


def measured(models: LoadedModels, asked: list[Exposure], commit: int) -> Counter[str]:
    """The µs of processor time a row, by part."""
    spent: Counter[str] = Counter()
    versions = {
        name: msgspec.structs.replace(version, runtime=Timed(version.runtime, SHADOW, spent))
        for name, version in models.versions.items()
    }
    timed = msgspec.structs.replace(models, versions=versions)
    metrics = Metrics()
    metrics.start()
    with tempfile.TemporaryDirectory() as folder:
        database, queue = Database(f"sqlite:///{folder}/log.sqlite"), RecordQueue(len(asked))
        log = Timed(PredictionLog(database), STORE, spent)
        processor = BatchProcessor(queue, log, Timed(metrics, METRICS, spent), lambda: timed, 10**9)
        # The first commit opens the store, and writes the forms that the others find there.
        for exposure in asked[:FIRST]:
            queue.put(exposure)
        processor.tick()
        spent.clear()
        whole, counted = 0.0, len(asked) - FIRST
        for start in range(FIRST, len(asked), commit):
            for exposure in asked[start : start + commit]:
                queue.put(exposure)
            begun = time.thread_time()
            processor.tick()
            whole += time.thread_time() - begun
        assert processor.outage is None
        with database.begin(READING) as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM log").scalar() == len(asked)
        database.close()
    spent["making rows, and the rest"] = whole - sum(spent.values())
    spent[WHOLE] = whole
    return Counter({part: seconds / counted * 1e6 for part, seconds in spent.items()})


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trained", type=Path, help="a folder with the models and data of a training")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = args.trained or Path(name)
        if args.trained is None:
            train(folder)
        models = load_models(ModelRegistry(folder / "models", load_or_create(folder / "data").registry)).led_by("v1")
        asked = exposures(models, args.rows)
    gc.freeze()  # or the collector would look through all of these rows meanwhile
    rounds = {commit: [measured(models, asked, commit) for _ in range(args.rounds)] for commit in COMMITS}
    print(f"| µs of processor time a row | {' | '.join(f'{commit} rows a commit' for commit in COMMITS)} |")
    print("|---" * (len(COMMITS) + 1) + "|")
    for part in rounds[COMMITS[0]][0]:
        figures = (statistics.median(each[part] for each in rounds[commit]) for commit in COMMITS)
        print(f"| {part} | " + " | ".join(f"{figure:.1f}" for figure in figures) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
