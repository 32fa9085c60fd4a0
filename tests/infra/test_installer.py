"""The installer, without a network: stand-ins for what a host may have or lack."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.infra.installer_host import WORKING_PYTHON, Host


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
    assert "--require-hashes -r" in (asked := python_host.called("pip install")[0])
    assert asked.endswith("/requirements.lock")
    assert {path.name for path in python_host.clone.parent.iterdir()} == {"clone", "bin", "calls"}


def test_a_second_run_installs_nothing(python_host: Host) -> None:
    python_host.install("--local")
    before = python_host.called("pip install")
    assert python_host.install("--local").stdout == ""
    assert python_host.called("pip install") == before


def test_the_command_is_installed_without_the_network(python_host: Host) -> None:
    python_host.install("--local")
    (call,) = python_host.called("--editable")
    assert {"--no-index", "--no-deps", "--no-build-isolation"} <= set(call.split())
    assert (python_host.clone / ".venv/bin/bakeoff").exists()


def test_a_command_that_is_missing_is_installed_again(python_host: Host) -> None:
    python_host.install("--local")
    (python_host.clone / ".venv/bin/bakeoff").unlink()
    assert "Installed into .venv" in python_host.install("--local").stdout
    assert (python_host.clone / ".venv/bin/bakeoff").exists()


def test_other_pins_are_installed_again(python_host: Host) -> None:
    python_host.install("--local")
    before = python_host.called("-r ")
    with (python_host.clone / "requirements.lock").open("a") as pins:
        pins.write("another==1.0\n")
    python_host.install("--local")
    assert len(python_host.called("-r ")) == 2 * len(before)


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


def test_a_missing_network_is_distinguished_from_other_failures(python_host: Host) -> None:
    body = WORKING_PYTHON.replace('exit "${PIP_STATUS:-0}"', 'echo "Temporary failure in name resolution"; exit 1')
    python_host.has("python3.12", body)
    assert "cannot be reached (network" in python_host.install("--local").stderr


def test_a_file_with_another_checksum_is_told_from_other_failures(python_host: Host) -> None:
    said = "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE."
    python_host.has("python3.12", WORKING_PYTHON.replace('exit "${PIP_STATUS:-0}"', f'echo "{said}"; exit 1'))
    result = python_host.install("--local")
    assert result.returncode == 1
    assert "not the one whose checksum is in requirements.lock" in result.stderr


def test_pip_takes_over_where_uv_fails(python_host: Host) -> None:
    python_host.has("uv", "exit 2")
    assert python_host.install("--local").returncode == 0
    assert python_host.called("uv pip install")
    assert python_host.called("-m pip install")


def test_local_never_looks_at_the_system(python_host: Host) -> None:
    python_host.has("apt-get")
    python_host.install("--local")
    assert not python_host.called("apt-get")
