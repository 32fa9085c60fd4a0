"""The installer, without a network: stand-ins for what a host may have or lack."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.infra.repository import ROOT

TOOLS = ("bash", "cat", "cp", "dirname", "df", "awk", "grep", "tail", "mkdir", "tr", "id", "sha256sum", "flock")
WORKING_PYTHON = """case "$*" in
  *"-m venv"*)
    folder="${@: -1}"
    mkdir -p "$folder/bin"
    cp "$0" "$folder/bin/python"
    echo "VIRTUAL_ENV=$folder" >"$folder/bin/activate"
    ;;
  *"pip install"*) exit "${PIP_STATUS:-0}" ;;
  *version*) echo "3.12.0" ;;
esac"""


class Host:
    """A host with a PATH of its own, a clone of the installer, and a record of what was called."""

    def __init__(self, folder: Path) -> None:
        self.clone = folder / "clone"
        self.bin = folder / "bin"
        self.calls = folder / "calls"
        for directory in (self.clone, self.bin):
            directory.mkdir()
        for file in ("install.sh", "requirements.txt", "requirements-dev.txt"):
            shutil.copy(ROOT / file, self.clone)
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool) or "missing")
        self.calls.touch()

    def has(self, command: str, body: str = "") -> None:
        """Put a stand-in on the PATH; it notes its call and then runs `body`."""
        path = self.bin / command
        path.write_text(f'#!/usr/bin/env bash\necho "{command} $*" >>"$CALLS"\n{body}\n')
        path.chmod(0o755)

    def install(self, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the installer on this host, with nobody at the terminal."""
        return subprocess.run(
            ["bash", "./install.sh", *options],
            cwd=self.clone,
            env={"PATH": str(self.bin), "CALLS": str(self.calls), "HOME": str(self.clone.parent), **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def called(self, word: str) -> list[str]:
        return [line for line in self.calls.read_text().splitlines() if word in line]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def python_host(host: Host) -> Host:
    host.has("python3.12", WORKING_PYTHON)
    return host


def test_packages_go_into_the_clone(python_host: Host) -> None:
    result = python_host.install("--local")
    assert result.returncode == 0, result.stderr
    assert "requirements.txt" in python_host.called("pip install")[0]
    assert {path.name for path in python_host.clone.parent.iterdir()} == {"clone", "bin", "calls"}


def test_a_second_run_installs_nothing(python_host: Host) -> None:
    python_host.install("--local")
    before = python_host.called("pip install")
    assert python_host.install("--local").stdout == ""
    assert python_host.called("pip install") == before


def test_other_pins_are_installed_again(python_host: Host) -> None:
    python_host.install("--local")
    before = python_host.called("pip install")
    with (python_host.clone / "requirements.txt").open("a") as pins:
        pins.write("another==1.0\n")
    python_host.install("--local")
    assert len(python_host.called("pip install")) == 2 * len(before)


def test_a_clone_that_was_moved_gets_a_new_environment(python_host: Host) -> None:
    python_host.install("--local")
    python_host.clone = python_host.clone.rename(python_host.clone.with_name("moved"))
    assert "Making .venv" in python_host.install("--local").stdout


def test_an_installation_that_failed_is_tried_again(python_host: Host) -> None:
    assert python_host.install("--local", PIP_STATUS="1").returncode == 1
    assert "Installed into .venv" in python_host.install("--local").stdout


def test_without_python_it_says_what_to_install(host: Host) -> None:
    result = host.install("--local")
    assert result.returncode == 1
    assert "no Python 3.11 or later was found" in result.stderr


def test_an_old_python_does_not_do(host: Host) -> None:
    host.has("python3", "exit 1")
    assert "no Python 3.11 or later was found" in host.install("--local").stderr


def test_a_python_without_the_venv_module_is_explained(host: Host) -> None:
    host.has("python3", 'case "$*" in *ensurepip*) exit 1 ;; esac')
    assert "apt-get install python3-venv" in host.install("--local").stderr


def test_a_full_disk_is_said_before_anything_is_made(python_host: Host) -> None:
    (python_host.bin / "df").unlink()
    python_host.has("df", 'printf "Filesystem 1024-blocks Used Available\\n/dev/x 1 1 2048\\n"')
    result = python_host.install("--local")
    assert result.returncode == 1
    assert "not enough disk space: 2 MB are free" in result.stderr
    assert not (python_host.clone / ".venv").exists()


def test_a_missing_network_is_told_from_other_failures(python_host: Host) -> None:
    body = WORKING_PYTHON.replace('exit "${PIP_STATUS:-0}"', 'echo "Temporary failure in name resolution"; exit 1')
    python_host.has("python3.12", body)
    assert "the package registry cannot be reached" in python_host.install("--local").stderr


def test_pip_takes_over_where_uv_fails(python_host: Host) -> None:
    python_host.has("uv", "exit 2")
    assert python_host.install("--local").returncode == 0
    assert python_host.called("uv pip install")
    assert python_host.called("-m pip install")


def test_local_never_looks_at_the_system(python_host: Host) -> None:
    python_host.has("apt-get")
    python_host.install("--local")
    assert not python_host.called("apt-get")


@pytest.mark.parametrize("manager", ["apt-get", "dnf", "yum"])
def test_nothing_is_installed_on_the_system_without_a_yes(python_host: Host, manager: str) -> None:
    python_host.has(manager, "echo known")
    python_host.has("apt-cache", "echo known")
    python_host.has("sudo", '"$@"')
    result = python_host.install()
    assert result.returncode == 0
    assert f"To install: {manager} install -y docker" in result.stdout
    assert not python_host.called(f"{manager} install")


@pytest.mark.parametrize(
    ("manager", "packages"),
    [
        ("apt-get", "docker.io docker-compose-v2"),
        ("dnf", "docker docker-compose-plugin"),
        ("yum", "docker docker-compose-plugin"),
    ],
)
def test_yes_installs_what_is_missing(python_host: Host, manager: str, packages: str) -> None:
    python_host.has(manager, "echo known")
    python_host.has("apt-cache", "echo known")
    python_host.has("sudo", '"$@"')
    assert python_host.install("--yes").returncode == 0
    assert python_host.called(f"{manager} install") == [f"{manager} install -y {packages}"]


def test_yes_fails_where_the_packages_cannot_be_installed(python_host: Host) -> None:
    python_host.has("apt-get", "exit 100")
    python_host.has("apt-cache", "echo known")
    python_host.has("sudo", '"$@"')
    result = python_host.install("--yes")
    assert result.returncode == 1
    assert "could not be installed" in result.stderr


def test_compose_under_its_other_names_is_found(python_host: Host) -> None:
    python_host.has("apt-get")
    python_host.has("apt-cache", '[ "$2" = docker-compose ] && echo known')
    python_host.has("sudo", '"$@"')
    python_host.install("--yes")
    assert python_host.called("apt-get install") == ["apt-get install -y docker.io docker-compose"]


def test_a_host_that_has_both_is_left_alone(python_host: Host) -> None:
    python_host.has("docker")
    python_host.has("apt-get")
    result = python_host.install("--yes")
    assert "Docker and Compose are installed." in result.stdout
    assert not python_host.called("apt-get")
