"""The product and its opponents, ready to be started: each as fast as its documentation knows how to make it.

Opponents other than the naive one have virtual environments of their own under `CACHE`, made from the pinned
requirements in bench/opponents when they are first needed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from load import IRIS, SCRIPTS, Traffic
from servers import SERVE, free_port, places, server

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bakeoff-bench"
_INSTALL_S = 900
_FAST = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning")


class Unavailable(Exception):
    """An opponent cannot be had on this machine; the text says why."""


@dataclass(frozen=True)
class Contender:
    """A server that can be started; `command` takes its port."""

    name: str
    command: Callable[[int], list[str]]
    traffic: Traffic = IRIS
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Running:
    """A started contender."""

    name: str
    port: int
    process: subprocess.Popen
    traffic: Traffic
    first_answer_s: float


@contextmanager
def start(contender: Contender) -> Iterator[Running]:
    """The contender, started and asked once."""
    port, first = free_port(), json.loads(contender.traffic.bodies(0, 1)[0])
    environment = {**contender.environment, "API_PORT": str(port)}
    command = contender.command(port)
    with server(command, port, first=(contender.traffic.path, first), **environment) as (process, after_s):
        yield Running(contender.name, port, process, contender.traffic, after_s)


def product(folder: Path, traffic: Traffic = IRIS, *, workers: int = 2, name: str = "bakeoff") -> Contender:
    """`bakeoff serve` on the installation in `folder`, all features on."""
    environment = {"WEB_CONCURRENCY": str(workers), "ADMIN_TOKEN": "bench", **places(folder)}
    return Contender(name, lambda _port: SERVE, traffic, environment)


def naive(model: Path, traffic: Traffic = IRIS) -> Contender:
    """Flask and scikit-learn under gunicorn, with connections that are kept."""
    options = ["--worker-class", "gthread", "--threads", "4", "--keep-alive", "75", "--log-level", "warning"]
    start = [sys.executable, "-m", "gunicorn", "--chdir", str(SCRIPTS), "-w", "2", *options]
    return Contender(
        "naive",
        lambda port: [*start, "-b", f"127.0.0.1:{port}", "naive:create()"],
        traffic,
        {"NAIVE_MODEL": str(model)},
    )


def fastapi(forest: Path, traffic: Traffic = IRIS) -> Contender:
    """FastAPI and the compiled forest under uvicorn."""
    start = [str(python("fastapi")), "-m", "uvicorn", "fast:app", "--app-dir", str(SCRIPTS), "--workers", "2", *_FAST]
    return Contender("fastapi", lambda port: [*start, "--port", str(port)], traffic, {"FOREST": str(forest)})


def mlserver(forest: Path, folder: Path) -> Contender:
    """MLServer with the compiled forest, answered in its own process.

    With `parallel_workers` 2 a request took four times the processor time, more than a second core gives.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model-settings.json").write_text('{"name": "trees", "implementation": "mlserver_forest.Trees"}')
    body = '{"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP64", "data": %s}]}'
    traffic = replace(IRIS, path="/v2/models/trees/infer", body=body)
    interpreter = python("mlserver")

    def command(port: int) -> list[str]:
        settings = {
            "host": "127.0.0.1", "http_port": port, "grpc_port": free_port(), "metrics_endpoint": None, "debug": False,
            "parallel_workers": 0, "gzip_enabled": False,
        }  # fmt: skip
        (folder / "settings.json").write_text(json.dumps(settings))
        return [str(interpreter.parent / "mlserver"), "start", str(folder)]

    return Contender("mlserver", command, traffic, {"FOREST": str(forest), "PYTHONPATH": str(SCRIPTS)})


def bentoml(forest: Path) -> Contender:
    """BentoML with the compiled forest."""
    start = [str(python("bentoml").parent / "bentoml"), "serve", "bento:Trees", "--working-dir", str(SCRIPTS)]
    environment = {"FOREST": str(forest), "BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(CACHE / "bentoml")}
    return Contender(
        "bentoml", lambda port: [*start, "--host", "127.0.0.1", "--port", str(port)], environment=environment
    )


def limit() -> Contender:
    """The server in C that always gives the same answer."""
    if not shutil.which("cc"):
        raise Unavailable("no C compiler (Debian: apt-get install gcc libc6-dev)")
    CACHE.mkdir(parents=True, exist_ok=True)
    program = CACHE / "limit"
    _succeed(["cc", "-O2", "-o", str(program), str(SCRIPTS / "limit.c")])
    return Contender("limit", lambda port: [str(program), str(port), "2"])


def forest(model: Path) -> Path:
    """The folder of the compiled form of a model (a joblib file), made and checked if it is not there yet."""
    made_by = [model, SCRIPTS / "forest.py", _requirements("fastapi")]
    folder = CACHE / f"forest-{_digest(*made_by)}"
    if not (folder / "checked").exists():
        _succeed([str(python("fastapi")), str(SCRIPTS / "forest.py"), str(model), str(folder)])
        (folder / "checked").touch()
    return folder


def python(name: str) -> Path:
    """The interpreter of an opponent's environment, made if it is not there yet. Raises `Unavailable`."""
    requirements = _requirements(name)
    folder = CACHE / f"{name}-{_digest(requirements)}"
    interpreter = folder / "bin" / "python"
    if not (folder / "complete").exists():
        print(f"installing {requirements.name} into {folder}", file=sys.stderr, flush=True)
        venv.create(folder, with_pip=True, clear=True)
        _succeed([str(interpreter), "-m", "pip", "install", "-q", "-r", str(requirements)])
        (folder / "complete").touch()
    return interpreter


def _requirements(name: str) -> Path:
    return SCRIPTS / f"requirements-{name}.txt"


def _digest(*files: Path) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def _succeed(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_S, check=False)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{command[0]} took longer than {_INSTALL_S} s") from None
    if done.returncode:
        raise Unavailable(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")
