"""`./run_demo.sh` with Docker: it builds, starts, shows, and takes away what it started."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.e2e.api_process import free_port
from tests.e2e.demo_copy import clone, running_demo, stop
from tests.stack import clean_environment, output

pytestmark = [pytest.mark.e2e, pytest.mark.docker]

PORTS = ("API_PORT", "UI_PORT", "PROMETHEUS_PORT", "ALERTMANAGER_PORT")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory, stack_images: str) -> Path:
    """A clone without .venv, and without need to build: the images are there under the tag that the demo takes."""
    folder = clone(tmp_path_factory.mktemp("docker-demo") / "a clone with spaces")
    (folder / ".venv").unlink()
    return folder


@pytest.fixture
def settings(stack_images: str) -> Iterator[dict[str, str]]:
    """Ports and a Compose project of one's own; nothing of it is left."""
    project = f"demo-{secrets.token_hex(4)}"
    ports = {name: str(free_port()) for name in PORTS}
    yield {"BAKEOFF_DEMO": "docker", "BAKEOFF_TAG": stack_images, "COMPOSE_PROJECT_NAME": project, **ports}
    output("docker", "compose", "-p", project, "down", "--volumes", "--remove-orphans", "--timeout", "5")


def demo(folder: Path, *options: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["./run_demo.sh", *options],
        cwd=folder,
        env={**clean_environment(), **settings},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=400,
    )


def containers(project: str) -> list[str]:
    return output("docker", "ps", "-aq", "--filter", f"label=com.docker.compose.project={project}").split()


def volumes(project: str) -> set[str]:
    return set(
        output("docker", "volume", "ls", "-q", "--filter", f"label=com.docker.compose.project={project}").split()
    )


# Images that a machine may have and others not, and that take long to start.
HAS_NO_MORE = """
case "$*" in
  "image inspect "*mlflow* | "image inspect "*seaweedfs* | "image inspect "*grafana* | "pull "*) exit 1 ;;
  *) exec REAL "$@" ;;
esac
"""
# Every image is here, and every container is well at once.
HAS_ALL = """
printf '%s\n' "$*" >>"$0.calls"
case "$*" in
  "compose config"*) exec REAL "$@" ;;
  *" up -d"*) touch "$0.up" ;;
  *" down "*) rm "$0.up" ;;
  "ps -aq"*) if [ -e "$0.up" ]; then echo container; fi ;;
  "port "*) echo "127.0.0.1:${3%/*}" ;;
esac
"""


@pytest.fixture
def engine(tmp_path: Path) -> Callable[[str], str]:
    """Puts a script before Docker; gives the PATH with it."""

    def put(script: str) -> str:
        real = shutil.which("docker")
        (tmp_path / "docker").write_text(f"#!/usr/bin/env bash\n{script.replace('REAL', str(real))}")
        (tmp_path / "docker").chmod(0o755)
        return f"{tmp_path}:{os.environ['PATH']}"

    return put


@pytest.fixture
def full(fresh: Path) -> Iterator[Path]:
    """The clone, for a demo whose choices .env keeps."""
    yield fresh
    (fresh / ".env").unlink(missing_ok=True)


def test_it_runs_to_the_verdict_with_all_parts_that_can_be_had_and_leaves_volumes_only(
    full: Path, settings: dict[str, str], engine: Callable[[str], str]
) -> None:
    result = demo(full, "--full", "--once", "--requests", "60", **settings, PATH=engine(HAS_NO_MORE))
    assert result.returncode == 0, result.stderr + result.stdout
    assert "without the profile tracking: this host has not, and cannot pull: chrislusf/seaweedfs:" in result.stderr
    assert "without the profile grafana: this host has not, and cannot pull: grafana/grafana:" in result.stderr
    assert "answered 60" in result.stdout
    assert "v2 against v1" in result.stdout
    assert "exec postgres psql -U bakeoff" in result.stdout
    assert "ok    a forged prediction id is refused" in result.stdout
    assert containers(settings["COMPOSE_PROJECT_NAME"]) == []
    kept = {f"{settings['COMPOSE_PROJECT_NAME']}_{name}" for name in ("data", "postgres")}
    assert kept <= volumes(settings["COMPOSE_PROJECT_NAME"])
    assert stat.S_IMODE((full / "data/admin.token").stat().st_mode) == 0o600
    assert stat.S_IMODE((full / ".env").stat().st_mode) == 0o600


def test_the_whole_stack_is_started_in_order_and_shown(
    full: Path, settings: dict[str, str], engine: Callable[[str], str], tmp_path: Path
) -> None:
    """What Docker is asked for, where every image is here; MLflow and Grafana are not started."""
    result = demo(full, "--full", "--once", "--requests", "5", **settings, PATH=engine(HAS_ALL))
    assert result.returncode == 0, result.stderr + result.stdout
    chosen = dict(line.split("=", 1) for line in (full / ".env").read_text().splitlines())
    assert chosen["COMPOSE_PROFILES"] == "postgres,tracking,grafana"
    assert chosen["DATABASE_URL"] == "postgresql://bakeoff@postgres/bakeoff"
    assert chosen["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
    passwords = {chosen[f"{name}_PASSWORD"] for name in ("POSTGRES", "TRACKING", "GRAFANA")}
    assert {len(password) for password in passwords} == {36}
    assert len(passwords) == 3
    for part in ("dashboard ", "prometheus ", "alertmanager ", "grafana ", "mlflow ", "object store ", "postgresql "):
        assert f"\n  {part}" in result.stdout
    calls = (tmp_path / "docker.calls").read_text().splitlines()
    done = [
        next(place for place, call in enumerate(calls) if part in call)
        for part in ("up -d --no-build postgres mlflow", "up -d --no-build --remove-orphans", "simulate", "app smoke")
    ]
    done.append(next(place for place, call in enumerate(calls) if "publish --to-mlflow" in call))
    assert done == sorted(done)


def test_ctrl_c_stops_it_and_a_second_one_shows_the_first(
    fresh: Path, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with running_demo(fresh, "--requests", "0", "--docker") as running:
        url = f"http://127.0.0.1:{running.port}"
        assert requests.get(f"{url}/health", timeout=10).json()["status"] == "healthy"
        token = (fresh / "data/admin.token").read_text()
        answer = requests.patch(
            f"{url}/config", json={"drift_threshold": 0.2}, headers={"Authorization": f"Bearer {token}"}, timeout=10
        )
        assert answer.status_code == 200
        second = demo(fresh, **settings)
        assert second.returncode == 0
        assert "The stack runs already" in second.stdout
        assert stop(running.process) == 130
    assert containers(settings["COMPOSE_PROJECT_NAME"]) == []


@pytest.mark.parametrize("name", PORTS)
def test_a_taken_port_is_named_before_anything_is_started(fresh: Path, settings: dict[str, str], name: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = demo(fresh, "--once", **{**settings, name: str(port)})
    assert result.returncode == 1
    assert f"port {port} is taken by" in result.stderr
    assert f"{name}={port + 1} ./run_demo.sh" in result.stderr
    assert containers(settings["COMPOSE_PROJECT_NAME"]) == []


def test_a_wrong_setting_is_shown_from_the_log_of_the_part(fresh: Path, settings: dict[str, str]) -> None:
    result = demo(fresh, "--once", **settings, MODEL_V1_WEIGHT="many")
    assert result.returncode == 1
    assert "MODEL_V1_WEIGHT" in result.stderr
    assert containers(settings["COMPOSE_PROJECT_NAME"]) == []
