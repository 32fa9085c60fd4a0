"""terraform/host/data-volume.sh on a real disk: what it keeps for the next host, and what it never overwrites."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.infra.repository import ROOT

SCRIPT = ROOT / "terraform" / "host" / "data-volume.sh"
# Runs data-volume.sh as each boot's setup.sh would, with a disk made of a file, in a namespace of mounts of its own.
ON_A_DISK = """set -euo pipefail
cd "$1"
disk="$(losetup --find --show disk)"
trap 'umount -q opt/bakeoff containerd docker mnt || true; losetup -d "$disk"' EXIT
mkdir -p dev && ln -sfn "$disk" dev/sdf
bash -c "$2"
"""
CAN_MOUNT = (
    os.getuid() == 0
    and shutil.which("mkfs.ext4") is not None
    and subprocess.run(["unshare", "-m", "losetup", "--find"], capture_output=True).returncode == 0
)


def data_volume(place: Path, then: str = "true") -> subprocess.CompletedProcess[str]:
    """data-volume.sh below a folder, and a command after it."""
    script = SCRIPT.read_text()
    for name, folder in {
        "CONFIG": "etc", "PLACE": "mnt", "DOCKER": "docker", "CONTAINERD": "containerd", "RELEASE": "opt/bakeoff",
        "FSTAB": "etc/fstab", "UNITS": "etc/units", "DEVICES": "dev", "WAIT_SECONDS": "0",
    }.items():  # fmt: skip
        value = folder if name == "WAIT_SECONDS" else place / folder
        script, count = re.subn(rf"^{name}=.*$", f"{name}={value}", script, count=1, flags=re.M)
        assert count == 1, name
    (place / "etc").mkdir(exist_ok=True)
    (place / "etc/host.conf").write_text("DATA_VOLUME='vol-0a'\n")
    (place / "etc/fstab").touch()
    (place / "opt/bakeoff").mkdir(parents=True, exist_ok=True)
    # Each unit is active; noted is what was done to it, and whether Docker's folder was mounted already.
    (place / "systemctl").write_text(
        f"#!/bin/sh\nmountpoint -q {place}/docker && when=mounted || when=before\n"
        f'[ "$1" = is-active ] || echo "$when: $*" >>{place}/systemctl.log\n'
    )
    (place / "systemctl").chmod(0o755)
    (place / "data-volume.sh").write_text(script)
    env = {**os.environ, "PATH": f"{place}:{os.environ['PATH']}"}
    command = ["unshare", "-m", "bash", "-c", ON_A_DISK, "x", str(place), f"bash data-volume.sh && {then}"]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)


@pytest.fixture
def blank(tmp_path: Path) -> Path:
    """A folder with a disk as new as a new EBS volume."""
    if not CAN_MOUNT:
        pytest.skip("this user may not mount a disk (root with a loop device may): data-volume.sh was not run")
    with (tmp_path / "disk").open("wb") as disk:
        disk.truncate(64 * 1024 * 1024)
    return tmp_path


def test_the_next_host_finds_the_state_and_the_release_of_the_one_before(blank: Path) -> None:
    (blank / "opt/bakeoff").mkdir(parents=True)
    (blank / "opt/bakeoff/.env").write_text("ADMIN_TOKEN=first\n")
    first = data_volume(blank, "echo log >docker/log && bash data-volume.sh && echo twice")
    assert first.returncode == 0, first.stderr
    assert "formatted vol-0a" in first.stdout
    assert first.stdout.endswith("twice\n")
    # Its own disk has nothing of it.
    assert not (blank / "docker/log").exists()
    (blank / "opt/bakeoff/.env").write_text("ADMIN_TOKEN=of the new host\n")
    second = data_volume(blank, "cat docker/log opt/bakeoff/.env")
    assert second.returncode == 0, second.stderr
    assert "formatted" not in second.stdout
    assert second.stdout.endswith("log\nADMIN_TOKEN=first\n")


def test_after_a_boot_docker_waits_for_the_volume_and_starts_empty_never(blank: Path) -> None:
    assert data_volume(blank).returncode == 0
    table = (blank / "etc/fstab").read_text().splitlines()
    assert re.match(rf"UUID=\S+ {blank}/mnt ext4 \S*nofail\S*x-systemd.growfs", table[0])
    assert [line.split()[1:4:2] for line in table[1:]] == [
        [f"{blank}/{name}", f"bind,nofail,x-systemd.requires-mounts-for={blank}/mnt"]
        for name in ("docker", "containerd", "opt/bakeoff")
    ]
    assert data_volume(blank).returncode == 0
    assert len((blank / "etc/fstab").read_text().splitlines()) == 4
    for unit in ("docker", "containerd"):
        drop_in = (blank / f"etc/units/{unit}.service.d/bakeoff-data.conf").read_text()
        assert drop_in == f"[Unit]\nRequiresMountsFor={blank}/docker {blank}/containerd {blank}/opt/bakeoff\n"


def test_a_docker_that_came_with_the_image_is_stopped_before_its_folders_are_hidden(blank: Path) -> None:
    assert data_volume(blank).returncode == 0
    done = (blank / "systemctl.log").read_text().splitlines()
    assert done[:3] == [f"before: stop {unit}" for unit in ("docker.socket", "docker.service", "containerd.service")]


def test_docker_is_held_back_before_a_boot_could_complete_an_interrupted_run(blank: Path) -> None:
    (blank / "etc/fstab.new").mkdir(parents=True)  # writing fstab fails
    assert data_volume(blank).returncode == 1
    assert (blank / "etc/fstab").read_text() == ""
    assert (blank / "etc/units/docker.service.d/bakeoff-data.conf").exists()


def test_a_volume_with_anything_else_on_it_is_not_formatted(blank: Path) -> None:
    (blank / "disk").write_bytes(b"\0" * 4096 + b"what somebody keeps" + b"\0" * 2**20)
    before = (blank / "disk").read_bytes()
    done = data_volume(blank)
    assert done.returncode == 1
    assert "cannot be mounted; nothing on it was changed" in done.stderr
    assert (blank / "disk").read_bytes() == before


def test_a_host_whose_state_is_not_on_the_volume_is_left_alone(blank: Path) -> None:
    (blank / "docker/volumes/bakeoff_data").mkdir(parents=True)
    done = data_volume(blank)
    assert done.returncode == 1
    assert "has its state in" in done.stderr
    assert (blank / "disk").read_bytes() == b"\0" * 64 * 1024 * 1024
