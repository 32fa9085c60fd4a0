"""Kill api workers, the gunicorn master and the monitor in turn under load, and check that no label is lost.

    python bench/kills.py [--kills 51] [--seed 1] [--stack TAG]

Every acknowledged label must be counted exactly once. A label whose response was lost is sent again, as clients do.
At full length it takes about four minutes: 51 kills, and each time the return, which is a second or two.

With --stack it starts the Docker stack of the images bakeoff-api:TAG and bakeoff-ui:TAG as bench/rolls.py does, and
kills the containers of the api and of the monitor: SIGKILL to the first process, as for want of memory, after which
Docker starts the container again. The labels go through the edge proxy. That needs root.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import requests
from rolls import Stack as Deployed
from rolls import docker
from rolls import stack as deployed
from running import ROOT, environment, wait_for
from servers import free_port, train

_RETURN_S = 300
LOW, HIGH = [4.3, 2.0, 1.0, 0.1], [7.9, 4.4, 6.9, 2.5]


class Processes:
    """An api and a monitor that can be killed and started again."""

    victims = ("worker", "master", "monitor")

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
        return answers(self.url)

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
        wait_for(lambda: master.status() == psutil.STATUS_STOPPED, _RETURN_S, "the master to stop")
        family = (*master.children(), master)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.api.wait()
        # On a busy machine a killed worker holds the port for a while.
        wait_for(lambda: not any(map(_is_there, family)), _RETURN_S, "the end of what was killed")
        self.api = self._run("serve")

    def __enter__(self) -> Processes:
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


class Containers:
    """The containers of a stack, which Docker starts again after a kill."""

    victims = ("api", "monitor")

    def __init__(self, stack: Deployed) -> None:
        self.url = f"http://127.0.0.1:{stack.port}"
        self._ids = {service: stack.container(service) for service in self.victims}
        self._killed = dict.fromkeys(self.victims, 0)

    def ready(self) -> bool:
        """Whether all run, as other processes than those that were killed, and the edge proxy has a ready api."""
        running = {service: self._first_process(service) for service in self.victims}
        return all(running[service] not in (0, self._killed[service]) for service in running) and answers(self.url)

    def kill(self, victim: str) -> None:
        """SIGKILL the first process of a service's container. After `docker kill` Docker would not start it again, for
        it takes that for a person's wish."""
        self._killed[victim] = self._first_process(victim)
        os.kill(self._killed[victim], signal.SIGKILL)

    def _first_process(self, service: str) -> int:
        """Its number on this host, 0 while none runs."""
        return int(docker("inspect", "-f", "{{ .State.Pid }}", self._ids[service]))


def answers(url: str) -> bool:
    """Whether an api is ready there."""
    try:
        return requests.get(url + "/health/ready", timeout=2).ok
    except requests.RequestException:
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


@contextlib.contextmanager
def started(tag: str | None) -> Iterator[Processes | Containers]:
    """An api and a monitor with v1 and v2: processes, or with a tag containers of its images."""
    if tag is not None:
        with deployed(tag) as stack:
            yield Containers(stack)
        return
    with tempfile.TemporaryDirectory() as name:
        train(Path(name))
        with Processes(Path(name)) as processes:
            yield processes


def counted(url: str) -> int:
    """Labels that the experiment has counted."""
    return sum(variant["labelled"] for variant in requests.get(url + "/experiment", timeout=10).json()["variants"])


def main() -> int:
    """Kill processes under load, wait until the monitor has processed all labels, and count them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=51)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stack", metavar="TAG", help="kill the containers of these images")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    with started(args.stack) as stack:
        wait_for(stack.ready, _RETURN_S, "the start")
        stop = threading.Event()
        clients = [Client(stack.url, args.seed + number, stop) for number in range(4)]
        for client in clients:
            client.start()
        for number in range(args.kills):
            time.sleep(rng.uniform(0.1, 1.0))
            stack.kill(stack.victims[number % len(stack.victims)])
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
    print(f"| kills: {', '.join(stack.victims)} in turn | {args.kills} | ≥ 50 |")
    print(f"| labels acknowledged, labels counted | {acknowledged}, {total} | equal |")
    print(f"| paired n, unjoined (rows lost) | {comparison['n']}, {comparison['unjoined']} | sum = counted |")
    return 0 if total == acknowledged == comparison["n"] + comparison["unjoined"] else 1


if __name__ == "__main__":
    sys.exit(main())
