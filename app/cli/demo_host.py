"""What a demo needs of its host: folders, the lock of its DATA_DIR, a free port and an administrative token."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from app.errors import SettingError
from app.files import FileLock
from app.settings import Settings

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
    """Where this host reaches the api."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - compared, not bound
    return f"http://[{host}]:{settings.api_port}" if ":" in host else f"http://{host}:{settings.api_port}"


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
