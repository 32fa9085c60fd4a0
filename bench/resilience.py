"""Measure the service's behaviour under overload and during reloads under load.

    python bench/resilience.py [--seconds 60] [--reloads 100] [--soak 0] [--json FILE]

Needs `wrk`. Overload is a closed loop with ten times the connections that saturate two workers, because no client on
the same host could send ten times the requests that they answer. At full length it takes about six minutes on two idle
cores: four for overload, about two for the reloads. Malformed requests: `bench/fuzz.py`. Sends only to 127.0.0.1.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import requests
from load import IRIS, ended, paced, require_wrk, started, wrk
from running import monitor_process
from servers import ROW, SERVE, bakeoff, family, free_port, places, server

PEAK_CONNECTIONS, OVERLOAD = 16, 10
ADMIN = {"Authorization": "Bearer bench"}


class Installation:
    """A model registry with v1 and v2, and a compatible v3 outside it."""

    def __init__(self, folder: Path) -> None:
        self.models, self.aside = folder / "models", folder / "v3"
        self.environment = {**places(folder), "ADMIN_TOKEN": "bench"}
        bakeoff(folder, "train")
        bakeoff(folder, "train", "--version", "v3", "--variant", "conservative")
        (self.models / "v3").rename(self.aside)


def memory_mb(process: subprocess.Popen) -> float:
    """Resident memory of all workers, or of a process that has none."""
    first, *workers = family(process)
    return sum(each.memory_info().rss for each in workers or [first]) / 2**20


def overload(port: int, process: subprocess.Popen, seconds: float) -> dict:
    """Goodput and latency under overload and at peak load, and the time until latency is back to normal.

    Latencies are those of accepted requests, measured by one additional client.
    """
    wrk(port, PEAK_CONNECTIONS, 2, seed=0)
    with accepted(port) as alone_ms:
        time.sleep(max(2.0, seconds / 6))
    with accepted(port) as peak_ms:
        peak = wrk(port, PEAK_CONNECTIONS, int(seconds), seed=2)
    before = memory_mb(process)
    with accepted(port) as much_ms:
        much = wrk(port, PEAK_CONNECTIONS * OVERLOAD, int(seconds), seed=3)
    after, started = memory_mb(process), time.perf_counter()
    limit_ms = 5 * p99(peak_ms)
    while _one_ms(port) > limit_ms:
        time.sleep(0.01)
    goodput = (much["requests"] - much["errors"]) / much["seconds"]
    return {
        "peak_rate": peak["rate"],
        "goodput_share": goodput / peak["rate"],
        "shed_share": much["errors"] / max(1, much["requests"]),
        "p99_ms": {"alone": p99(alone_ms), "peak": p99(peak_ms), "overload": p99(much_ms)},
        "p50_ms": {name: statistics.median(ms) for name, ms in (("peak", peak_ms), ("overload", much_ms))},
        "memory_growth": after / before - 1,
        "recovery_s": time.perf_counter() - started,
    }


def _one_ms(port: int) -> float:
    started = time.perf_counter()
    ok = requests.post(f"http://127.0.0.1:{port}/predict", json=ROW, timeout=10).ok
    return (time.perf_counter() - started) * 1000 if ok else float("inf")


@contextmanager
def accepted(port: int) -> Iterator[list[float]]:
    """Runs one additional client during the block; the list collects the latencies of accepted requests in ms."""
    latencies: list[float] = []
    ended = threading.Event()
    asking = threading.Thread(target=_ask_until, args=(port, ended, latencies))
    asking.start()
    try:
        yield latencies
    finally:
        ended.set()
        asking.join()


def _ask_until(port: int, ended: threading.Event, latencies: list[float]) -> None:
    body, connection = json.dumps(ROW), HTTPConnection("127.0.0.1", port, timeout=30)
    while not ended.is_set():
        started = time.perf_counter()
        connection.request("POST", "/predict", body)
        answer = connection.getresponse()
        answer.read()
        if answer.status == 200:
            latencies.append((time.perf_counter() - started) * 1000)
        else:
            ended.wait(0.01)


def p99(milliseconds: list[float]) -> float:
    """The 99th percentile."""
    return statistics.quantiles(milliseconds, n=100)[98]


def reloads(port: int, process: subprocess.Popen, place: Installation, times: int) -> dict:
    """Reload under load from 16 connections while v3 is added and removed: failures, durations and memory."""
    memory, took, changes = [], [], Counter[int]()
    with load(port) as failures:
        time.sleep(5)
        before = memory_mb(process)
        for number in range(times):
            here, there = place.aside, place.models / "v3"
            here.rename(there) if number % 2 == 0 else there.rename(here)
            started = time.perf_counter()
            answer = requests.post(f"http://127.0.0.1:{port}/models/reload", headers=ADMIN, timeout=60)
            took.append(time.perf_counter() - started)
            changes[answer.status_code] += 1
            memory.append(memory_mb(process))
        time.sleep(2)  # the memory of the versions unloaded last is released a second later
        memory[-1] = memory_mb(process)
    if not place.aside.exists():
        (place.models / "v3").rename(place.aside)
    first, tenth = memory[0], memory[min(9, len(memory) - 1)]
    return {
        "statuses": dict(changes),
        "failed_requests": failures[0],
        "requests": failures[1],
        "median_s": statistics.median(took),
        "slowest_s": max(took),
        "memory_growth": {
            "first reload": first / before - 1,
            "first to tenth": tenth / first - 1,
            "tenth to last": memory[-1] / tenth - 1,
        },
    }


@contextmanager
def load(port: int) -> Iterator[list[int]]:
    """Runs wrk with 16 connections during the block; afterwards the list holds failures and requests."""
    counts = [0, 0]
    with tempfile.NamedTemporaryFile() as rows:
        IRIS.write(Path(rows.name), seed=7)
        running = started(port, PEAK_CONNECTIONS, 3600, "rows.lua", IRIS.path, rows.name)
        try:
            yield counts
        finally:
            running.send_signal(signal.SIGINT)  # wrk stops and prints its results
            figures = ended(running)
            counts[:] = [int(figures["errors"]), int(figures["requests"])]


def soak(port: int, process: subprocess.Popen, place: Installation, seconds: float, rate: float) -> dict:
    """Memory growth of the api and of a monitor over a long time at `rate` requests/s."""
    env = {**place.environment, "API_PORT": str(port)}
    with monitor_process(env) as monitor, paced(port, rate, seed=1) as figures:
        time.sleep(60)
        before = {"api": memory_mb(process), "monitor": memory_mb(monitor)}
        time.sleep(seconds)
        after = {"api": memory_mb(process), "monitor": memory_mb(monitor)}
    growth = {name: after[name] / before[name] - 1 for name in before}
    return {"memory_mb": before, "memory_growth": growth, **figures}


def run(args: argparse.Namespace) -> dict:
    """Run the requested measurements; the figures by name."""
    with tempfile.TemporaryDirectory() as name:
        place, port = Installation(Path(name)), free_port()
        with server(SERVE, port, API_PORT=str(port), WEB_CONCURRENCY="2", **place.environment) as (process, _):
            result = {"overload": overload(port, process, args.seconds)}
            result["reloads"] = reloads(port, process, place, args.reloads)
            if args.soak:
                result["soak"] = soak(port, process, place, args.soak, result["overload"]["peak_rate"] / 2)
            metrics = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
    result["counted"] = {
        line.split()[0]: float(line.split()[1])
        for line in metrics.splitlines()
        if line.startswith(("requests_shed_total", "shadow_rows_shed_total", "predictions_dropped_total"))
    }
    return result


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--reloads", type=int, default=100)
    parser.add_argument(
        "--soak", type=float, default=0, help="seconds of the soak test at half load; a full one takes 3600"
    )
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    require_wrk()
    result = run(args)
    text = json.dumps(result, indent=2)
    if args.json:
        args.json.write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
