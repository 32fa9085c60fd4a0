"""Measure an installation with a large log: start, rebuild, an upgrade, and archiving while it serves.

    python bench/large_store.py [LINE …] [--rows 2000000] [--seconds 60] [--folder DIR]

    start    seconds until the first answer, least of five starts, with an empty log and with the large one
    rebuild  `bakeoff monitor --rebuild`: rows of the log a second, of processor and of wall time
    upgrade  a log of the release before packed rows, which serves it first; then this release with its monitor, which
             computes everything anew; that release again; and `finish-migration`, with old rows taken over a second
    archive  `bakeoff archive` of the whole log at half load: p99 before and while it runs

The installations are made with `bench/large_log.py`: Iris, two versions, an experiment, half of the rows labelled
(`--rows 2000000` takes some minutes and 1 to 2 GB in the folder for temporary files). In `--folder` they are kept, and
those that are there are used; `archive` and `upgrade` use theirs up. Half load is half of what `wrk` reaches first,
sent by `wrk` too, whose 64 connections wait before each request (`--rate` sets another); `wrk` needs a part of the
machine as well. The upgrade has 40 predictions/s, each with its label, from four clients at fixed times, and latency
counts from the time at which a request was due. Compare only figures of one run: they depend on what else the machine
does, so the load is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from load import children_s, paced, require_wrk, wrk
from running import environment, monitor_process
from servers import ROOT, ROW, SERVE, bakeoff, free_port, server

CLIENTS, MODERATE = 4, 40.0
CATCHING_UP_S = 1800  # in which the monitor computes everything anew, before it takes old rows over
PACKED = "app/store/migrations/0012_packed_log.sql"


class Clients:
    """Send predictions at a fixed rate, with `labels` each with its label, which is of the next request's time.

    `answered` has the time at which each prediction was due, its latency (ms) and the worst status.
    """

    def __init__(self, port: int, rate: float, *, labels: bool = False) -> None:
        self.answered: list[tuple[float, float, int]] = []
        self._port, self._every_s, self._end = port, CLIENTS / rate, threading.Event()
        self._labels = labels
        self._threads = [threading.Thread(target=self._run, args=(place,)) for place in range(CLIENTS)]

    def _run(self, place: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        due = time.perf_counter() + place * self._every_s / CLIENTS
        while not self._end.is_set():
            time.sleep(max(0.0, due - time.perf_counter()))
            status, answer = _post(connection, "/predict", ROW)
            took_ms = (time.perf_counter() - due) * 1000
            if self._labels and status == 200:
                label = {"prediction_id": answer["prediction_id"], "actual": "setosa"}
                status, _ = _post(connection, "/feedback", label)
            self.answered.append((due, took_ms, status))
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

    def _due(self, start: float, end: float) -> list[tuple[float, int]]:
        return [(ms, status) for due, ms, status in self.answered if start <= due < end]


def _post(connection: http.client.HTTPConnection, path: str, body: object) -> tuple[int, dict]:
    """The status and the JSON of the answer; 0 and nothing where none came."""
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError):
        connection.close()
        return 0, {}


def half_load(port: int, seconds: float, work: Callable[[], str], rate: float | None) -> None:
    """Print what clients saw for `seconds` before `work`, and while it ran, with its result."""
    print("| | requests/s | p50 ms | p99 ms | failures |\n|---|---|---|---|---|")
    peak, said = wrk(port, 16, 4, seed=1)["rate"], ""
    p99s = []
    for name in ("before", "meanwhile"):
        started = time.perf_counter()
        with paced(port, rate or peak / 2, seed=1) as seen:
            if name == "before":
                time.sleep(seconds)
            else:
                said = work()
        took_s = time.perf_counter() - started
        p99s.append(seen["p99_ms"])
        print(f"| {name} | {seen['rate']:,.0f} | {seen['p50_ms']:.1f} | {seen['p99_ms']:.1f} | {seen['errors']:.0f} |")
    print(f"p99 ratio {p99s[1] / p99s[0]:.2f}; {took_s:.0f} s; peak {peak:,.0f} requests/s; {said}")


@dataclass(frozen=True)
class Run:
    """What is asked for: rows in the log, seconds of each phase, where installations are kept (None: nowhere), and
    requests/s while rows are archived (None: half of the most)."""

    rows: int
    seconds: float
    folder: Path | None
    rate: float | None

    @contextlib.contextmanager
    def installation(self, name: str, rows: int, checkout: Path = ROOT) -> Iterator[tuple[Path, dict[str, str], int]]:
        """An installation whose log that checkout has written; its environment and port."""
        with tempfile.TemporaryDirectory() as own:
            folder, port = (self.folder or Path(own)) / name, free_port()
            if not folder.exists():
                words = [sys.executable, str(ROOT / "bench" / "large_log.py"), str(folder), "--rows", str(rows)]
                subprocess.run(words, cwd=checkout, check=True)
            yield folder, environment(folder, port), port


def start(run: Run) -> None:
    """The first line of the table above."""
    for name, number in (("empty", 40), ("now", run.rows)):
        with run.installation(name, number) as (folder, env, port):
            bakeoff(folder, "monitor", "--once")
            found = []
            for _ in range(5):
                with serving(env, port) as first_s:
                    found.append(first_s)
            print(f"{number:,} rows: first answer after {min(found):.2f} s, median {statistics.median(found):.2f} s")


def rebuild(run: Run) -> None:
    """The second line."""
    with run.installation("now", run.rows) as (folder, _env, _port):
        bakeoff(folder, "monitor", "--once")
        before, started = children_s(), time.perf_counter()
        said = bakeoff(folder, "monitor", "--rebuild", "--json")
        wall_s, used_s = time.perf_counter() - started, children_s() - before
    events = run.rows * 3 // 2
    print(f"{events / used_s:,.0f} rows/s of processor, {events / wall_s:,.0f} of wall time; {said[:300].strip()}")


def upgrade(run: Run) -> None:
    """The third line."""
    print("| | predictions | p50 ms | p99 ms | failures |\n|---|---|---|---|---|", flush=True)

    def phase(name: str, port: int) -> None:
        with Clients(port, MODERATE, labels=True) as clients:
            started = time.perf_counter()
            time.sleep(run.seconds)
            print(f"| {name} | {clients.between(started, time.perf_counter())} |", flush=True)

    with release_before() as before, run.installation("before", run.rows, before) as (folder, env, port):
        with serving(env, port, before):
            phase("the release before", port)
        with serving(env, port) as first_s:
            print(f"| this release: first answer after {first_s:.2f} s | | | | |")
            phase("this release, without its monitor", port)
            with monitor_process(env):
                phase("its monitor computes anew", port)
        with serving(env, port, before):
            phase("the release before again", port)
        with serving(env, port):
            bakeoff(folder, "finish-migration", "--yes")
            phase("this release, packing", port)
            with monitor_process(env):
                begun = time.perf_counter()
                while not taken_over(folder) and time.perf_counter() - begun < CATCHING_UP_S:
                    time.sleep(1)
                print(f"| the first old rows were taken over after {time.perf_counter() - begun:.0f} s | | | | |")
                first, started = taken_over(folder), time.perf_counter()
                phase("old rows are taken over", port)
                rate = (taken_over(folder) - first) / (time.perf_counter() - started)
            phase("this release, packing, again", port)
    print(
        f"old rows taken over: {rate:,.0f}/s, so {run.rows / rate / 60:,.0f} minutes for {run.rows:,}"
        if rate
        else "none"
    )


@contextlib.contextmanager
def release_before() -> Iterator[Path]:
    """A checkout of the commit before the log was packed."""
    log = ["git", "log", "--diff-filter=A", "--format=%h^", "--", PACKED]
    commit = subprocess.run(log, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()[-1]
    with tempfile.TemporaryDirectory() as folder:
        checkout = Path(folder) / "before"
        subprocess.run(["git", "worktree", "add", "-q", "--detach", str(checkout), commit], cwd=ROOT, check=True)
        try:
            yield checkout
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(checkout)], cwd=ROOT, check=True)


def taken_over(folder: Path) -> int:
    """The number of the last row of the release before that was taken over; 0 before the first."""
    with contextlib.closing(sqlite3.connect(folder / "data" / "bakeoff.sqlite")) as connection:
        row = connection.execute("SELECT value FROM log_marks WHERE name = 'rewritten'").fetchone()
    return 0 if row is None else int(row[0])


@contextlib.contextmanager
def serving(env: dict[str, str], port: int, checkout: Path = ROOT) -> Iterator[float]:
    """The api of a checkout, while the block runs; the seconds until its first answer."""
    # One that takes longer than that to stop, with this much to write, is killed by `server`.
    with contextlib.suppress(subprocess.TimeoutExpired), server(SERVE, port, root=checkout, **env) as (_, first_s):
        yield first_s


def archive(run: Run) -> None:
    """The fourth line."""
    with run.installation("now", run.rows) as (folder, env, port):
        bakeoff(folder, "monitor", "--once")
        before = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        words = ("archive", "--before", before, "--to", str(folder / "archive"), "--json")
        with serving(env, port):
            half_load(port, run.seconds, lambda: " ".join(bakeoff(folder, *words).split()), run.rate)


LINES = {each.__name__: each for each in (start, rebuild, upgrade, archive)}


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", nargs="*", metavar="LINE", help=f"of {', '.join(LINES)} (default: all)")
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--seconds", type=float, default=60, help="how long a phase is, and what comes before the work")
    parser.add_argument("--folder", type=Path, help="where installations are kept (default: they are deleted)")
    parser.add_argument("--rate", type=float, help="requests/s while rows are archived (default: half of the most)")
    args = parser.parse_args()
    if unknown := set(args.lines) - LINES.keys():
        parser.error(f"there is no line {', '.join(sorted(unknown))}")
    require_wrk()
    for name in args.lines or LINES:
        print(f"\n## {name}: {args.rows:,} rows, load {os.getloadavg()[0]:.1f}", flush=True)
        LINES[name](Run(args.rows, args.seconds, args.folder and args.folder.absolute(), args.rate))
    return 0


if __name__ == "__main__":
    sys.exit(main())
