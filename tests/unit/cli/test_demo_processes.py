"""Children that are started, watched and stopped: also those that do not want to stop."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.demo_host import Interrupted, Processes
from tests.waiting import eventually

STUBBORN = "trap '' TERM; echo ready; while :; do sleep 0.05; done"


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path, {**os.environ, "SETTING": "told"}) as running:
        yield running


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


def printed(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_a_part_writes_to_its_log_and_has_the_environment(parts: Processes) -> None:
    parts.start("part", shell('echo "$SETTING"; echo wrong >&2'))
    eventually(lambda: not parts.is_running("part"))
    assert parts.log("part").read_text() == "told\nwrong\n"


def test_a_command_that_runs_to_its_end_gives_its_exit_status(parts: Processes) -> None:
    assert [parts.run(shell(f"exit {status}")) for status in (0, 3)] == [0, 3]


def test_the_end_of_a_part_is_reported_once_and_its_children_end_too(parts: Processes, tmp_path: Path) -> None:
    parts.start("part", shell(f"sleep 60 & echo $! > {tmp_path / 'child'}"))
    assert eventually(parts.take_ended) == ["part"]
    assert parts.take_ended() == []
    child = int((tmp_path / "child").read_text())
    eventually(lambda: not _lives(child))


def test_parts_are_stopped_with_sigterm_the_last_one_first(tmp_path: Path) -> None:
    order = tmp_path / "order"
    with Processes(tmp_path, os.environ) as parts:
        for name in ("first", "second"):
            script = f"trap 'echo {name} >> {order}; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
            parts.start(name, shell(script))
            eventually(lambda name=name: printed(parts.log(name)))
    assert order.read_text().split() == ["second", "first"]
    assert not parts.is_running("first")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_a_signal_ends_the_wait_and_gives_the_exit_status(parts: Processes, number: int, status: int) -> None:
    os.kill(os.getpid(), number)
    with pytest.raises(Interrupted) as interrupted:
        parts.wait(60)
    assert interrupted.value.exit_status == status


def test_a_signal_during_a_step_stops_the_step(tmp_path: Path) -> None:
    noted = tmp_path / "noted"
    script = f"trap 'echo stopped > {noted}; exit 0' TERM; kill -INT {os.getpid()}; while :; do sleep 0.05; done"
    with pytest.raises(Interrupted), Processes(tmp_path, os.environ) as parts:
        parts.run(shell(script))
    assert noted.read_text() == "stopped\n"


def test_a_second_signal_kills_what_ignores_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Processes(tmp_path, os.environ) as parts:
        parts.start("stubborn", shell(STUBBORN))
        parts.start("sender", shell(f"trap 'kill -INT {os.getpid()}; exit 0' TERM; echo; while :; do sleep 0.05; done"))
        eventually(lambda: printed(parts.log("stubborn")) and printed(parts.log("sender")))
    assert "stubborn did not stop in time and was killed" in capsys.readouterr().err


def test_the_handlers_of_before_are_back_afterwards(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Processes(tmp_path, os.environ):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_part_cannot_read_what_is_typed(parts: Processes) -> None:
    assert parts.run([sys.executable, "-c", "import sys; sys.exit(sys.stdin.read() != '')"]) == 0


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
