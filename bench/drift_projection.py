"""Measure the cost of drift detection per request: the monitor's projection over the log of a real service.

    python bench/drift_projection.py [--requests 20000] [--versions 1]

Breast cancer data (30 features). The cost includes reading and decoding the log, the detector, states and reports.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from running import Service, environment
from servers import ROOT, free_port, server
from sklearn.datasets import load_breast_cancer

sys.path.insert(0, str(ROOT))

from app.bootstrap.monitor import Monitor
from app.monitor.projection import step
from app.settings import Settings


def logged(folder: Path, requests: int, versions: int) -> dict[str, str]:
    """Write the log with a service; returns the environment of that service."""
    port = free_port()
    env = environment(folder, port)
    for number in range(1, versions + 1):
        command = [sys.executable, "-m", "app", "train", "--dataset", "breast_cancer", "--version", f"v{number}"]
        subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, check=True, stdout=subprocess.DEVNULL)
    rows = load_breast_cancer().data
    chance = np.random.default_rng(1)
    with server([sys.executable, "-m", "app", "serve"], port, body=rows[0].tolist(), **env) as (api, _):
        running = Service(folder, port, api, None)
        for _ in range(requests // 1000):
            chosen = rows[chance.integers(len(rows), size=1000)]
            running.post("/predict/batch", {"instances": chosen.tolist()})
        running.get("/predictions/history")
    return env


def cost_us(env: dict[str, str]) -> list[float]:
    """CPU microseconds per request, one figure per batch."""
    monitor = Monitor(Settings.from_environ({**env}))
    drift = next(projection for projection in monitor.projections if projection.name == "drift")
    figures = []
    while True:
        started = time.process_time()
        rows = step(drift, monitor.log, monitor.live.states)
        if not rows:
            return figures
        figures.append((time.process_time() - started) / rows * 1e6)


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--versions", type=int, nargs="*", default=[1, 2])
    args = parser.parse_args()
    print("| drift detection, 30 features | CPU µs per request, median (minimum) | target |")
    print("|---|---|---|")
    for versions in args.versions:
        with tempfile.TemporaryDirectory() as name:
            figures = cost_us(logged(Path(name), args.requests, versions))
        print(f"| {versions} version(s) monitored | {statistics.median(figures):.1f} ({min(figures):.1f}) | ≤ 30 |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
