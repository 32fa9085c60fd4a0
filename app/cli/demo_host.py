"""What a demo needs of its host: folders, a lock, a free port, a token, and supervised child processes."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NamedTuple, Self, TextIO

from app.errors import SettingError
from app.files import FileLock
from app.settings import Settings, url_of

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


# What names the process that listens on a port, and how it prints that: Linux, then macOS.
_LISTENERS = (
    (("ss", "-ltnpH", "sport = :{port}"), r'users:\(\("([^"]*)",pid=(\d+)'),
    (("lsof", "-nP", "-iTCP:{port}", "-sTCP:LISTEN"), r"^(?!COMMAND)(\S+)\s+(\d+)"),
)


class RunningDemo(NamedTuple):
    """The demo that runs on this DATA_DIR already."""

    pid: str
    port: str


@contextlib.contextmanager
def only_demo(settings: Settings) -> Iterator[RunningDemo | None]:
    """Hold the lock of DATA_DIR, or yield the demo that has it. The lock ends with its holder, however that ends."""
    lock, note = FileLock(settings.data_dir / "demo.lock"), settings.data_dir / "demo.pid"
    try:
        running = None if lock.acquire() else _noted(note)
        if running is None:
            note.write_text(f"{os.getpid()} {settings.api_port}\n")
    except OSError as error:
        raise SettingError("DATA_DIR", f"cannot write in {settings.data_dir}: {error.strerror or error}") from error
    try:
        yield running
    finally:
        if running is None:
            note.unlink(missing_ok=True)
        lock.release()


def _noted(note: Path) -> RunningDemo:
    """What the lock's holder has written; it may have taken the lock a moment ago, and not have written yet."""
    words = note.read_text().split() if note.exists() else []
    pid, port, *_ = [*words, "unknown", "unknown"]
    return RunningDemo(pid, port)


def make_folder(folder: Path, named_by: str) -> None:
    """Make a folder where it is missing. Raises `SettingError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(named_by, f"cannot make the folder {folder}: {error.strerror or error}") from error


def admin_token(settings: Settings) -> tuple[str, str]:
    """The administrative token, and where it is from: ADMIN_TOKEN, or a file that only this user can read."""
    if settings.admin_token is not None:
        return settings.admin_token, "ADMIN_TOKEN, as you set it"
    path = settings.data_dir / "admin.token"
    path.touch(0o600)
    path.chmod(0o600)
    if not path.read_text().strip():
        path.write_text(secrets.token_urlsafe(32))
    return path.read_text().strip(), f"in {path}"


def local_url(settings: Settings) -> str:
    """Where this host reaches all calls of the api."""
    return url_of(*(settings.admin_bind or (settings.host, settings.api_port)))


def require_free_port(settings: Settings) -> None:
    """Raises `SettingError` where something listens on API_PORT, with its name."""
    port = settings.api_port
    if not is_free(settings.host, port):
        raise SettingError(
            "API_PORT", f"port {port} is taken by {listener_on(port)}. Stop that, or choose another: API_PORT=5001"
        )


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now. Raises `SettingError` where no port of the host could be had."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise SettingError("HOST", f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    return True


def listener_on(port: int) -> str:
    """The process that listens on a port, as far as this user may know."""
    for command, pattern in _LISTENERS:
        with contextlib.suppress(OSError):  # not every host has the tool
            words = [word.format(port=port) for word in command]
            printed = subprocess.run(words, capture_output=True, text=True, check=False).stdout  # noqa: S603 - no shell
            if match := re.search(pattern, printed, re.MULTILINE):
                return f"{match[1]} (process {match[2]})"
    return "another process"
