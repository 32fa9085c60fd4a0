"""Without a usable Docker, the scripts say what is wrong and what to do; a `docker` that fails stands for the fault."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.infra.repository import ROOT
from tests.stack import clean_environment

DOWN = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
DENIED = "permission denied while trying to connect to the Docker daemon socket"
FAULTS = {
    "the engine is down": (f"echo '{DOWN}' >&2; exit 1", "the Docker engine does not answer"),
    "this user may not": (f"echo '{DENIED}' >&2; exit 1", "may not use Docker"),
    "no Compose": ('[ "$1" = info ]', "Compose is not installed"),
}
COMMANDS = [["docker/build.sh"], ["docker/scratch.sh", "up", "x"], ["./run_demo.sh", "--docker", "--once"]]


def run(command: list[str], path: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**clean_environment(), "PATH": path, **settings},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder with what the scripts need of the system, and no docker."""
    for folder in ("/usr/bin", "/bin"):
        for tool in Path(folder).iterdir():
            if not tool.name.startswith("docker") and not (tmp_path / tool.name).exists():
                (tmp_path / tool.name).symlink_to(tool)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_docker_that_cannot_be_used_is_named(tools: Path, fault: str, command: list[str]) -> None:
    program, words = FAULTS[fault]
    (tools / "docker").write_text(f"#!/bin/sh\n{program}\n")
    (tools / "docker").chmod(0o755)
    result = run(command, str(tools))
    assert result.returncode == 1
    assert words in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_without_docker_the_way_to_it_is_told(tools: Path, command: list[str]) -> None:
    result = run(command, str(tools))
    assert result.returncode == 1
    assert "Docker is not installed: ./install.sh installs it" in result.stderr


def test_the_demo_refuses_a_way_that_it_does_not_know() -> None:
    result = run(["./run_demo.sh"], os.environ["PATH"], BAKEOFF_DEMO="podman")
    assert result.returncode == 2
    assert "neither local nor docker" in result.stderr


@pytest.mark.parametrize("arguments", [[], ["up"], ["sideways", "x"], ["up", "Bad Name"], ["up", "x", "--nonsense"]])
def test_scratch_refuses_wrong_arguments(arguments: list[str]) -> None:
    result = run(["docker/scratch.sh", *arguments], os.environ["PATH"])
    assert result.returncode == 2
    assert "Usage:" in result.stderr
