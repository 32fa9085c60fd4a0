"""Reload models, deploy a release and roll it back under constant load, and count the failed requests.

    python bench/rolls.py [--times 10] [--requests 20000] [--connections 16] [--rate 500]
                          [--only reload,deploy,rollback] [--tag TAG]

Needs Docker and the images bakeoff-api:TAG and bakeoff-ui:TAG (docker/build.sh --tag TAG). Starts a separate stack on
free ports and removes it afterwards. Each round lasts until the change is complete and --requests were answered. Any
status other than 200 counts as a failure, and so does a broken connection. A server may close a connection after a
response with `Connection: close`; the next request then opens a new one. At full length it takes about half an hour:
thirty rounds of 40 s of load, and more where a deployment takes longer than that.
"""

from __future__ import annotations

import argparse
import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from servers import ROOT, free_port

LOW, HIGH = [4.3, 2.0, 1.0, 0.1], [7.9, 4.4, 6.9, 2.5]
TARGET = "0 of ≥ 20,000"
ADMIN = "rolls"


class Load:
    """Sends predictions over persistent connections at a constant rate, and counts answers and failures."""

    def __init__(self, port: int, connections: int, rate: float) -> None:
        self._port, self._pause_s = port, connections / rate
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.answered = 0
        self.slowest_s = 0.0
        self.failures: Counter[str] = Counter()
        self._threads = [threading.Thread(target=self._run, args=(seed,)) for seed in range(connections)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_reason: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        due_s = time.monotonic() + self._pause_s * rng.random()
        while not self._stop.is_set():
            time.sleep(max(0.0, due_s - time.monotonic()))
            due_s = max(due_s + self._pause_s, time.monotonic() - 1)
            body = f'{{"features": {rng.uniform(LOW, HIGH).round(2).tolist()}}}'
            started = time.monotonic()
            self._count(self._ask(connection, body), time.monotonic() - started)

    @staticmethod
    def _ask(connection: http.client.HTTPConnection, body: str) -> str | None:
        """Send one request; returns the failure, or None."""
        try:
            connection.request("POST", "/predict", body)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return type(error).__name__
        return None if answer.status == 200 else f"{answer.status} {text[:80]!r}"

    def _count(self, wrong: str | None, seconds: float) -> None:
        with self._lock:
            self.slowest_s = max(self.slowest_s, seconds)
            if wrong is None:
                self.answered += 1
            else:
                self.failures[wrong] += 1


class Stack:
    """The stack of docker-compose.yml, deployed by docker/deploy.sh in a separate folder."""

    def __init__(self, folder: Path, tag: str) -> None:
        self.folder, self.tag = folder, tag
        self.project = f"bakeoff-rolls-{os.getpid()}"
        self.port = free_port()
        self.releases = 0
        shutil.copytree(ROOT / "docker", folder / "docker", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "docker-compose.yml", folder)
        ports = {name: free_port() for name in ("UI_PORT", "PROMETHEUS_PORT", "ALERTMANAGER_PORT")}
        settings = {"API_PORT": self.port, "ADMIN_TOKEN": ADMIN, "WEB_CONCURRENCY": 2, **ports}
        (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        self._env = {**os.environ, "COMPOSE_PROJECT_NAME": self.project}
        self._env.pop("BAKEOFF_TAG", None)

    def script(self, name: str, *words: str) -> None:
        """Run docker/NAME. Raises `SystemExit` with its output if it fails."""
        command = [str(self.folder / "docker" / name), *words]
        done = subprocess.run(command, env=self._env, cwd=self.folder, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{name} {' '.join(words)} failed:\n{done.stdout}{done.stderr}")

    def deploy(self) -> None:
        """The same code under another name: what is measured is the replacing. Not under its own, for deployments
        remove the images of those before them."""
        self.releases += 1
        other = self._release(self.releases)
        for image in ("bakeoff-api", "bakeoff-ui"):
            docker("tag", f"{image}:{self.tag}", f"{image}:{other}")
        self.script("deploy.sh", "local", "--tag", other, "--no-backup")

    def _release(self, number: int) -> str:
        return f"{self.tag}-{os.getpid()}-{number}"

    def roll_back(self) -> None:
        """To the release before."""
        self.script("rollback.sh", "--no-backup")

    def reload(self) -> None:
        """Publish one more version and make the api load it."""
        self.command("python", "-m", "app", "train", "--dataset", "iris", "--variant", "shallow_wide")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", "/models/reload", "{}", {"Authorization": f"Bearer {ADMIN}"})
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.status != 200:
            raise SystemExit(f"/models/reload answered {answer.status}: {text}")

    def command(self, *words: str) -> None:
        """Run a command in the api's image on the stack's volumes."""
        container = self.container("api")
        docker("run", "--rm", "--volumes-from", container, "--cpus", "0.5", f"bakeoff-api:{self.tag}", *words)

    def container(self, service: str) -> str:
        """The id of a container of the service."""
        labels = (f"project={self.project}", f"service={service}", "oneoff=False")
        filters = [word for label in labels for word in ("--filter", f"label=com.docker.compose.{label}")]
        return docker("ps", "-aq", *filters).split()[0]

    def remove(self) -> None:
        """Remove containers, network, volumes, and the image tags created for the rounds."""
        script = f'source "{self.folder}/docker/lib.sh" && compose down --volumes --timeout 5'
        subprocess.run(["bash", "-c", script], env=self._env, capture_output=True)
        releases = [self._release(number) for number in range(1, self.releases + 1)]
        names = [f"{image}:{release}" for image in ("bakeoff-api", "bakeoff-ui") for release in releases]
        subprocess.run(["docker", "rmi", *names], capture_output=True)


def docker(*words: str) -> str:
    """What a command of Docker prints. Raises `SystemExit` with its output if it fails."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"docker {' '.join(words)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


@contextmanager
def stack(tag: str) -> Iterator[Stack]:
    """A deployed stack, removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="rolls-") as name:
        running = Stack(Path(name), tag)
        try:
            running.deploy()
            yield running
        finally:
            running.remove()


def under_load(service: Stack, change: Callable[[], None], args: argparse.Namespace) -> tuple[Load, float]:
    """Make the change one second after the load started; returns the load and the duration of the change."""
    with Load(service.port, args.connections, args.rate) as load:
        time.sleep(1)
        started = time.monotonic()
        change()
        took_s = time.monotonic() - started
        while load.answered + sum(load.failures.values()) < args.requests:
            time.sleep(0.1)
        time.sleep(1)
    return load, took_s


def main() -> int:
    """Run all rounds and print the results; exit status 1 if any request failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rate", type=float, default=500.0, help="requests per second over all connections")
    parser.add_argument("--only", default="reload,deploy,rollback")
    parser.add_argument("--tag", default="local")
    args = parser.parse_args()
    failed: Counter[str] = Counter()
    rows = []
    with stack(args.tag) as service:
        changes = {"reload": service.reload, "deploy": service.deploy, "rollback": service.roll_back}
        for name in args.only.split(","):
            total, slowest_s, longest_s = 0, 0.0, 0.0
            for number in range(args.times):
                load, took_s = under_load(service, changes[name], args)
                failed.update({name: sum(load.failures.values())})
                total += load.answered + sum(load.failures.values())
                slowest_s, longest_s = max(slowest_s, load.slowest_s), max(longest_s, took_s)
                print(f"{name} {number + 1}: {load.answered} answered, failed {dict(load.failures)}, {took_s:.1f} s, "
                      f"slowest {load.slowest_s * 1000:.0f} ms", flush=True)  # fmt: skip
            rows.append(f"| {name}, {args.times} times | {failed[name]} of {total} | {TARGET} each | "
                        f"{longest_s:.0f} s | {slowest_s * 1000:.0f} ms |")  # fmt: skip
    print("\n| change under load | failed | target | longest change | slowest response |\n|---|---|---|---|---|")
    print("\n".join(rows))
    return 1 if failed.total() else 0


if __name__ == "__main__":
    sys.exit(main())
