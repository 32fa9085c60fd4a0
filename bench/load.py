"""Sends load with `wrk`, which is written in C, and says how much of a core `wrk` itself needed for it."""

from __future__ import annotations

import contextlib
import json
import random
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent / "opponents"
_BODIES, _MOST_BYTES = 4096, 8_000_000
_PACED = 64  # connections


@dataclass(frozen=True)
class Traffic:
    """Random rows, uniform between `low` and `high`, as one server takes them: `%s` in `body` is a row's JSON."""

    low: Sequence[float]
    high: Sequence[float]
    path: str = "/predict"
    body: str = '{"features": %s}'
    decimals: int = 1

    def bodies(self, seed: int, count: int) -> list[str]:
        """`count` bodies, always the same ones for the same seed."""
        rng, bounds = random.Random(seed), list(zip(self.low, self.high, strict=True))
        rows = ([round(rng.uniform(*pair), self.decimals) for pair in bounds] for _ in range(count))
        return [self.body % json.dumps(row) for row in rows]

    def write(self, file: Path, seed: int) -> None:
        """As many different bodies as make sense, one a line."""
        count = min(_BODIES, _MOST_BYTES // len(self.bodies(seed, 1)[0]))
        file.write_text("\n".join(self.bodies(seed, count)) + "\n")


IRIS = Traffic((4.3, 2.0, 1.0, 0.1), (7.9, 4.4, 6.9, 2.5))


def wrk(port: int, connections: int, seconds: float, seed: int, traffic: Traffic = IRIS) -> dict[str, float]:
    """One round: `rate` (requests/s), `requests`, `seconds`, `errors` (any status but 2xx and 3xx, too), `p50_ms`,
    `p99_ms`, and `client`, the share of one core that wrk needed."""
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows"
        traffic.write(rows, seed)
        before = children_s()
        figures = ended(started(port, connections, seconds, "rows.lua", traffic.path, str(rows)))
    return {**figures, "client": (children_s() - before) / figures["seconds"]}


def started(port: int, connections: int, seconds: float, script: str, *words: str) -> subprocess.Popen:
    """`wrk` with one of the scripts in bench/opponents, while it runs."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{int(seconds)}s", "--timeout", "20s", "-s", str(SCRIPTS / script)]
    return subprocess.Popen([*command, f"http://127.0.0.1:{port}", "--", *words], stdout=subprocess.PIPE, text=True)


@contextlib.contextmanager
def paced(port: int, rate: float, seed: int, traffic: Traffic = IRIS) -> Iterator[dict[str, float]]:
    """About `rate` requests/s from connections that wait between requests, while the block runs.

    Afterwards the mapping has the figures of `ended`.
    """
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows"
        traffic.write(rows, seed)
        wait_ms = str(round(1000 * _PACED / rate))
        running = started(port, _PACED, 86_400, "rows.lua", traffic.path, str(rows), wait_ms)
        try:
            yield figures
        finally:
            running.send_signal(signal.SIGINT)
            figures.update(ended(running))


def ended(running: subprocess.Popen) -> dict[str, float]:
    """Wait for `wrk`; its figures, with `rate`. Raises `SystemExit` if it fails."""
    out = running.communicate()[0]
    if running.returncode:
        raise SystemExit(f"wrk ended with status {running.returncode}:\n{out}")
    figures: dict[str, float] = json.loads(out.strip().splitlines()[-1])
    return {"rate": figures["requests"] / figures["seconds"], **figures}


def children_s() -> float:
    """Seconds of processor that ended child processes took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def require_wrk() -> None:
    """Raises `SystemExit` with what to do if `wrk` is not installed."""
    if not shutil.which("wrk"):
        raise SystemExit("wrk is not installed (Debian: apt-get install wrk)")
