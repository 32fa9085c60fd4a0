"""Measure the monitor alone: rows of the log a second, and CPU microseconds a row of each projection.

    python bench/monitor.py [--rows 20000] [--features 4 30] [--named 0.2] [--keyed 0.0] [--labelled 0.5] [--repeats 3]

A SQLite log of requests to two versions with probabilities of three classes, some of them labelled. A row is a
prediction; its label is counted with it, so that the figures are per request. `named` of the requests name one of 5,000
users, `keyed` have an own key, and `labelled` a label. Everything is included: reading the log, decoding, state, units
and their commits.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.domain.contract import Feature, FeatureContract
from app.domain.prediction import Outputs
from app.drift.reference import ReferenceAnswers, build_reference
from app.monitor import projection as steps
from app.monitor.breakdown import BreakdownProjection
from app.monitor.disagreements import DisagreementProjection
from app.monitor.drift.projection import DriftProjection
from app.monitor.experiment.projection import ExperimentProjection
from app.monitor.projection import Projection
from app.services.ports import LoggedPrediction
from app.store.drift_reports import DriftTable
from app.store.engine import Database
from app.store.kinds import MONITORING
from tests.unit.monitor.small_log import SmallLog
from tests.unit.monitor.watched_log import Fixed, known

CLASSES = ("a", "b", "c")
AT_ONCE = 1000


def written(log: SmallLog, rows: int, features: int, named: float, keyed: float, labelled: float) -> None:
    """Write the log: batches of requests, and after each the labels of some of them."""
    log.begin("one", unit="auto", classes=CLASSES, class_shares=(0.4, 0.3, 0.3))
    chance = np.random.default_rng(1)
    for _ in range(rows // AT_ONCE):
        batch, given = [], []
        for cells in chance.normal(4, 1, (AT_ONCE, features)).round(2).tolist():
            served, label = request(log, chance, cells, named, keyed)
            batch.append(served)
            if chance.random() < labelled:
                given.append((served, label, "actual"))
        log.log(*batch)
        if given:
            log.give_all(given)


def request(
    log: SmallLog, chance: np.random.Generator, cells: list[float], named: float, keyed: float
) -> tuple[LoggedPrediction, int]:
    """A row as the recorder makes it, and its true class."""
    shares = chance.dirichlet([1, 1, 1], 2).astype(np.float32)
    answers = {
        name: {"c": int(own.argmax()), "p": own.tolist()} for name, own in zip(("v1", "v2"), shares, strict=True)
    }
    served = log.served(
        answers,
        ("v1", "v2")[chance.integers(2)],
        user=int(chance.integers(1, 5000)) if chance.random() < named else 0,
        own_key=f"order-{chance.integers(2**40)}" if chance.random() < keyed else None,
        features=msgspec.json.encode(cells).decode(),
        request_id=f"{log.now_us - 400:014x}{chance.integers(2**62):018x}",
        propensity=0.5,
        latency_us=int(chance.integers(200, 900)),
    )
    # Without the spaces of Python's own JSON, as the recorder writes it.
    return replace(served, answers=msgspec.json.encode(answers).decode()), int(chance.integers(3))


def projections(features: int, database: Database) -> Sequence[Projection]:
    """The monitor's projections, in its order, with references of the same distribution as the traffic."""
    chance = np.random.default_rng(2)
    contract = FeatureContract(
        "classification", "y", tuple(Feature(name=f"f{place}") for place in range(features)), CLASSES
    )
    answers = ReferenceAnswers(
        "holdout", Outputs(class_ids=chance.integers(3, size=100), probabilities=chance.dirichlet([1, 1, 1], 100)), 30
    )
    found = build_reference(contract, chance.normal(4, 1, (500, features)).round(2), seed=1, answers=answers)
    references = Fixed(
        known("v1", found), known("v2", found), contracts={"v1": contract.features, "v2": contract.features}
    )
    return (
        ExperimentProjection(),
        DriftProjection(references, DriftTable(database)),
        DisagreementProjection(),
        BreakdownProjection(references),
    )


def seconds(work: Callable[[], object]) -> float:
    """The processor time of this process that the work takes."""
    started = time.process_time()
    work()
    return time.process_time() - started


def measured(log: SmallLog, features: int) -> dict[str, float]:
    """CPU seconds of each projection over the whole log, alone, and of all together as the monitor runs them."""
    found: dict[str, float] = {}
    for each in projections(features, log.database):
        forget(log)
        found[each.name] = seconds(lambda each=each: steps.process_all(each, log.events, log.stored_states))
    forget(log)
    every = projections(features, log.database)
    found["all"] = seconds(lambda: steps.process_together(every, log.events, log.stored_states))
    return found


def forget(log: SmallLog) -> None:
    """Drop all derived state."""
    log.forget()
    with log.database.begin(MONITORING) as connection:
        connection.exec_driver_sql("DELETE FROM disagreements")


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--features", type=int, nargs="*", default=[4, 30])
    parser.add_argument("--named", type=float, default=0.2)
    parser.add_argument("--keyed", type=float, default=0.0)
    parser.add_argument("--labelled", type=float, default=0.5)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    print("| features | experiment | drift | disagreements | breakdown | all, µs a row | rows/s |")
    print("|---|---|---|---|---|---|---|")
    for features in args.features:
        with tempfile.TemporaryDirectory() as folder:
            log = SmallLog(Database(f"sqlite:///{folder}/log.sqlite"))
            written(log, args.rows, features, args.named, args.keyed, args.labelled)
            runs = [measured(log, features) for _ in range(args.repeats)]
        best = {name: min(run[name] for run in runs) / args.rows * 1e6 for name in runs[0]}
        cells = " | ".join(f"{each:.1f}" for each in best.values())
        print(f"| {features} | {cells} | {1e6 / best['all']:,.0f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
