"""Archive a large log while the api serves at about half of its peak rate: p99 before and during it, rows a second.

    python bench/large_store.py FOLDER [--seconds 60]

`FOLDER` is what `bench/large_log.py` made, and a monitor has processed (what it has not stays). Needs `wrk`. The rate
is half of what `wrk` reaches first, at most 300 requests/s, sent by four clients at fixed times; latency counts from
the time at which a request was due. Compare only figures of one run: they depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from load import wrk
from running import environment
from servers import ROOT, ROW, free_port, server

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
        some = [(ms, status) for due, ms, status in self.answered if start <= due < end]
        cuts = statistics.quantiles([ms for ms, _ in some], n=100)
        failures = sum(status != 200 for _, status in some)
        return f"{len(some):,} | {cuts[49]:.1f} | {cuts[98]:.1f} | {failures}"


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    args = parser.parse_args()
    port = free_port()
    env = environment(args.folder.absolute(), port)
    serve = server([sys.executable, "-m", "app", "serve"], port, **env)
    before = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    words = [sys.executable, "-m", "app", "archive", "--before", before, "--to", str(args.folder / "archive"), "--json"]
    print("| | requests | p50 ms | p99 ms | failures |\n|---|---|---|---|---|")
    with contextlib.suppress(subprocess.TimeoutExpired), serve as (_process, first_s):
        peak = wrk(port, 16, 4, seed=1)["rate"]
        rate = min(MOST, peak / 2)
        with Clients(port, rate) as clients:
            time.sleep(2)
            started = time.perf_counter()
            time.sleep(args.seconds)
            begun = time.perf_counter()
            done = subprocess.run(words, cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True)
            ended = time.perf_counter()
        print(f"| before | {clients.between(started, begun)} |")
        print(f"| while archiving | {clients.between(begun, ended)} |")
        print(f"first answer after {first_s:.2f} s; peak {peak:,.0f}, rate {rate:,.0f} requests/s")
        print(f"archive: {ended - begun:.0f} s; {done.stdout or done.stderr}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
