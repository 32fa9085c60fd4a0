"""Starts a trained service for a benchmark: two workers, separate folders, on 127.0.0.1."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import requests
from servers import ROOT, free_port, server, train


class Service:
    """A running api (and monitor, if asked for). `folder` has models/ and data/."""

    def __init__(self, folder: Path, port: int, api: subprocess.Popen, monitor: subprocess.Popen | None) -> None:
        self.folder = folder
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.api = api
        self.monitor = monitor
        self.session = requests.Session()

    def post(self, path: str, body: object, **options: object) -> dict:
        """The JSON of a 2xx response to a POST."""
        answer = self.session.post(self.url + path, json=body, timeout=60, **options)  # type: ignore[arg-type]
        answer.raise_for_status()
        return answer.json()

    def get(self, path: str, **options: object) -> dict:
        """The JSON of a 2xx response to a GET."""
        answer = self.session.get(self.url + path, timeout=60, **options)  # type: ignore[arg-type]
        answer.raise_for_status()
        return answer.json()


def environment(folder: Path, port: int, **more: str) -> dict[str, str]:
    """The environment variables of a service in `folder`."""
    return {
        "MODEL_DIR": str(folder / "models"),
        "DATA_DIR": str(folder / "data"),
        "API_PORT": str(port),
        "WEB_CONCURRENCY": "2",
        **more,
    }


@contextmanager
def service(*, monitor: bool = False, **settings: str) -> Iterator[Service]:
    """A running service with v1 and v2, trained on Iris."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder, port = Path(name), free_port()
        train(folder)
        env = environment(folder, port, **settings)
        api, _ = stack.enter_context(server([sys.executable, "-m", "app", "serve"], port, **env))
        yield Service(folder, port, api, stack.enter_context(monitor_process(env)) if monitor else None)


@contextmanager
def monitor_process(env: dict[str, str]) -> Iterator[subprocess.Popen]:
    """`bakeoff monitor` beside a service."""
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "monitor"],
        cwd=ROOT,
        env={**os.environ, **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(30)


def wait_for(condition: object, timeout_s: float, what: str, look_s: float = 0.02) -> None:
    """Wait until `condition()` is true, asked every `look_s`; raises `SystemExit` with `what` after the timeout."""
    deadline = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not happen within {timeout_s:g} s")
        time.sleep(look_s)
