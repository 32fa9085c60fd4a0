"""What the installer asks of the system, and how it says what is in the way: without root, network or Docker."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.infra.installer_host import WORKING_PYTHON, Host

MANAGERS = ["apt-get", "dnf", "yum"]
GIVES_DOCKER = (
    'case "$*" in *"-y docker"*) printf "#!/usr/bin/env bash\\n" >"${0%/*}/docker"; chmod +x "${0%/*}/docker" ;; esac'
)
TOOLS = ("chmod", "uname", "install", "mv", "rm", "mktemp")


def knowing(*packages: str) -> str:
    """The body of a package manager's query that knows these packages and those of every system."""
    return f'case " bash {" ".join(packages)} " in *" ${{@: -1}} "*) echo known ;; esac'


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host with Python and sudo; no package manager, no Docker."""
    host = Host(tmp_path)
    host.links(*TOOLS)
    host.has("python3.12", WORKING_PYTHON)
    host.has("sudo", '[ "$1" != -n ] || shift\n"$@"')
    host.has("usermod")
    return host


@pytest.fixture
def debian(host: Host) -> Host:
    """A host with apt-get, which can install Docker and Compose."""
    host.has("apt-get", GIVES_DOCKER)
    host.has("apt-cache", knowing("docker.io", "docker-compose-v2"))
    return host


def installs(host: Host) -> list[str]:
    """What package managers were asked to install."""
    return [line.split(" install -y ")[1] for line in host.called(" install -y ") if not line.startswith("sudo")]


@pytest.mark.parametrize("manager", MANAGERS)
def test_nothing_is_installed_on_the_system_without_a_yes(host: Host, manager: str) -> None:
    host.has(manager, "echo known")
    host.has("apt-cache", "echo known")
    result = host.install()
    assert result.returncode == 0, result.stderr
    assert f"To install: {manager} install -y docker" in result.stdout
    assert not installs(host)


@pytest.mark.parametrize("manager", ["dnf", "yum"])
def test_the_packages_of_red_hats_kin_are_found(host: Host, manager: str) -> None:
    host.has(manager, f"{knowing('docker', 'docker-compose-plugin')}\n{GIVES_DOCKER}")
    result = host.install("--yes")
    assert result.returncode == 0, result.stderr
    assert installs(host) == ["docker docker-compose-plugin"]


@pytest.mark.parametrize(
    ("known", "chosen"),
    [
        (["docker.io", "docker-compose-v2", "docker-buildx"], "docker.io docker-buildx docker-compose-v2"),
        (["docker.io", "docker-compose"], "docker.io docker-compose"),
        (
            ["docker-ce", "docker-compose-plugin", "docker-buildx-plugin"],
            "docker-ce docker-buildx-plugin docker-compose-plugin",
        ),
    ],
)
def test_the_packages_of_debians_kin_are_found(debian: Host, known: list[str], chosen: str) -> None:
    debian.has("apt-cache", knowing(*known))
    assert debian.install("--yes").returncode == 0
    assert installs(debian) == [chosen]


def test_it_says_what_it_did(debian: Host) -> None:
    assert "  - installed the packages: docker.io docker-compose-v2" in debian.install("--yes").stdout


def test_a_host_that_has_both_is_left_alone(debian: Host) -> None:
    debian.has("docker")
    result = debian.install("--yes")
    assert "Docker and Compose are installed.\nNothing was changed on this host." in result.stdout
    assert not debian.called("apt-get")


def test_a_server_gets_no_python_packages(debian: Host) -> None:
    assert debian.install("--yes", "--host-only").returncode == 0
    assert installs(debian)
    assert not debian.called("python3.12")
    assert not (debian.clone / ".venv").exists()


def test_a_server_without_docker_is_a_failure(debian: Host) -> None:
    assert debian.install("--host-only").returncode == 1


def test_a_missing_python_is_installed_too(debian: Host) -> None:
    (debian.bin / "python3.12").rename(debian.bin / "python.package")
    debian.has("apt-cache", knowing("docker.io", "docker-compose", "python3.11-venv"))
    debian.has(
        "apt-get", f'case "$*" in *venv*) cp "${{0%/*}}/python.package" "${{0%/*}}/python3.11" ;; esac\n{GIVES_DOCKER}'
    )
    result = debian.install("--yes")
    assert result.returncode == 0, result.stderr
    assert installs(debian) == ["python3.11-venv", "docker.io docker-compose"]


def test_packages_that_cannot_be_installed_are_a_failure(debian: Host) -> None:
    debian.has("apt-get", 'echo "E: Sub-process returned an error"; exit 100')
    result = debian.install("--yes")
    assert result.returncode == 1
    assert "E: Sub-process returned an error" in result.stderr
    assert "apt-get could not install: docker.io docker-compose-v2" in result.stderr


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("Temporary failure resolving the archive", "cannot be reached (network"),
        ("E: You don't have enough free space", "the disk is full"),
        ("Curl error (6): Could not resolve hostname", "cannot be reached (network"),
        ("At least 40MB more space needed on the / filesystem", "the disk is full"),
    ],
)
def test_the_cause_is_read_from_the_package_manager(debian: Host, said: str, cause: str) -> None:
    debian.has("apt-get", f'echo "{said}"; exit 100')
    assert cause in debian.install("--yes").stderr


def test_lists_that_cannot_be_read_are_distinguished_from_a_missing_package(debian: Host) -> None:
    debian.has("apt-get", 'echo "W: Temporary failure resolving the archive"')
    debian.has("apt-cache")
    result = debian.install("--yes")
    assert "could not read its package lists" in result.stderr
    assert "cannot be reached" in result.stderr


def test_no_room_for_docker_is_said_before_anything_is_installed(debian: Host) -> None:
    (debian.bin / "df").unlink()
    debian.has("df", 'printf "Filesystem 1024-blocks Used Available\\n/dev/x 1 1 2048\\n"')
    result = debian.install("--yes", "--host-only")
    assert result.returncode == 1
    assert "not enough disk space: 2 MB are free in /var" in result.stderr
    assert not installs(debian)


def test_an_unknown_system_is_named(host: Host) -> None:
    release = host.release('PRETTY_NAME="Plan 9"')
    result = host.install("--yes", OS_RELEASE=release)
    assert result.returncode == 1
    assert "This system (Plan 9) has neither apt-get, dnf nor yum" in result.stdout


def test_without_root_and_sudo_it_says_so(debian: Host) -> None:
    (debian.bin / "sudo").unlink()
    (debian.bin / "id").unlink()
    debian.has("id", 'if [ "$1" = -un ]; then echo ann; else echo 1000; fi')
    result = debian.install("--yes")
    assert result.returncode == 1
    assert "needs root, and this user (ann) has no sudo" in result.stdout
    assert not installs(debian)


def test_podmans_stand_in_is_refused(debian: Host) -> None:
    debian.has("docker", 'echo "podman version 4.9"')
    result = debian.install("--yes")
    assert result.returncode == 1
    assert "Podman's stand-in" in result.stderr


def test_dockers_own_repository_needs_a_yes(host: Host) -> None:
    host.has("dnf", knowing())
    result = host.install(OS_RELEASE=host.release('ID="rocky"'))
    assert "To add Docker's own package repository: https://download.docker.com/linux/centos/" in result.stdout
    assert "Not done: nobody is there to ask." in result.stdout


def test_a_system_for_which_nobody_packs_docker_is_named(host: Host) -> None:
    host.has("dnf", knowing())
    result = host.install("--yes", OS_RELEASE=host.release('ID="other"\nPRETTY_NAME="Other 1"'))
    assert result.returncode == 1
    assert "dnf knows no package of Docker: see Docker's own instructions for Other 1" in result.stdout


@pytest.mark.parametrize("checksum", ["", "abc", "G" * 64, "A" * 63])
def test_an_address_of_compose_without_its_checksum_is_refused(host: Host, checksum: str) -> None:
    host.has("docker", "exit 1")
    host.has("dnf", knowing())
    result = host.install("--yes", COMPOSE_URL="http://localhost/compose", COMPOSE_SHA256=checksum)
    assert result.returncode == 1
    assert "COMPOSE_SHA256 must hold the SHA-256" in result.stderr


def test_a_machine_without_a_known_compose_learns_what_to_set(host: Host) -> None:
    (host.bin / "uname").unlink()
    host.has("uname", "echo riscv64")
    host.has("docker", "exit 1")
    host.has("dnf", knowing())
    assert "(riscv64): set COMPOSE_URL and COMPOSE_SHA256" in host.install("--yes").stderr


def test_a_user_joins_the_group_docker_only_with_a_yes(debian: Host) -> None:
    debian.has("docker")
    (debian.bin / "id").unlink()
    debian.has("id", 'case "$1" in -un) echo ann ;; -nG) echo staff ;; *) echo 1000 ;; esac')
    refused = debian.install()
    assert "can thereby become root" in refused.stdout
    assert not debian.called("usermod")
    debian.install("--yes")
    assert "usermod -aG docker ann" in debian.called("usermod")


def test_local_and_host_only_contradict_each_other(host: Host) -> None:
    result = host.install("--local", "--host-only")
    assert result.returncode == 1
    assert "leave nothing to install" in result.stderr


def test_what_is_there_is_not_installed_again(debian: Host) -> None:
    debian.has("docker", '[ "$1" != compose ]')
    assert debian.install("--yes").returncode == 0
    assert installs(debian) == ["docker-compose-v2"]
