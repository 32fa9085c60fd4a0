"""Kill api workers, the gunicorn master and the monitor in turn under load, and check that no label is lost.

    python bench/kills.py [--kills 51] [--seed 1]

Every acknowledged label must be counted exactly once. A label whose response was lost is sent again, as clients do.
At full length it takes about four minutes: 51 kills, and each time the return, which is a second or two.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import requests
from running import ROOT, environment, wait_for
from servers import free_port, train

_RETURN_S = 300
LOW, HIGH = [4.3, 2.0, 1.0, 0.1], [7.9, 4.4, 6.9, 2.5]


class Stack:
    """An api and a monitor that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._env = {**os.environ, **environment(folder, self.port)}
        self._log = folder / "log"
        self.api = self._run("serve")
        self.monitor = self._run("monitor")

    def _run(self, command: str) -> subprocess.Popen:
        with self._log.open("ab") as log:
            words = [sys.executable, "-m", "app", command]
            return subprocess.Popen(words, cwd=ROOT, env=self._env, stdout=log, stderr=log)

    def ready(self) -> bool:
        """Whether the api can serve. Raises `SystemExit` if the api or the monitor ended by itself."""
        for name, process in (("api", self.api), ("monitor", self.monitor)):
            if process.poll() is not None:
                raise SystemExit(f"the {name} ended with status {process.returncode}:\n{self._log.read_text()[-2000:]}")
        try:
            return requests.get(self.url + "/health/ready", timeout=2).ok
        except requests.RequestException:
            return False

    def kill(self, victim: str) -> None:
        """SIGKILL one of `worker`, `master` (with its workers, which would hold the port) and `monitor`."""
        if victim == "monitor":
            self.monitor.kill()
            self.monitor.wait()
            self.monitor = self._run("monitor")
            return
        master = psutil.Process(self.api.pid)
        if victim == "worker" and (workers := master.children()):
            workers[0].kill()
            return
        # Stopped first: a worker that it starts after its children were listed would hold the port.
        master.suspend()
        family = (*master.children(), master)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.api.wait()
        # On a busy machine a killed worker holds the port for a while.
        wait_for(lambda: not any(map(_is_there, family)), _RETURN_S, "the end of what was killed")
        self.api = self._run("serve")

    def __enter__(self) -> Stack:
        return self

    def __exit__(self, *_reason: object) -> None:
        """Send SIGTERM to both and wait for their exit."""
        for process in (self.api, self.monitor):
            process.terminate()
            process.wait(40)


def _is_there(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Client(threading.Thread):
    """Sends predictions and labels until `stop` is set; counts the acknowledged labels."""

    def __init__(self, url: str, seed: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._url, self._stop_it = url, stop
        self._rng = np.random.default_rng(seed)
        self.acknowledged = 0

    def run(self) -> None:
        """Send one prediction and its label at a time."""
        while not self._stop_it.is_set():
            sent = self._until_answered("/predict", {"features": self._rng.uniform(LOW, HIGH).round(2).tolist()})
            label = {"prediction_id": sent["prediction_id"], "actual": int(self._rng.integers(3))}
            self._until_answered("/feedback", label)
            self.acknowledged += 1

    def _until_answered(self, path: str, body: dict) -> dict:
        while True:
            try:
                answer = requests.post(self._url + path, json=body, timeout=10)
                if answer.ok:
                    return answer.json()
                if answer.status_code < 500:
                    raise SystemExit(f"{path} answered {answer.status_code}: {answer.text}")
            except requests.RequestException:
                pass
            time.sleep(0.02)


def trained(folder: Path) -> Stack:
    """A stack with v1 and v2 in a new folder."""
    train(folder)
    return Stack(folder)


def counted(url: str) -> int:
    """Labels that the experiment has counted."""
    return sum(variant["labelled"] for variant in requests.get(url + "/experiment", timeout=10).json()["variants"])


def main() -> int:
    """Kill processes under load, wait until the monitor has processed all labels, and count them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=51)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as name, trained(Path(name)) as stack:
        wait_for(stack.ready, _RETURN_S, "the start")
        stop = threading.Event()
        clients = [Client(stack.url, args.seed + number, stop) for number in range(4)]
        for client in clients:
            client.start()
        for number in range(args.kills):
            time.sleep(rng.uniform(0.1, 1.0))
            stack.kill(("worker", "master", "monitor")[number % 3])
            wait_for(stack.ready, _RETURN_S, "the return")
        stop.set()
        for client in clients:
            client.join(60)
        acknowledged = sum(client.acknowledged for client in clients)
        time.sleep(2)
        wait_for(lambda: counted(stack.url) >= acknowledged, 60, "counting")
        time.sleep(2)
        total = counted(stack.url)
        [comparison] = requests.get(stack.url + "/experiment", timeout=10).json()["comparisons"]
    print("| SIGKILL under load | measured | target |")
    print("|---|---|---|")
    print(f"| kills: workers, masters, monitors in turn | {args.kills} | ≥ 50 |")
    print(f"| labels acknowledged, labels counted | {acknowledged}, {total} | equal |")
    print(f"| paired n, unjoined (rows lost) | {comparison['n']}, {comparison['unjoined']} | sum = counted |")
    return 0 if total == acknowledged == comparison["n"] + comparison["unjoined"] else 1


if __name__ == "__main__":
    sys.exit(main())
