"""Run replications of an experiment through the service and compare its `ln E` with that of `app.stats`.

    python bench/through_http.py [--replications 200] [--labels 60] [--seed 1]

Each replication is a separate experiment, started over HTTP. Forced requests give the answers of both versions, from
which `app.stats` computes the same evidence in this process.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from running import Service, service

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.stats import paired

LOW, HIGH = [4.3, 2.0, 1.0, 0.1], [7.9, 4.4, 6.9, 2.5]
TOKEN = {"Authorization": "Bearer bench"}


def begin(running: Service) -> str:
    """Start a new experiment on the same versions; returns its id."""
    answer = running.session.patch(running.url + "/config", json={"new_experiment": True}, headers=TOKEN, timeout=30)
    answer.raise_for_status()
    wanted = answer.json()["experiment_id"]
    deadline = time.monotonic() + 10
    seen = 0
    while seen < 8:  # eight responses in a row from the new experiment: every worker has applied it
        seen = seen + 1 if running.get("/config")["experiment_id"] == wanted else 0
        if time.monotonic() > deadline:
            raise SystemExit("the new experiment did not reach every worker")
    return wanted


def right(running: Service, version: str, rows: list, labels: list[int]) -> np.ndarray:
    """Whether `version` is correct, row by row."""
    answers = running.post("/predict/batch", {"instances": rows}, headers={"X-Model-Version": version})
    return np.array([one["class_id"] == label for one, label in zip(answers["predictions"], labels, strict=True)])


def replicate(running: Service, rng: np.random.Generator, count: int) -> tuple[float, float]:
    """`ln E` of the service and of `app.stats` for one replication."""
    experiment = begin(running)
    rows = rng.uniform(LOW, HIGH, (count, 4)).round(2).tolist()
    labels = rng.integers(0, 3, count).tolist()
    served = running.post("/predict/batch", {"instances": rows})["predictions"]
    items = [{"prediction_id": one["prediction_id"], "actual": y} for one, y in zip(served, labels, strict=True)]
    rng.shuffle(items)
    running.post("/feedback", {"feedback": items})
    first, second = (right(running, version, rows, labels) for version in ("v1", "v2"))
    wins, losses = int((second & ~first).sum()), int((first & ~second).sum())
    engine = paired.log_e(paired.PairedSummary(wins=wins, losses=losses, ties=count - wins - losses))
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        report = running.get("/experiment")
        if report["id"] == experiment and report["comparisons"] and report["comparisons"][0]["n"] == count:
            return report["comparisons"][0]["log_e"], engine
        time.sleep(0.05)
    raise SystemExit("the monitor did not process the replication within 30 s")


def main() -> int:
    """Run all replications and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replications", type=int, default=200)
    parser.add_argument("--labels", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    with service(monitor=True, ADMIN_TOKEN="bench") as running:
        pairs = [replicate(running, rng, args.labels) for _ in range(args.replications)]
        started, looks = time.perf_counter(), 200
        for _ in range(looks):
            running.get("/experiment")
        look_ms = (time.perf_counter() - started) / looks * 1000
    worst = max(abs(ours - engine) for ours, engine in pairs)
    print("| through HTTP | measured | target |")
    print("|---|---|---|")
    print(f"| replications | {len(pairs)} of {args.labels} labels | 200 |")
    print(f"| largest difference of ln E from app.stats | {worst:.1e} | ≤ 1e-9 |")
    print(f"| GET /experiment, end to end | {look_ms:.1f} ms | ≤ 10 ms |")
    return 0 if worst <= 1e-9 else 1


if __name__ == "__main__":
    sys.exit(main())
