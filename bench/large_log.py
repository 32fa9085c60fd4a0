"""Make an installation whose log has many rows, as the service writes them: Iris, two versions, half of them labelled.

    python bench/large_log.py FOLDER [--rows 2000000] [--days 10]

`FOLDER/models` and `FOLDER/data` are those of a service that has served once, so that an experiment runs. Predictions
are signed with its key, and appended by 40, like the recorder's; labels come some minutes later, in random order. The
newest row was served the given number of days ago. `bench/large_store.py` makes its installations so. Run in the
checkout of an earlier release, it makes a store of that release.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np

sys.path.insert(0, str(Path.cwd()))

from app.domain.outcome import Outcome
from app.domain.prediction_id import Signer
from app.services.ports import LoggedPrediction
from app.store.engine import Database
from app.store.event_log import EventLog
from app.store.keys import load_or_create
from app.store.outcomes import FeedbackLog
from app.store.predictions import PredictionLog

AT_ONCE, LABELS_AT_ONCE, APART_US = 40, 100, 10_000
WAITING = 20_000


def predictions(signer: Signer, epoch: int, start_us: int, draw: np.random.Generator) -> list[LoggedPrediction]:
    """Some rows as the recorder makes them of single requests."""
    features = draw.uniform([4.3, 2.0, 1.0, 0.1], [7.9, 4.4, 6.9, 2.5], (AT_ONCE, 4)).round(1).tolist()
    shares = draw.dirichlet([1, 1, 1], (2, AT_ONCE)).astype(np.float32).astype(np.float64)
    classes, shares = shares.argmax(axis=2).tolist(), shares.tolist()
    served, latencies = draw.integers(1, 3, AT_ONCE).tolist(), draw.integers(200, 900, AT_ONCE).tolist()
    found = []
    for place, version in enumerate(served):
        at_us = start_us + place * APART_US
        answers = {f"v{number}": {"c": classes[number - 1][place], "p": shares[number - 1][place]} for number in (1, 2)}
        [prediction_id] = signer.sign_all(
            served_at_us=at_us, version_ordinal=version, epoch=epoch, counts=True, randomised=True, user_hash=0,
            answers=np.array([classes[version - 1][place]]),
        )  # fmt: skip
        found.append(
            LoggedPrediction(
                prediction_id, at_us, f"{at_us - 400:014x}{random.getrandbits(72):018x}", epoch, f"v{version}",
                f"v{version}", "weighted", 0.5, True, False, 0, msgspec.json.encode(features[place]).decode(),
                msgspec.json.encode(answers).decode(), latencies[place],
            )
        )  # fmt: skip
    return found


def fill(data: Path, rows: int, days: float) -> None:
    """Write the log of an installation."""
    database, signer = Database(f"sqlite:///{data}/bakeoff.sqlite"), Signer(load_or_create(data).predictions, b"made")
    epoch, draw = EventLog(database).newest_epoch(), np.random.default_rng(1)
    now_us = [0]
    log, feedback = PredictionLog(database), FeedbackLog(database, lambda: now_us[0])
    first_us = int((time.time() - days * 86_400) * 1e6) - rows * APART_US
    waiting: list[LoggedPrediction] = []

    def label() -> None:
        random.shuffle(waiting)
        for start in range(0, len(waiting), LABELS_AT_ONCE):
            some = waiting[start : start + LABELS_AT_ONCE]
            feedback.commit(
                [
                    [Outcome(row.prediction_id, "actual", random.randrange(3), signer.verify(row.prediction_id))]
                    for row in some
                ]
            )
        waiting.clear()

    for start in range(0, rows, AT_ONCE):
        now_us[0] = first_us + (start + AT_ONCE) * APART_US
        some = predictions(signer, epoch, first_us + start * APART_US, draw)
        log.append(some)
        waiting += [row for row in some if random.random() < 0.5]
        if len(waiting) >= WAITING:
            label()
    label()
    database.close()


def main() -> int:
    """Make the installation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--days", type=float, default=10)
    args = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    from running import environment
    from servers import SERVE, free_port, server, train

    random.seed(1)
    args.folder.mkdir(parents=True)
    train(args.folder, root=Path.cwd())
    port = free_port()
    serve = server(SERVE, port, root=Path.cwd(), **environment(args.folder, port))
    with contextlib.suppress(subprocess.TimeoutExpired), serve as (process, _):
        pass
    process.wait(60)
    started = time.perf_counter()
    fill(args.folder / "data", args.rows, args.days)
    size = (args.folder / "data" / "bakeoff.sqlite").stat().st_size
    print(
        f"{args.rows:,} rows in {time.perf_counter() - started:.0f} s; {size / args.rows:.0f} bytes a row with labels"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
