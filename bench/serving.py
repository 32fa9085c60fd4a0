"""Measure serving performance against a naive design and a constant Flask route, in interleaved rounds.

    python bench/serving.py [--seconds 5] [--rounds 5] [--json FILE]

Needs `wrk`. Bakeoff runs with all features: recording, metrics, the second version in shadow. Rates are medians over
the rounds; ratios are computed per round, because the speed of a shared machine varies. Sends only to 127.0.0.1.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import psutil
import requests

ROOT = Path(__file__).resolve().parent.parent
OPPONENTS = Path(__file__).resolve().parent / "opponents"
CONNECTIONS = (1, 16, 64)
TARGETS = {"naive": {1: 10.0, 16: 20.0, 64: 20.0}, "constant": {1: 0.7, 16: 0.7, 64: 0.7}}
ROW = {"features": [5.1, 3.5, 1.4, 0.2]}


def free_port() -> int:
    """A port that is free at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(
    command: list[str], port: int, body: list[float] | None = None, **environment: str
) -> Iterator[tuple[subprocess.Popen, float]]:
    """A running server and the seconds until it first answered a prediction (for the row `body`)."""
    env = {**os.environ, **environment}
    started = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)
        try:
            yield process, _first_answer(process, port, started, log, {"features": body} if body else ROW)
        finally:
            process.terminate()
            process.wait(30)


def _first_answer(
    process: subprocess.Popen, port: int, started: float, log: IO[bytes], row: dict[str, list[float]]
) -> float:
    while time.perf_counter() - started < 60:
        if process.poll() is not None:
            log.seek(0)
            raise SystemExit(f"the server exited at startup:\n{log.read().decode()}")
        try:
            if requests.post(f"http://127.0.0.1:{port}/predict", json=row, timeout=5).ok:
                return time.perf_counter() - started
        except requests.ConnectionError:
            time.sleep(0.01)
    raise SystemExit("the server did not answer a prediction within 60 s")


def wrk(port: int, connections: int, seconds: float, seed: int) -> dict[str, float]:
    """One round of random rows: requests per second, errors, p50 and p99 in ms."""
    script = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(OPPONENTS / "rows.lua")]
    out = subprocess.run(
        [*script, f"http://127.0.0.1:{port}", "--", str(seed)], capture_output=True, text=True, check=True
    )
    figures = json.loads(out.stdout.strip().splitlines()[-1])
    return {"rate": figures["requests"] / figures["seconds"], **figures}


def proportional_set_mb(process: subprocess.Popen) -> dict[str, float]:
    """Proportional set size (PSS) in MB: of the master, and of all workers together."""
    master = psutil.Process(process.pid)
    workers = sum(child.memory_full_info().pss for child in master.children(recursive=True))
    return {"workers": workers / 2**20, "master": master.memory_full_info().pss / 2**20}


def batches(port: int, rows: int = 10_000, times: int = 7) -> dict[str, float]:
    """Rows per second of a batch by the server's own `latency_ms`, and end to end; medians."""
    rng = np.random.default_rng(7)
    inner, outer = [], []
    with requests.Session() as session:
        for _ in range(times):
            body = {"instances": rng.uniform([4.3, 2.0, 1.0, 0.1], [7.9, 4.4, 6.9, 2.5], (rows, 4)).round(1).tolist()}
            started = time.perf_counter()
            answer = session.post(f"http://127.0.0.1:{port}/predict/batch", json=body, timeout=60).json()
            outer.append(rows / (time.perf_counter() - started))
            inner.append(rows / (answer["latency_ms"] / 1000))
    return {"rows_per_s": statistics.median(inner), "rows_per_s_end_to_end": statistics.median(outer)}


def train(folder: Path) -> float:
    """Train v1 and v2 into `folder`; returns the seconds it took."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "app", "train"], cwd=ROOT, env={**os.environ, **_places(folder)}, check=True)
    return time.perf_counter() - started


def _places(folder: Path) -> dict[str, str]:
    return {"MODEL_DIR": str(folder / "models"), "DATA_DIR": str(folder / "data")}


def _gunicorn(app: str, port: int, *options: str) -> list[str]:
    base = [sys.executable, "-m", "gunicorn", "--chdir", str(OPPONENTS), "-b", f"127.0.0.1:{port}", "-w", "2"]
    return [*base, "--log-level", "warning", *options, app]


def _same_settings() -> tuple[str, ...]:
    """The options of `docker/gunicorn.conf.py` that shape the HTTP stack, for the constant route."""
    threads = os.environ.get("WEB_THREADS", "8")
    return ("--worker-class", "gthread", "--threads", threads, "--keep-alive", "75")


def run(seconds: float, rounds: int) -> dict:
    """Run all rounds; the figures by name."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        result: dict = {"training_s": train(folder)}
        ports = {who: free_port() for who in ("bakeoff", "naive", "constant")}
        ours, result["first_answer_s"] = stack.enter_context(
            server(
                [sys.executable, "-m", "app", "serve"],
                ports["bakeoff"],
                API_PORT=str(ports["bakeoff"]),
                WEB_CONCURRENCY="2",
                **_places(folder),
            )
        )
        model = str(folder / "models" / "v1" / "model.joblib")
        stack.enter_context(server(_gunicorn("naive:create()", ports["naive"]), ports["naive"], NAIVE_MODEL=model))
        stack.enter_context(
            server(_gunicorn("constant:create()", ports["constant"], *_same_settings()), ports["constant"])
        )
        result["serving"] = {str(c): interleaved(ports, c, seconds, rounds) for c in CONNECTIONS}
        result["batch_10000"] = batches(ports["bakeoff"])
        result["pss_mb"] = proportional_set_mb(ours)
        text = requests.get(f"http://127.0.0.1:{ports['bakeoff']}/metrics", timeout=10).text
        result["dropped"] = sum(float(x.split()[-1]) for x in text.splitlines() if x.startswith("predictions_dropped"))
    return result


def interleaved(ports: dict[str, int], connections: int, seconds: float, rounds: int) -> dict:
    """Median rates, and medians of the ratios per round."""
    for port in ports.values():
        wrk(port, connections, 1, seed=0)
    got: dict[str, list[dict[str, float]]] = {who: [] for who in ports}
    for number in range(rounds):
        for who, port in ports.items():
            got[who].append(wrk(port, connections, seconds, seed=number + 1))
            time.sleep(0.5)
    ours = [figures["rate"] for figures in got["bakeoff"]]
    ratios = {
        who: statistics.median(a / figures["rate"] for a, figures in zip(ours, got[who], strict=True))
        for who in ("naive", "constant")
    }
    medians = {
        who: {key: statistics.median(f[key] for f in figures) for key in ("rate", "p50_ms", "p99_ms", "errors")}
        for who, figures in got.items()
    }
    return {"ratios": ratios, **medians}


def table(result: dict) -> str:
    """The figures and their targets as Markdown tables."""
    lines = [
        "| connections | Bakeoff req/s (p50, p99 ms) | naive | constant | Bakeoff/naive (≥) | Bakeoff/constant (≥) |",
        "|---|---|---|---|---|---|",
    ]
    for connections, figures in result["serving"].items():
        cells = [
            f"{figures[who]['rate']:.0f} ({figures[who]['p50_ms']:.2f}, {figures[who]['p99_ms']:.2f})"
            for who in ("bakeoff", "naive", "constant")
        ]
        goals = [f"{figures['ratios'][who]:.2f} ({TARGETS[who][int(connections)]:g})" for who in ("naive", "constant")]
        lines.append("| " + " | ".join([connections, *cells, *goals]) + " |")
    batch, memory = result["batch_10000"], result["pss_mb"]
    lines += [
        "",
        "| figure | measured | target |",
        "|---|---|---|",
        f"| PSS of both workers (of the master) | {memory['workers']:.0f} MB ({memory['master']:.0f}) | ≤ 220 MB |",
        f"| first answer after start | {result['first_answer_s']:.2f} s | ≤ 2 s |",
        f"| training v1 and v2 | {result['training_s']:.1f} s | ≤ 30 s |",
        f"| batch of 10,000: rows/s (`latency_ms`) | {batch['rows_per_s']:,.0f} | ≥ 300,000 |",
        f"| batch of 10,000: rows/s, end to end | {batch['rows_per_s_end_to_end']:,.0f} | reported |",
        f"| predictions dropped by the recorder | {result['dropped']:.0f} | reported |",
    ]
    return "\n".join(lines)


def main() -> int:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    if not shutil.which("wrk"):
        print("wrk is not installed (Debian: apt-get install wrk)", file=sys.stderr)
        return 2
    result = run(int(args.seconds), args.rounds)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2))
    print(table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
