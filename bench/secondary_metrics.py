"""What secondary metrics cost the monitor: processor time per row of the log, and memory, against the primary alone.

    python bench/secondary_metrics.py [--requests 20000]

A SQLite log of requests to two versions with probabilities, nine of ten labelled. A row is a prediction or an outcome.
All figures are of one run on one log, so that their ratios hold on a busy machine too. The state is what the store
keeps for a metric, without units; rows of this log are units of their own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.domain.experiment import SecondaryMetric
from app.monitor.experiment.projection import NAME, ExperimentProjection
from app.monitor.experiment.secondary import SecondaryProjection
from app.monitor.projection import step
from app.monitor.secondary import Generation, Register, SecondaryMetrics
from app.store.configurations import ConfigurationLog
from app.store.engine import Database
from app.store.metric_states import MetricStates
from tests.unit.monitor.small_log import SmallLog

CLASSES = {"classes": ("no", "yes"), "class_shares": (0.9, 0.1)}
METRICS = (
    SecondaryMetric(metric="balanced_accuracy", **CLASSES),
    SecondaryMetric(metric="recall", positive_class="yes", **CLASSES),
    SecondaryMetric(metric="cost", cost_matrix={"yes": {"no": 10.0}, "no": {"yes": 1.0}}, **CLASSES),
    SecondaryMetric(metric="brier", **CLASSES),
    SecondaryMetric(metric="log_loss", **CLASSES),
    SecondaryMetric(metric="reward", **CLASSES),
)


def logged(database: Database, requests: int) -> SmallLog:
    """The log, written in batches."""
    log, chance = SmallLog(database), np.random.default_rng(1)
    log.begin("one", unit="auto")
    for first in range(0, requests, 1000):
        rows, given = [], []
        for _ in range(min(1000, requests - first)):
            label, version = int(chance.random() < 0.09), ("v1", "v2")[chance.integers(2)]
            answers = {}
            for name in ("v1", "v2"):
                p = float(np.clip(0.9 * label + chance.normal(0.05, 0.2), 0.001, 0.999))
                answers[name] = {"c": int(p > 0.5), "p": [1 - p, p]}
            rows.append(log.served(answers, version))
            if chance.random() < 0.9:
                given.append((rows[-1], label, "actual"))
        log.log(*rows)
        log.give_all(given)
    return log


def us_a_row(one_step: Callable[[], int]) -> tuple[float, int]:
    """Processor µs a row until the end of the log, and the number of rows."""
    started, rows = time.process_time(), 0
    while found := one_step():
        rows += found
    return (time.process_time() - started) / rows * 1e6, rows


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/log.sqlite")
        log = logged(database, args.requests)
        alone, rows = us_a_row(lambda: step(ExperimentProjection(), log.events, log.stored_states))
        print(f"{rows:,} rows; the monitor with accuracy alone: {alone:.1f} µs a row")
        print(f"{'metric':20}{'µs a row':>10}{'of the primary':>16}{'state, kB':>11}{'peak, MB':>10}")
        store = MetricStates(database, log.clock)
        apart = 0.0
        for metric in METRICS:
            ConfigurationLog(database).settle(
                lambda latest, one=metric: msgspec.structs.replace(latest, secondary=(one,))
            )
            metrics = SecondaryMetrics(log.events, store, log.stored_states)
            cost, _ = us_a_row(metrics.step)
            apart += cost
            live = msgspec.json.decode(store.register(), type=Register).live[metric.metric]
            kept = sum(len(name) + len(body) for name, body in store.space(live.number).all_states(NAME).items())
            peak = _peak_mb(log, store, live)
            print(f"{metric.metric:20}{cost:10.1f}{cost / alone:16.2f}{kept / 1000:11.1f}{peak:10.1f}")
        ConfigurationLog(database).settle(
            lambda latest: msgspec.structs.replace(latest, secondary=tuple(map(anew, METRICS)))
        )
        together, _ = us_a_row(SecondaryMetrics(log.events, store, log.stored_states).step)
        print(f"all of them together: {together:.1f} µs a row, against {apart:.1f} apart")
        database.close()
    return 0


def anew(metric: SecondaryMetric) -> SecondaryMetric:
    """The metric with shares that differ by nothing that matters, so that it begins at the start of the log."""
    return msgspec.structs.replace(metric, class_shares=(0.9000001, 0.0999999))


def _peak_mb(log: SmallLog, store: MetricStates, live: Generation) -> float:
    """The most memory that one batch takes beyond what was there, in MB."""
    space = store.space(1_000 + live.number)
    tracemalloc.start()
    step(SecondaryProjection(live.metrics), log.events, space)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


if __name__ == "__main__":
    sys.exit(main())
