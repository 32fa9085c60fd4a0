"""Measure an installation with a large log: start, rebuild, and archiving while it serves.

    python bench/large_store.py [LINE …] [--rows 2000000] [--seconds 60]

    start    seconds until the first answer, least of five starts, with an empty log and with the large one
    rebuild  `bakeoff monitor --rebuild`: rows of the log a second, of processor and of wall time
    archive  `bakeoff archive` of the whole log at half load: p99 before and while it runs

Each line makes its own installation with `bench/large_log.py`: Iris, two versions, an experiment, half of the rows
labelled (`--rows 2000000` takes some minutes and 1 to 2 GB in the folder for temporary files). Half load is half of
what `wrk` reaches first, at most 300 requests/s, sent by four clients at fixed times; latency counts from the time at
which a request was due. Compare only figures of one run: they depend on what else the machine does, so the load is
printed.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from load import require_wrk, wrk
from running import environment
from servers import ROOT, ROW, SERVE, free_port, server

CLIENTS, MOST = 4, 300.0


class Clients:
    """Send predictions at a fixed rate; `answered` has the time at which each was due, its latency (ms) and status."""

    def __init__(self, port: int, rate: float) -> None:
        self.answered: list[tuple[float, float, int]] = []
        self._port, self._every_s, self._end = port, CLIENTS / rate, threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(place,)) for place in range(CLIENTS)]

    def _run(self, place: int) -> None:
        body, connection = json.dumps(ROW), http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        due = time.perf_counter() + place * self._every_s / CLIENTS
        while not self._end.is_set():
            time.sleep(max(0.0, due - time.perf_counter()))
            status = 0
            try:
                connection.request("POST", "/predict", body)
                answer = connection.getresponse()
                answer.read()
                status = answer.status
            except (OSError, http.client.HTTPException):
                connection.close()
            self.answered.append((due, (time.perf_counter() - due) * 1000, status))
            due += self._every_s

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def between(self, start: float, end: float) -> str:
        """The percentiles and failures of what was due in this time."""
        some = self._due(start, end)
        cuts = statistics.quantiles([ms for ms, _ in some], n=100)
        failures = sum(status != 200 for _, status in some)
        return f"{len(some):,} | {cuts[49]:.1f} | {cuts[98]:.1f} | {failures}"

    def p99_ms(self, start: float, end: float) -> float:
        """The 99th percentile of what was due in this time."""
        return statistics.quantiles([ms for ms, _ in self._due(start, end)], n=100)[98]

    def _due(self, start: float, end: float) -> list[tuple[float, int]]:
        return [(ms, status) for due, ms, status in self.answered if start <= due < end]


def half_load(port: int, seconds: float, work: Callable[[], str]) -> None:
    """Print what the clients saw for `seconds` before `work`, and while it ran, with its result."""
    peak = wrk(port, 16, 4, seed=1)["rate"]
    rate = min(MOST, peak / 2)
    with Clients(port, rate) as clients:
        time.sleep(2)
        started = time.perf_counter()
        time.sleep(seconds)
        begun = time.perf_counter()
        said = work()
        ended = time.perf_counter()
    print("| | requests | p50 ms | p99 ms | failures |\n|---|---|---|---|---|")
    print(f"| before | {clients.between(started, begun)} |")
    print(f"| meanwhile | {clients.between(begun, ended)} |")
    ratio = clients.p99_ms(begun, ended) / clients.p99_ms(started, begun)
    print(f"p99 ratio {ratio:.2f}; {ended - begun:.0f} s; peak {peak:,.0f}, rate {rate:,.0f} requests/s; {said}")


def bakeoff(env: dict[str, str], *words: str) -> str:
    """What a command prints. Raises `SystemExit` with its errors where it fails."""
    command = [sys.executable, "-m", "app", *words]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


@contextlib.contextmanager
def installation(rows: int, checkout: Path = ROOT) -> Iterator[tuple[Path, dict[str, str], int]]:
    """A folder with the log that this checkout writes, processed by the monitor; its environment and port."""
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name) / "made", free_port()
        words = [sys.executable, str(ROOT / "bench" / "large_log.py"), str(folder), "--rows", str(rows)]
        subprocess.run(words, cwd=checkout, check=True)
        env = environment(folder, port)
        bakeoff(env, "monitor", "--once")
        yield folder, env, port


def start(rows: int, _seconds: float) -> None:
    """The first line of the table above."""
    for number in (40, rows):
        with installation(number) as (_, env, port):
            found = []
            for _ in range(5):
                with contextlib.suppress(subprocess.TimeoutExpired), server(SERVE, port, **env) as (_, first_s):
                    found.append(first_s)
            print(f"{number:,} rows: first answer after {min(found):.2f} s, median {statistics.median(found):.2f} s")


def rebuild(rows: int, _seconds: float) -> None:
    """The second line."""
    with installation(rows) as (_, env, _port):
        before, started = processor_s(), time.perf_counter()
        said = bakeoff(env, "monitor", "--rebuild", "--json")
        wall_s, used_s = time.perf_counter() - started, processor_s() - before
    events = rows * 3 // 2
    print(f"{events / used_s:,.0f} rows/s of processor, {events / wall_s:,.0f} of wall time; {said[:300].strip()}")


def archive(rows: int, seconds: float) -> None:
    """The third line."""
    with installation(rows) as (folder, env, port):
        before = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        words = ("archive", "--before", before, "--to", str(folder / "archive"), "--json")
        with contextlib.suppress(subprocess.TimeoutExpired), server(SERVE, port, **env):
            half_load(port, seconds, lambda: " ".join(bakeoff(env, *words).split()))


def processor_s() -> float:
    """Seconds of processor that ended child processes took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


LINES = {each.__name__: each for each in (start, rebuild, archive)}


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", nargs="*", metavar="LINE", help=f"of {', '.join(LINES)} (default: all)")
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--seconds", type=float, default=60, help="how long to measure before the work begins")
    args = parser.parse_args()
    if unknown := set(args.lines) - LINES.keys():
        parser.error(f"there is no line {', '.join(sorted(unknown))}")
    require_wrk()
    for name in args.lines or LINES:
        print(f"\n## {name}: {args.rows:,} rows, load {os.getloadavg()[0]:.1f}", flush=True)
        LINES[name](args.rows, args.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
