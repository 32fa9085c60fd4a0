"""The commands of the runbooks, typed beside a running stack: they work, and no prediction fails meanwhile."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import requests

from tests.stack import ROOT, Stack, clean_environment, running

pytestmark = [pytest.mark.e2e, pytest.mark.docker]

RUNBOOKS = ROOT / "docs" / "runbooks.md"
_PROGRAMS = r"(?:docker(?:/\S+)?|curl|systemctl|journalctl|bakeoff|amtool)"
# Commands that are not run here, and why.
ELSEWHERE = {
    "docker/rollback.sh": "test_deploy_rolls.py runs it, under load",
    "docker image prune": "it would remove images of whoever runs this test",
    "docker/backup.sh": "it is run with a folder",
    "bakeoff doctor": "it is run in the api's container",
    "docker/restore_drill.sh": "test_restore_drill.py runs it",
    "bakeoff decide rollback --note …": "there is no guardrail that was crossed; `decide keep` is run",
    "bakeoff publish --refresh-reference": "it needs days of traffic",
    "docker compose logs litestream": "test_litestream.py has a stack with it",
    "docker compose restart litestream": "test_litestream.py has a stack with it",
    "docker stats": "it does not end by itself",
    "systemctl status bakeoff-backup": "test_user_data.py has a host with the units",
    "journalctl -u bakeoff-backup": "test_user_data.py has a host with the units",
    "systemctl status bakeoff-restore-drill": "test_user_data.py has a host with the units",
    "journalctl -u bakeoff-restore-drill": "test_user_data.py has a host with the units",
    "systemctl start bakeoff-backup": "test_user_data.py has a host with the units",
    "systemctl restart bakeoff": "test_user_data.py has a host with the units",
    "systemctl status UNIT": "test_user_data.py has a host with the units",
    "journalctl -u UNIT": "test_user_data.py has a host with the units",
}
# Those that say so where they find nothing.
MAY_FIND_NOTHING = {"docker compose logs api | grep wrong_token"}


def commands(text: str) -> list[str]:
    """The commands among the code of a page, once each, in their order. Those in a fenced block are a line each."""
    fenced = re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S)
    spans = re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S))
    lines = [line for block in fenced for line in block.splitlines()]
    found = [" ".join(each.split()) for each in (*lines, *spans)]
    return list(dict.fromkeys(each for each in found if re.match(rf"{_PROGRAMS} \S|docker/\S+\.sh$", each)))


COMMANDS = commands(RUNBOOKS.read_text())
RUN_HERE = [command for command in COMMANDS if command not in ELSEWHERE]


class Traffic:
    """Predictions, one after the other by each of two clients that keep their connections, until it is stopped."""

    def __init__(self, url: str) -> None:
        self.answered = 0
        self.failed: list[str] = []
        self._url, self._lock, self._stopping = url, threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(2)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(30)

    def _send(self) -> None:
        with requests.Session() as session:
            while not self._stopping.wait(0.005):
                try:
                    answer = session.post(f"{self._url}/predict", json={"features": [5.1, 3.5, 1.4, 0.2]}, timeout=30)
                    problem = "" if answer.status_code == 200 else answer.text
                except requests.RequestException as error:
                    problem = repr(error)
                with self._lock:
                    self.answered += not problem
                    self.failed += [problem] if problem else []


class Shell(msgspec.Struct, frozen=True):
    """A shell in the stack's folder, for the stack of the test; its ports stand for the usual ones."""

    stack: Stack
    tag: str
    folder: Path

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        typed = command
        for shown, real in {
            "localhost:5000": self.stack.api.removeprefix("http://"),
            "FOLDER": str(self.folder),
            "alertname=…": "alertname=DriftAlarm",
            "--note …": "--note why --yes",  # nobody is there to confirm it
        }.items():
            typed = typed.replace(shown, real)
        # As in .env of a host: docker/scratch.sh has started the stack with these.
        ports = dict.fromkeys(("API_PORT", "UI_PORT", "PROMETHEUS_PORT", "ALERTMANAGER_PORT", "GRAFANA_PORT"), "0")
        binds = dict.fromkeys(("BIND", "UI_BIND", "OPERATIONS_BIND"), "127.0.0.1")
        named = {"COMPOSE_PROJECT_NAME": self.stack.project, "BAKEOFF_TAG": self.tag}
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", typed],
            cwd=ROOT,
            env=clean_environment() | ports | binds | named | {"ADMIN_TOKEN": "token-of-the-tests"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )


@pytest.fixture(scope="module")
def shell(stack_images: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running(stack_images) as stack:
        yield Shell(stack, stack_images, tmp_path_factory.mktemp("backups"))


@pytest.fixture(scope="module")
def traffic(shell: Shell) -> Iterator[Traffic]:
    sent = Traffic(shell.stack.api)
    yield sent
    sent.stop()


@pytest.mark.parametrize("command", RUN_HERE)
def test_a_command_works_and_no_prediction_fails(shell: Shell, traffic: Traffic, command: str) -> None:
    done = shell.run(command)
    assert done.returncode == 0 or (command in MAY_FIND_NOTHING and not done.stderr), done.stderr + done.stdout
    assert not done.stdout.startswith('{"error"'), done.stdout
    assert traffic.failed == []


def test_predictions_flowed_all_the_while_and_none_failed(traffic: Traffic) -> None:
    traffic.stop()
    print(f"{traffic.answered} predictions, {len(traffic.failed)} failed, {os.getloadavg()[0]:.1f} load")
    assert traffic.failed == []
    assert traffic.answered > 100


def test_what_is_not_run_here_is_a_command_of_the_runbooks() -> None:
    assert set(ELSEWHERE) | MAY_FIND_NOTHING <= set(COMMANDS)


def test_the_commands_of_blocks_and_of_sentences_are_found() -> None:
    text = "Run `docker compose\nps`, not `AUTO_DECIDE`.\n\n```sh\ndocker/backup.sh backups/\n```\n"
    assert commands(text) == ["docker/backup.sh backups/", "docker compose ps"]
    assert len(RUN_HERE) > 10
