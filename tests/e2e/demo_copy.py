"""A fresh clone as a folder of its own, and the demo that runs in it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.e2e.api_process import free_port
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
_NOT_CLONED = {".git", ".venv", ".env", ".hypothesis", "models", "data", "logs"}
READY = "Ctrl-C stops everything."


class Demo(NamedTuple):
    """A running demo: its clone, the api's port, its process and what it printed until it was ready."""

    folder: Path
    port: int
    process: subprocess.Popen[str]
    printed: str


def clone(folder: Path) -> Path:
    """The tree as a fresh clone has it, but for the packages: `.venv` is the one that the tests run in."""
    shutil.copytree(ROOT, folder, ignore=_not_cloned)
    (folder / ".venv").symlink_to(ROOT / ".venv", target_is_directory=True)
    return folder


def _not_cloned(folder: str, names: list[str]) -> set[str]:
    """What is made by running: at the top, models and data too."""
    caches = {name for name in names if name == "__pycache__" or name.endswith("_cache")}
    return caches | _NOT_CLONED.intersection(names) if Path(folder) == ROOT else caches


def environment(port: int) -> dict[str, str]:
    """The caller's environment without its own settings of the service, and with ports of our own."""
    ours = {
        "BAKEOFF_DEMO": "local",
        "API_PORT": str(port),
        "PROMETHEUS_PORT": str(free_port()),
        "UI_PORT": str(free_port()),
    }
    foreign = ("MODEL_", "DATA_DIR", "API_", "ADMIN_TOKEN", "DATABASE_URL", "HOST", "PROMETHEUS_", "UI_PORT")
    return {**{key: value for key, value in os.environ.items() if not key.startswith(foreign)}, **ours}


@contextmanager
def running_demo(folder: Path, *options: str, ready_s: float = 180) -> Iterator[Demo]:
    """`./run_demo.sh` in `folder`, from when it is ready until it is stopped as Ctrl-C does."""
    port = free_port()
    output = folder / "demo.output"
    with output.open("w") as stream:
        process = subprocess.Popen(
            ["./run_demo.sh", *options],
            cwd=folder,
            env=environment(port),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=_hear_ctrl_c,
        )
        try:
            yield Demo(folder, port, process, _until_ready(process, output, ready_s))
        finally:
            stop(process)


def stop(process: subprocess.Popen[str], timeout_s: float = 90) -> int:
    """Ctrl-C, and the exit status."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    return process.wait(timeout_s)


def _hear_ctrl_c() -> None:
    """A shell that starts with SIGINT ignored (a background job of a script) could never trap it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _until_ready(process: subprocess.Popen[str], output: Path, ready_s: float) -> str:
    def printed() -> str | None:
        assert process.poll() is None, f"the demo ended:\n{output.read_text()}"
        text = output.read_text()
        return text if READY in text else None

    return eventually(printed, ready_s, lambda: f"the demo did not come up:\n{output.read_text()}") or ""
