"""Measure how long 10,000 labels under own keys take, from one CSV body and from a file, on SQLite and PostgreSQL.

    python bench/labels.py [--labels 10000] [--logged 200000]

Needs the programs of a PostgreSQL server (apt-get install postgresql), which runs in a temporary folder with `fsync`
on. The log holds `--logged` predictions with keys before the labels come, which are of rows all over it; 30 % of a file
are of keys that no prediction has. Two workers serve.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from running import Service, service, wait_for
from servers import ROOT

sys.path.insert(0, str(ROOT))

from tests import postgres

TARGET_S = 1.5
_ROWS_PER_BATCH = 10_000
_CSV = {"Content-Type": "text/csv"}


def predicted(running: Service, count: int) -> None:
    """Predictions with the keys k0, k1, …, all of them in the log: under load the recorder is seconds behind."""
    rng = np.random.default_rng(3)
    for start in range(0, count, _ROWS_PER_BATCH):
        number = min(_ROWS_PER_BATCH, count - start)
        rows = rng.uniform([4.3, 2.0, 1.0, 0.1], [7.9, 4.4, 6.9, 2.5], (number, 4)).round(1).tolist()
        running.post("/predict/batch", {"instances": rows, "ids": [f"k{start + at}" for at in range(number)]})
        last = f"{running.url}/predictions?id=k{start + number - 1}"
        wait_for(lambda last=last: running.session.get(last, timeout=60).ok, 120, "writing the log")


def posted(running: Service, lines: list[str], query: str) -> float:
    """Seconds for one CSV body."""
    body = "\n".join(["id,actual", *lines])
    began = time.perf_counter()
    answer = running.session.post(f"{running.url}/feedback{query}", data=body, headers=_CSV, timeout=60)
    spent_s = time.perf_counter() - began
    answer.raise_for_status()
    return spent_s


def by_command(running: Service, lines: list[str]) -> tuple[float, str]:
    """Seconds for `bakeoff feedback` from start to end, and the first line of its report."""
    path = running.folder / "labels.csv"
    path.write_text("\n".join(["id,actual", *lines]) + "\n")
    command = [sys.executable, "-m", "app", "feedback", str(path)]
    env = {**os.environ, "API_URL": running.url}
    began = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    return time.perf_counter() - began, done.stdout.partition("\n")[0].removeprefix(str(path))


@contextmanager
def stores() -> Iterator[dict[str, dict[str, str]]]:
    """The settings for each store."""
    with postgres.server(fsync="on", full_page_writes="on") as server:
        yield {"SQLite": {}, "PostgreSQL": {"DATABASE_URL": server.fresh()}}


def measured(settings: dict[str, str], labels: int, logged: int) -> dict[str, float]:
    """Seconds by what was measured."""
    rng = np.random.default_rng(5)
    with service(RECORDER_QUEUE_ROWS="1000000", **settings) as running:
        predicted(running, logged)
        order = rng.permutation(logged)
        sets = [[f"k{one},{one % 3}" for one in order[at * labels : (at + 1) * labels]] for at in range(3)]
        some_unknown = [line if at % 10 >= 3 else f"x{line}" for at, line in enumerate(sets[2])]
        figures = {
            "one CSV body, all or nothing": posted(running, sets[0], ""),
            "the same again, all known": posted(running, sets[0], ""),
            "one CSV body, partial": posted(running, sets[1], "?partial=true"),
        }
        figures["a file by `bakeoff feedback`, 30 % unknown"], said = by_command(running, some_unknown)
        figures["the same file again"], again = by_command(running, some_unknown)
        print(f"<!--{said}; again{again} -->", flush=True)
        return figures


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=10_000)
    parser.add_argument("--logged", type=int, default=200_000)
    args = parser.parse_args()
    with stores() as found:
        figures = {name: measured(settings, args.labels, args.logged) for name, settings in found.items()}
    print(
        f"| {args.labels:,} labels by key, {args.logged:,} predictions in the log; s | {' | '.join(figures)} | target |"
    )
    print("|---|---|---|---|")
    for what in figures["SQLite"]:
        row = [figures[name][what] for name in figures]
        print(f"| {what} | {' | '.join(f'{seconds:.2f}' for seconds in row)} | ≤ {TARGET_S} |")
    return 0 if all(seconds <= TARGET_S for each in figures.values() for seconds in each.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
