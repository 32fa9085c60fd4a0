"""Starts servers for a benchmark, on 127.0.0.1, and reads what their processes use."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import psutil
import requests

ROOT = Path(__file__).resolve().parent.parent
ROW = {"features": [5.1, 3.5, 1.4, 0.2]}
SERVE = [sys.executable, "-m", "app", "serve"]
_START_S = 60
# No server may use threads of its linear algebra beside its workers: there are as many workers as cores.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def free_port() -> int:
    """A port that is free, and not of those that a system gives to outgoing connections.

    Such a one could be taken while its server is started again.
    """
    for port in random.sample(range(12_000, 32_000), 1000):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port below 32000")


@contextmanager
def server(
    command: Sequence[str],
    port: int,
    body: Sequence[float] | None = None,
    *,
    first: tuple[str, object] | None = None,
    root: Path = ROOT,
    **environment: str,
) -> Iterator[tuple[subprocess.Popen, float]]:
    """A running server and the seconds until it first answered a prediction.

    It is asked for the row `body` at /predict, or for `first`, a path and the body to send there. `root` is the
    checkout. Raises `SystemExit` with the server's output if it ends, or answers nothing within 60 s.
    """
    env = {**os.environ, **_ONE_THREAD, **environment}
    started = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=root, env=env, stdout=log, stderr=log)
        try:
            path, row = first or ("/predict", {"features": list(body)} if body else ROW)
            yield process, _first_answer(process, f"http://127.0.0.1:{port}{path}", started, log, row)
        finally:
            _end(process)


def _first_answer(process: subprocess.Popen, url: str, started: float, log: IO[bytes], row: object) -> float:
    said = "nothing"
    while time.perf_counter() - started < _START_S and process.poll() is None:
        try:
            answer = requests.post(url, json=row, timeout=5)
            if answer.ok:
                return time.perf_counter() - started
            said = f"{answer.status_code} {answer.text[:300]}"
        except requests.RequestException:
            pass
        time.sleep(0.01)
    log.seek(0)
    how = "ended" if process.poll() is not None else f"answered {said} for {_START_S} s"
    raise SystemExit(f"the server {how}: {' '.join(map(str, process.args))}\n{log.read().decode()}")


def _end(process: subprocess.Popen) -> None:
    """Stop a server with all its processes, also those that it would leave behind."""
    members = family(process)
    process.terminate()
    try:
        process.wait(30)
    finally:
        _, left = psutil.wait_procs(members, timeout=2)
        for one in left:
            one.kill()


def family(process: subprocess.Popen) -> list[psutil.Process]:
    """A server's master and all its workers; none if it has ended."""
    try:
        master = psutil.Process(process.pid)
        return [master, *master.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def processor_s(process: subprocess.Popen) -> float:
    """The processor time of a server and its workers, in seconds."""
    return sum(sum(each.cpu_times()[:2]) for each in family(process))


def proportional_set_mb(process: subprocess.Popen) -> dict[str, float]:
    """Proportional set size (PSS) in MB: of the master, and of all workers together."""
    master, *workers = (each.memory_full_info().pss / 2**20 for each in family(process))
    return {"workers": sum(workers), "master": master}


class PeakMemory:
    """How much the resident memory of one process of a server rises at most (bytes), by Linux's own high-water mark."""

    def __init__(self, process: subprocess.Popen) -> None:
        self._before = {}
        for each in family(process):
            (self._folder(each) / "clear_refs").write_text("5")  # sets the mark to the present size
            self._before[each] = each.memory_info().rss

    @staticmethod
    def _folder(process: psutil.Process) -> Path:
        return Path("/proc") / str(process.pid)

    def risen(self) -> int:
        """Bytes since this was made, of the process in which they are most."""
        return max(self._mark(each) - before for each, before in self._before.items())

    def _mark(self, process: psutil.Process) -> int:
        lines = (self._folder(process) / "status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def places(folder: Path) -> dict[str, str]:
    """The settings of an installation whose models and data are in `folder`."""
    return {"MODEL_DIR": str(folder / "models"), "DATA_DIR": str(folder / "data")}


def bakeoff(folder: Path, *words: str, root: Path = ROOT, **environment: str) -> str:
    """What a command on the installation in `folder` prints. Raises `SystemExit` with its output if it fails."""
    command = [sys.executable, "-m", "app", *words]
    env: Mapping[str, str] = {**os.environ, **places(folder), **environment}
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"bakeoff {' '.join(words)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def train(folder: Path, root: Path = ROOT) -> float:
    """Train v1 and v2 on Iris into `folder`; returns the seconds it took."""
    started = time.perf_counter()
    bakeoff(folder, "train", root=root)
    return time.perf_counter() - started
