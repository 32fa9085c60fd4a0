"""`bakeoff demo`: train, start the api, the monitor and the dashboard on this host, send traffic, print the report."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

import requests
from msgspec.structs import replace

from app.cli.access import registry_of
from app.cli.demo_host import (
    Interrupted,
    Processes,
    RunningDemo,
    admin_token,
    is_free,
    listener_on,
    local_url,
    make_folder,
    only_demo,
    require_free_port,
)
from app.errors import Unavailable
from app.settings import Settings

_READY_S = 60.0
# It ends as soon as the monitor has caught up; on a busy host its first report takes a while.
_CATCH_UP_S = 180
_LOG_LINES = 20
_STANDARD_URL = Settings().api_url


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.epilog = (
        "Stays until Ctrl-C, which stops everything it started. An empty model registry gets two versions first. The "
        "traffic is that of `bakeoff simulate`: new cases of the data that the versions were trained from. Their "
        "labels do not depend on the answers, so the API is started with LABELS_EXOGENOUS=true unless you set it. "
        "Prometheus is started too where it is installed. One demo runs on a DATA_DIR: a second one needs its own "
        "DATA_DIR, MODEL_DIR, API_PORT, UI_PORT, PROMETHEUS_PORT and --logs. ./run_demo.sh also installs what is "
        "missing, and uses Docker where it can."
    )
    parser.add_argument("--requests", type=_count, default=400, metavar="N", help="how many to send (400; 0: none)")
    parser.add_argument("--once", action="store_true", help="stop everything after the report, and exit with 0")
    parser.add_argument("--logs", type=Path, default=Path("logs"), metavar="DIR", help="where the logs go (logs)")


def run(args: argparse.Namespace) -> int:
    """Run the demo. Exit status 0 after --once, 1 where a part fails, 130 or 143 after a signal.

    Raises `SettingError`, `Unavailable`.
    """
    settings = Settings.from_environ()
    make_folder(settings.data_dir, "DATA_DIR")
    make_folder(args.logs, "--logs")
    with only_demo(settings) as running:
        if running is not None:
            _show_running(running, settings)
            return 1 if args.once else 0
        require_free_port(settings)
        token, token_source = admin_token(settings)
        settings = replace(settings, api_url=local_url(settings), admin_token=token)
        # The demo makes its labels itself, whatever was answered; a declaration of yours goes first.
        declared = os.environ.get("LABELS_EXOGENOUS") or "true"
        environment = {
            **os.environ,
            "API_URL": settings.api_url,
            "ADMIN_TOKEN": token,
            "ADMIN_TOKEN_FILE": "",  # it was read above, and a process may not have the token twice
            "LABELS_EXOGENOUS": declared,
        }
        try:
            with Processes(args.logs, environment) as parts:
                return Demo(settings, parts, args.logs, token_source).run(args.requests, once=args.once)
        except Interrupted as interrupted:
            return interrupted.exit_status


class Demo:
    """One demo on settings that are complete: `parts` runs its processes."""

    def __init__(self, settings: Settings, parts: Processes, logs: Path, token_source: str) -> None:
        self._settings = settings
        self._parts = parts
        self._logs = logs
        self._token_source = token_source

    def run(self, requests_to_send: int, *, once: bool) -> int:
        """Start everything, send traffic, print the report and stay. Raises `Interrupted`, `Unavailable`."""
        if status := self._train_if_empty():
            return status
        self._start()
        self._send(requests_to_send)
        self._show_addresses()
        self._show_report()
        self._show_next()
        if not once:
            self._stay()
        return 0

    def _train_if_empty(self) -> int:
        with registry_of(self._settings) as registry:
            empty = not registry.names()
        if not empty:
            return 0
        _say("The model registry is empty: training two versions ...")
        return self._parts.run(_command("train"))

    def _start(self) -> None:
        self._parts.start("api", _command("serve"))
        self._wait_until_ready()
        self._parts.start("monitor", _command("monitor"))
        self._start_dashboard()
        self._start_prometheus()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _READY_S
        while not _answers(f"{self._settings.api_url}/health/ready"):
            if not self._parts.is_running("api"):
                raise self._api_failed("the api stopped while starting")
            if time.monotonic() > deadline:
                raise self._api_failed(f"the api was not ready after {_READY_S:.0f} s")
            self._parts.wait(0.2)

    def _api_failed(self, problem: str) -> Unavailable:
        log = self._parts.log("api")
        end = "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
        return Unavailable(f"{problem}; the end of {log}:\n{end}")

    def _start_dashboard(self) -> None:
        port = self._settings.ui_port
        if is_free(self._settings.host, port):
            self._parts.start("ui", _command("ui"))
        else:
            _say(
                f"Port {port} is taken by {listener_on(port)}: going on without the dashboard "
                "(UI_PORT=8502 chooses another)."
            )

    def _start_prometheus(self) -> None:
        port, folder = self._settings.prometheus_port, self._settings.data_dir
        if shutil.which("prometheus") is None:
            _say("Prometheus is not installed: going on without it.")
            return
        if not is_free("127.0.0.1", port):
            _say(
                f"Port {port} is taken by {listener_on(port)}: going on without Prometheus "
                "(PROMETHEUS_PORT=9091 chooses another)."
            )
            return
        config = folder / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 5s}\n"
            "scrape_configs:\n"
            "  - job_name: bakeoff\n"
            "    static_configs:\n"
            f'      - targets: ["{self._settings.api_url.removeprefix("http://")}"]\n'
        )
        options = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'prometheus'}", "--log.level=warn"]
        self._parts.start("prometheus", ["prometheus", *options, f"--web.listen-address=127.0.0.1:{port}"])

    def _send(self, count: int) -> None:
        if count == 0:
            return
        _say(f"\nSending {count} requests ...")
        if self._parts.run(_command("simulate", "--requests", str(count))):
            _warn("not all of the traffic was answered; see above")

    def _show_addresses(self) -> None:
        url, settings = self._settings.api_url, self._settings
        _say("\nBakeoff is running.")
        _say(f"  api         {url} (try it: {url}/docs)")
        _say(f"  health      {url}/health")
        _say(f"  history     {url}/predictions/history?limit=5")
        _say(f"  metrics     {url}/metrics")
        if self._parts.is_running("ui"):
            _say(f"  dashboard   http://127.0.0.1:{settings.ui_port}")
        if self._parts.is_running("prometheus"):
            _say(f"  prometheus  http://127.0.0.1:{settings.prometheus_port}")
        _say(f"  logs        {self._logs}")
        _say(f"  admin token {self._token_source}")
        _say(f"\nAsk it something:\n  curl -s {url}/predict -d '{{\"features\": [5.1, 3.5, 1.4, 0.2]}}'")

    def _show_report(self) -> None:
        _say("")
        wait_s = _CATCH_UP_S if self._parts.is_running("monitor") else 0
        if self._parts.run(_command("report", "--wait", str(wait_s))):
            _warn("the report could not be made; see above")

    def _show_next(self) -> None:
        # The commands find the api by themselves where it has its default address.
        standard = self._settings.api_url == _STANDARD_URL
        where = "" if standard else f"export API_URL={self._settings.api_url}; "
        _say(f"\nWhat to type next, in a second terminal in this folder:\n  {where}. .venv/bin/activate")
        _say("  bakeoff simulate --requests 3000    more traffic, with labels")
        _say("  bakeoff report                      the result so far; look as often as you like")

    def _stay(self) -> None:
        """Wait for a signal, or for the end of the api; the end of another part is reported once."""
        _say("\nCtrl-C stops everything.")
        while True:
            for name in self._parts.take_ended():
                if name == "api":
                    raise self._api_failed("the api stopped")
                _warn(f"{name} stopped; see {self._parts.log(name)}. The rest goes on.")
            self._parts.wait(1.0)


def _show_running(running: RunningDemo, settings: Settings) -> None:
    _say(f"The demo runs already (process {running.pid}) on port {running.port}, with its data in {settings.data_dir}.")
    _say(f"  look:       http://127.0.0.1:{running.port}/docs")
    _say(f"  stop it:    Ctrl-C where it runs, or: kill {running.pid}")
    _say("  one beside: its own DATA_DIR, MODEL_DIR, API_PORT, UI_PORT, PROMETHEUS_PORT and --logs; see --help")


def _answers(url: str) -> bool:
    """Whether a GET is answered with 200. Never through a proxy: it asks this host."""
    with requests.Session() as session:
        session.trust_env = False
        try:
            return session.get(url, timeout=5).status_code == 200
        except requests.RequestException:
            return False


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "app", *words]


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _say(text: str) -> None:
    print(text, flush=True)


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr, flush=True)
