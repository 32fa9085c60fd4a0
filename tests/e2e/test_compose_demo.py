"""`./run_demo.sh` with Docker: it builds, starts, shows, and takes away what it started."""

from __future__ import annotations

import secrets
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.e2e.demo_copy import clone, free_port, running_demo, stop
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


def test_it_runs_to_the_verdict_and_leaves_volumes_only(fresh: Path, settings: dict[str, str]) -> None:
    result = demo(fresh, "--once", "--requests", "60", **settings)
    assert result.returncode == 0, result.stderr + result.stdout
    assert "answered 60" in result.stdout
    assert "v2 against v1" in result.stdout
    assert containers(settings["COMPOSE_PROJECT_NAME"]) == []
    assert f"{settings['COMPOSE_PROJECT_NAME']}_data" in volumes(settings["COMPOSE_PROJECT_NAME"])
    assert stat.S_IMODE((fresh / "data/admin.token").stat().st_mode) == 0o600


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
