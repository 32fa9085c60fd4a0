"""Prometheus, Alertmanager, the edge and a receiver of alerts, as processes that run the configuration of `docker/`.

Only addresses differ from what Compose mounts, where the names of services become ports of this host, and the time
between two evaluations of a rule: always that of the configuration, so that no test waits for a slow group.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import requests
import yaml

from tests.e2e.api_process import ROOT, free_port
from tests.waiting import eventually

DOCKER = ROOT / "docker"
_UNPACKED = Path(os.environ.get("CI_CACHE", Path.home() / ".cache/bakeoff-ci")) / "trixie/root/usr/bin"
_NAMES = {"alertmanager": ("prometheus-alertmanager", "alertmanager")}
# The oldest that read what we write: `url_file` came with 0.26, and amtool comes with it.
_OLDEST = {"alertmanager": (0, 26), "amtool": (0, 26), "prometheus": (2, 42), "promtool": (2, 42)}
# Debian's Alertmanager reads its templates from here, also where it was only unpacked; upstream's has them in itself.
_TEMPLATES = Path("/usr/share/prometheus/alertmanager/default.tmpl")


@cache
def tool(name: str) -> str | None:
    """Where the program is, if it is new enough; what `.ci/images tools` unpacked comes first."""
    names = _NAMES.get(name, (name,))
    found = [shutil.which(each, path=str(_UNPACKED)) for each in names] + [shutil.which(each) for each in names]
    return next((path for path in found if path and _has_its_files(path) and _version(path) >= _OLDEST[name]), None)


def _has_its_files(path: str) -> bool:
    return Path(path).name != "prometheus-alertmanager" or _TEMPLATES.exists()


def _version(path: str) -> tuple[int, int]:
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    match = re.search(r"version (\d+)\.(\d+)", said.stdout + said.stderr)
    return (int(match[1]), int(match[2])) if match else (0, 0)


class Running:
    """A started program; `url` is where it listens."""

    def __init__(self, command: list[str], port: int, log: Path, **environment: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        with log.open("ab") as output:
            env = {**os.environ, **environment}
            self.process = subprocess.Popen(command, stdout=output, stderr=output, env=env)

    def wait_until(self, path: str, timeout_s: float = 30) -> Running:
        """Until `path` answers 200; raises `AssertionError` with the end of the log where it does not."""

        def answered() -> bool:
            assert self.process.poll() is None, f"it ended:\n{self.log.read_text()[-2000:]}"
            return requests.get(self.url + path, timeout=5).status_code == 200

        eventually(
            answered,
            timeout_s,
            lambda: f"{path} did not answer 200:\n{self.log.read_text()[-2000:]}",
            ignoring=requests.ConnectionError,
        )
        return self

    def get(self, path: str, **parameters: str | float) -> dict:
        """The JSON of an answer."""
        return requests.get(self.url + path, params=parameters, timeout=30).json()

    def stop(self) -> None:
        """SIGTERM, and wait."""
        self.process.terminate()
        self.process.wait(30)


@contextmanager
def running(command: list[str], port: int, log: Path, ready: str, **environment: str) -> Iterator[Running]:
    """The program, once `ready` answers; stopped at the end."""
    program = Running(command, port, log, **environment)
    try:
        yield program.wait_until(ready)
    finally:
        program.stop()


@contextmanager
def prometheus(folder: Path, api_port: int, **ports: int) -> Iterator[Running]:
    """Prometheus with docker/prometheus/; `ports` are those of `alertmanager` and `edge`."""
    program, port = tool("prometheus"), free_port()
    assert program is not None, "no Prometheus: .ci/images tools, or Debian's package prometheus"
    configuration = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())
    here = {"prometheus": port, **ports}
    for job in configuration["scrape_configs"]:
        name = job["job_name"]
        job.pop("dns_sd_configs", None)
        job["static_configs"] = [{"targets": [f"127.0.0.1:{here.get(name, api_port)}"]}]
    configuration["scrape_configs"] = [j for j in configuration["scrape_configs"] if j["job_name"] in {"api", *here}]
    targets = [{"targets": [f"127.0.0.1:{here['alertmanager']}"]}] if "alertmanager" in here else []
    configuration["alerting"]["alertmanagers"][0]["static_configs"] = targets
    configuration["rule_files"] = [str(_often_evaluated(folder / "rules") / "*.yml")]
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration))
    options = [f"--config.file={file}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    command = [program, *options, f"--web.listen-address=127.0.0.1:{port}"]
    with running(command, port, folder / "prometheus.log", "/-/ready") as started:
        yield started


def _often_evaluated(folder: Path) -> Path:
    """The folder, with docker/prometheus/rules/ in it, of which no group has an interval of its own."""
    folder.mkdir()
    for path in (DOCKER / "prometheus" / "rules").glob("*.yml"):
        groups = yaml.safe_load(path.read_text())["groups"]
        often = [{name: value for name, value in group.items() if name != "interval"} for group in groups]
        (folder / path.name).write_text(yaml.safe_dump({"groups": often}))
    return folder


@contextmanager
def alertmanager(folder: Path, notify_url: str = "") -> Iterator[Running]:
    """Alertmanager by docker/alertmanager/start.sh, which notifies `notify_url`."""
    program, port = tool("alertmanager"), free_port()
    assert program is not None, "no Alertmanager of 0.26 or later: .ci/images tools"
    run_dir = folder / "alertmanager"
    run_dir.mkdir()
    options = [f"--storage.path={run_dir}", f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    settings = {"ALERTMANAGER": program, "RUN_DIR": str(run_dir), "NOTIFY_WEBHOOK_URL": notify_url}
    command = ["sh", str(DOCKER / "alertmanager" / "start.sh"), *options]
    with running(command, port, folder / "alertmanager.log", "/-/ready", **settings) as started:
        yield started


@contextmanager
def edge(folder: Path, api_port: int) -> Iterator[tuple[Running, int]]:
    """HAProxy with docker/haproxy.cfg before one api; and the port of its metrics."""
    port, metrics = free_port(), free_port()
    text = (DOCKER / "haproxy.cfg").read_text()
    text = text.replace("bind :5080", f"bind 127.0.0.1:{port}").replace("bind :8404", f"bind 127.0.0.1:{metrics}")
    text = text.replace("bind :5000", f"bind 127.0.0.1:{free_port()}")
    text = text.replace(" resolvers docker init-addr none", "")
    text = re.sub(r"server-template api \d+ api:5000", f"server api1 127.0.0.1:{api_port}", text)
    file = folder / "haproxy.cfg"
    file.write_text(text)
    with running(["haproxy", "-db", "-f", str(file)], port, folder / "haproxy.log", "/health/ready") as started:
        yield started, metrics


class Receiver:
    """Takes Alertmanager's messages: `(seconds, status, alert name)` of each alert in each, in order of arrival."""

    def __init__(self) -> None:
        self.arrived: list[tuple[float, str, str]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.take(message["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/alerts"

    def take(self, alerts: list[dict]) -> None:
        """Note the alerts of one message."""
        self.arrived += [(time.monotonic(), alert["status"], alert["labels"]["alertname"]) for alert in alerts]

    def wait_for(self, status: str, name: str, since_s: float, timeout_s: float = 90) -> float:
        """Seconds from `since_s` (monotonic) until an alert of that name came as `firing` or `resolved`."""

        def found() -> list[float]:
            return [at_s for at_s, *alert in list(self.arrived) if at_s >= since_s and alert == [status, name]]

        left_s = since_s + timeout_s - time.monotonic()
        return eventually(found, left_s, lambda: f"no {status} {name}; there were {self.arrived}")[0] - since_s

    def __enter__(self) -> Receiver:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
