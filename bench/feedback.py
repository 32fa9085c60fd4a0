"""Measure how many outcomes per second are acknowledged; each is durable before its acknowledgement.

    python bench/feedback.py [--seconds 5] [--connections 16]

Needs `wrk`. Predictions are made before the measurement; each request reports the outcome of another prediction.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from running import Service, service

LUA = Path(__file__).resolve().parent / "opponents" / "feedback.lua"


def predicted(running: Service, count: int) -> list[str]:
    """The ids of `count` predictions."""
    rng = np.random.default_rng(3)
    ids: list[str] = []
    while len(ids) < count:
        rows = rng.uniform([4.3, 2.0, 1.0, 0.1], [7.9, 4.4, 6.9, 2.5], (5000, 4)).round(1).tolist()
        ids += [one["prediction_id"] for one in running.post("/predict/batch", {"instances": rows})["predictions"]]
    return ids


def one_by_one(running: Service, ids: list[str], connections: int, seconds: int) -> dict[str, float]:
    """Rate and latencies with one outcome per request."""
    listed = running.folder / "ids.txt"
    listed.write_text("\n".join(ids) + "\n")
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(LUA), running.url, "--", str(listed)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    figures = json.loads(out.strip().splitlines()[-1])
    with sqlite3.connect(running.folder / "data" / "bakeoff.sqlite") as connection:
        stored = connection.execute("SELECT count(*) FROM feedback").fetchone()[0]
    return {**figures, "rate": figures["requests"] / figures["seconds"], "stored": stored}


def in_lists(running: Service, ids: list[str], size: int = 50) -> float:
    """Outcomes per second in lists of `size` over one connection."""
    started = time.perf_counter()
    for start in range(0, len(ids), size):
        items = [{"prediction_id": one, "actual": 0} for one in ids[start : start + size]]
        running.post("/feedback", {"feedback": items})
    return len(ids) / (time.perf_counter() - started)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=16)
    args = parser.parse_args()
    with service() as running:
        ids = predicted(running, 60_000)
        single = one_by_one(running, ids[:50_000], args.connections, args.seconds)
        listed = in_lists(running, ids[50_000:])
    print("| feedback | measured | target |")
    print("|---|---|---|")
    print(f"| one per request, {args.connections} connections | {single['rate']:,.0f} acknowledged/s | ≥ 1,000 |")
    print(f"| latency p50, p99 | {single['p50_ms']:.1f}, {single['p99_ms']:.1f} ms | reported |")
    print(f"| acknowledged, in the log | {single['requests']:.0f}, {single['stored']:.0f} | log ≥ acknowledged |")
    print(f"| lists of 50, one connection | {listed:,.0f} outcomes/s | reported |")
    return 0 if single["stored"] >= single["requests"] or single["requests"] > len(ids) else 1


if __name__ == "__main__":
    sys.exit(main())
