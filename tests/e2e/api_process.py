"""A real api: `python -m app serve` on a free port, in folders of its own."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import requests

from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
ROW = {"features": [5.1, 3.5, 1.4, 0.2]}


def free_port():
    """A port nobody listens on just now, and not of those that the system gives to outgoing connections meanwhile."""
    for port in random.SystemRandom().sample(range(12_000, 32_000), 1000):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port below 32000")


class ApiProcess:
    """Starts at construction; `stop` drains it. `folder` has models/ and data/; `serve` is the module
    that serves and its arguments."""

    def __init__(self, folder, serve=("app", "serve"), **environment):
        self.folder = Path(folder)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = self.folder / "api.log"
        env = {
            **os.environ,
            "MODEL_DIR": str(self.folder / "models"),
            "DATA_DIR": str(self.folder / "data"),
            "API_PORT": str(self.port),
            "WEB_CONCURRENCY": "2",
            "LOG_FORMAT": "json",
            **environment,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-m", *serve], cwd=ROOT, env=env, stdout=log, stderr=log)
        self.session = requests.Session()

    def wait_until(self, path="/health/live", status=200, timeout_s=60):
        """Until `path` answers with `status`."""

        def answered():
            assert self.process.poll() is None, f"the api ended with {self.process.returncode}:\n{self.log_text()}"
            answer = requests.get(self.url + path, timeout=5)
            # Another test's server may have taken the port in between, and answer 200 to everything.
            return answer.status_code == status and "X-Request-Id" in answer.headers

        eventually(
            answered,
            timeout_s,
            lambda: f"{path} did not answer {status}:\n{self.log_text()}",
            ignoring=requests.ConnectionError,
        )
        return self

    def get(self, path, **options):
        """GET on a kept connection."""
        return self.session.get(self.url + path, timeout=30, **options)

    def post(self, path, json=None, **options):
        """POST on a kept connection."""
        return self.session.post(self.url + path, json=json, timeout=60, **options)

    def workers(self):
        """The worker processes now."""
        return psutil.Process(self.process.pid).children()

    def clients(self):
        """How many connections each worker has accepted and not closed."""
        return [sum(each.status == "ESTABLISHED" for each in worker.net_connections()) for worker in self.workers()]

    def replace_worker(self, signal_number):
        """Send one worker a signal and wait until another has taken its place."""
        before = {worker.pid for worker in self.workers()}
        victim = min(before)
        os.kill(victim, signal_number)

        def replaced():
            now = {worker.pid for worker in self.workers()}
            return victim not in now and len(now) == len(before)

        eventually(replaced, 40, lambda: "the worker was not replaced")
        return self.wait_until("/health/ready")

    def metric(self, name, **labels):
        """The sum over all series of a metric that have these labels."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        lines = [line for line in self.get("/metrics").text.splitlines() if all(each in line for each in wanted)]
        return sum(float(line.split()[-1]) for line in lines if line.split("{")[0].split(" ")[0] == name)

    def log_text(self):
        """What it has logged."""
        return self.log.read_text(errors="replace")

    def kill(self):
        """SIGKILL to the master and all workers."""
        for process in (*self.workers(), psutil.Process(self.process.pid)):
            process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self):
        """SIGTERM, and wait; the exit status."""
        self._close_connections()
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(40)

    def _close_connections(self):
        """End the session's connections now: `Session.close` leaves them open as long as any of its answers is
        referred to, and a worker that stops waits four seconds for a client that stays."""
        pools = self.session.get_adapter(self.url).poolmanager.pools
        for key in [*pools.keys()]:  # the container cannot be iterated
            pools[key].close()
        self.session.close()


@contextmanager
def serving(trained, folder, **environment):
    """An api with a copy of these versions below `folder`, ready, and stopped at the end."""
    api = ApiProcess(shutil.copytree(trained, folder / "installation"), **environment)
    try:
        yield api.wait_until("/health/ready")
    finally:
        api.stop()


class MonitorProcess:
    """`python -m app monitor` beside an api, in the same folder; `module` may stand for `app`."""

    def __init__(self, folder, module="app", **environment):
        self.folder = Path(folder)
        env = {
            **os.environ,
            "MODEL_DIR": str(self.folder / "models"),
            "DATA_DIR": str(self.folder / "data"),
            "LOG_FORMAT": "json",
            **environment,
        }
        self.log = self.folder / "monitor.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, "monitor"], cwd=ROOT, env=env, stdout=log, stderr=log
            )

    def kill(self):
        """SIGKILL."""
        self.process.kill()
        self.process.wait(10)

    def stop(self):
        """SIGTERM, and wait; the exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(30)
