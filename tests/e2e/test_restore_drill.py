"""The restore drill beside a real stack: it believes a good backup, and none that is cut short, changed or untrue."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import requests

from app.store.backup import STORE, unpack, write
from tests.stack import ROOT, Stack, clean_environment, output, running
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.docker]


def of_stack(stack: Stack, tag: str) -> dict[str, str]:
    """The settings by which the scripts of docker/ find this stack."""
    return {"COMPOSE_PROJECT_NAME": stack.project, "BAKEOFF_TAG": tag, "ADMIN_TOKEN": "token-of-the-tests"}


class Drills(msgspec.Struct, frozen=True):
    """A stack with labelled predictions, and a backup of it."""

    stack: Stack
    tag: str
    backup: Path

    def run(self, backup: Path, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(ROOT / "docker/restore_drill.sh"), str(backup), *options],
            env=clean_environment() | of_stack(self.stack, self.tag),
            capture_output=True,
            text=True,
            timeout=400,
        )

    def left(self) -> str:
        """What is left of the copies: containers and volumes."""
        label = f"label=com.docker.compose.project={self.stack.project}-restore-drill"
        volumes = output("docker", "volume", "ls", "-q", "--filter", label)
        return output("docker", "ps", "-aq", "--filter", label) + volumes


def caught_up(stack: Stack) -> bool:
    variants = requests.get(f"{stack.api}/experiment", timeout=10).json()["variants"]
    return sum(variant["labelled"] for variant in variants) >= 150


def told(stack: Stack) -> str:
    """What the service says of its monitor, and the monitor's own log."""
    health = requests.get(f"{stack.api}/health", timeout=10).text
    return f"{health}\n{output('docker', 'logs', '--tail', '20', stack.container('monitor'))}"


@pytest.fixture(scope="module")
def drills(stack_images: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drills]:
    with running(stack_images) as stack:
        env = {**os.environ, "API_URL": stack.api}
        simulate = [sys.executable, "-m", "app", "simulate", "--requests", "200"]
        subprocess.run(simulate, cwd=ROOT, env=env, check=True, capture_output=True, timeout=180)
        # The monitor begins last, and beside other stacks it may take a minute to begin.
        eventually(lambda: caught_up(stack), timeout_s=180, explain=lambda: told(stack))
        backup = tmp_path_factory.mktemp("backups") / "bakeoff-20260101T000000Z.tar.gz"
        output("docker/backup.sh", str(backup), **of_stack(stack, stack_images))
        yield Drills(stack, stack_images, backup)


def stamped(stack: Stack) -> bool:
    return "\nlast_restore_drill_timestamp_seconds " in requests.get(f"{stack.api}/metrics", timeout=10).text


def test_a_good_backup_is_restored_its_evidence_is_equal_and_an_api_answers_from_it(drills: Drills) -> None:
    assert not stamped(drills.stack)
    done = drills.run(drills.backup.parent, "--max-age", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The backup is 0 hours old." in done.stdout
    assert "state of" in done.stdout
    assert "there was none before" not in done.stdout
    assert "DIFFERENT" not in done.stdout
    assert f"{drills.backup} can be relied on" in done.stdout
    assert drills.left() == ""
    assert eventually(lambda: stamped(drills.stack))
    assert requests.get(f"{drills.stack.api}/health", timeout=10).json()["status"] == "healthy"


def cut_short(backup: Path, into: Path) -> None:
    data = backup.read_bytes()
    into.write_bytes(data[: len(data) // 2])


def remade(backup: Path, into: Path, change: Callable[[dict[str, Path]], None]) -> None:
    """A backup with right checksums of files that `change` has worked on."""
    files = {}

    def place(name: str) -> Path:
        files[name] = into.with_suffix("") / name
        return files[name]

    with backup.open("rb") as source:
        contents = unpack(source, place)
    change(files)
    with into.open("wb") as out:
        write(out, files, contents.created_at, contents.release)


def without_a_model(backup: Path, into: Path) -> None:
    def change(files: dict[str, Path]) -> None:
        name = next(name for name in files if "/model." in name)
        data = bytearray(files[name].read_bytes())
        data[len(data) // 2] ^= 1
        files[name].write_bytes(data)

    remade(backup, into, change)


def with_less_feedback(backup: Path, into: Path) -> None:
    """The evidence has counted outcomes that the log no longer has."""

    def change(files: dict[str, Path]) -> None:
        with sqlite3.connect(files[STORE]) as store:
            assert store.execute("DELETE FROM feedback WHERE seq % 2 = 0").rowcount > 20
        store.close()

    remade(backup, into, change)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (cut_short, "is damaged"),
        (without_a_model, "was not restored, or is not whole"),
        (with_less_feedback, "differs from the restored evidence"),
    ],
    ids=["cut short", "another model", "evidence that its log does not have"],
)
def test_no_other_backup_is_believed(
    drills: Drills, tmp_path: Path, spoil: Callable[[Path, Path], None], said: str
) -> None:
    bad = tmp_path / "bakeoff-bad.tar.gz"
    spoil(drills.backup, bad)
    done = drills.run(bad)
    assert done.returncode == 1, done.stdout + done.stderr
    assert said in done.stderr, done.stderr
    assert drills.left() == ""
