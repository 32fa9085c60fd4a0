"""Start, watch and stop child processes: what `bakeoff demo` supervises its parts with."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NamedTuple, Self, TextIO

_STOP_S = 35.0  # the api drains for up to 30 s
_TICK_S = 0.1
_HEEDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """A signal asked the program to end. `exit_status` is what a shell reports for it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_status = 130 if number == signal.SIGINT else 143


class _Part(NamedTuple):
    name: str
    process: subprocess.Popen[bytes]


class Processes:
    """Child processes, each in a process group of its own: a Ctrl-C reaches them through `stop` alone, in order.

    Used as a context manager: from entry to exit it heeds SIGINT, SIGTERM and SIGHUP, and the exit stops every child.
    A handler only takes a note of the signal, and the next wait raises `Interrupted`: an exception in the middle of a
    start could leave a child behind that nobody stops.
    """

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self._logs = logs
        self._environment = dict(environment)
        self._parts: list[_Part] = []
        self._signals: list[int] = []
        self._former: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> Self:
        self._former = {number: signal.signal(number, self._note) for number in _HEEDED}
        return self

    def __exit__(self, *_reason: object) -> None:
        self.stop()
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start a part in the background; what it prints goes to its log."""
        with self.log(name).open("wb") as log:
            self._parts.append(_Part(name, self._spawned(command, log.fileno())))

    def run(self, command: Sequence[str]) -> int:
        """The exit status of a command that prints here. Raises `Interrupted`, after which `stop` ends the command."""
        step = _Part("the running step", self._spawned(command, None))
        self._parts.append(step)
        while (status := step.process.poll()) is None:
            self.wait(_TICK_S)
        self._parts.remove(step)
        return status

    def is_running(self, name: str) -> bool:
        """Whether the part was started and has not ended."""
        return any(part.name == name and part.process.poll() is None for part in self._parts)

    def take_ended(self) -> list[str]:
        """The parts that have ended since the last call."""
        ended = [part for part in self._parts if part.process.poll() is not None]
        for part in ended:
            self._parts.remove(part)
            _kill_group(part)
        return [part.name for part in ended]

    def log(self, name: str) -> Path:
        """Where a part's output goes."""
        return self._logs / f"{name}.log"

    def wait(self, seconds: float) -> None:
        """Let time pass. Raises `Interrupted` as soon as a signal has come."""
        deadline = time.monotonic() + seconds
        while not self._signals and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, _TICK_S))
        if self._signals:
            raise Interrupted(self._signals[0])

    def stop(self) -> None:
        """Stop every part, the last one first. A further SIGINT or SIGTERM kills what has not stopped yet."""
        known = len(self._signals)
        if self._parts:
            _say("Stopping ...", sys.stdout)
        for part in reversed(self._parts):
            self._stop(part, known)
        self._parts.clear()

    def _stop(self, part: _Part, known: int) -> None:
        """Ask with SIGTERM, wait, and kill what is left of the process group."""
        deadline = time.monotonic() + _STOP_S
        part.process.terminate()
        while part.process.poll() is None and time.monotonic() < deadline and not self._hurried(known):
            time.sleep(_TICK_S)
        if part.process.poll() is None:
            _say(f"{part.name} did not stop in time and was killed", sys.stderr)
        _kill_group(part)
        part.process.wait()

    def _hurried(self, known: int) -> bool:
        return any(number != signal.SIGHUP for number in self._signals[known:])

    def _spawned(self, command: Sequence[str], output: int | None) -> subprocess.Popen[bytes]:
        sys.stdout.flush()
        return subprocess.Popen(  # noqa: S603 - a list, no shell; the commands are our own
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            env=self._environment,
            process_group=0,
        )

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._signals.append(number)


def _kill_group(part: _Part) -> None:
    """Kill what a part has left running: the group outlives its leader."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS refuses where only a zombie is left
        os.killpg(part.process.pid, signal.SIGKILL)


def _say(text: str, stream: TextIO) -> None:
    """Print; a terminal that is gone must not keep the parts from being stopped."""
    with contextlib.suppress(OSError):
        print(text, file=stream, flush=True)
