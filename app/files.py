"""Writes that survive a crash, and the lock that makes writers of one folder take turns.

Files that say which processes live: each holds a lock on its own, which dies with it, however it ends.

A process id would not do: containers that share a folder do not share process ids.

Take turns between processes: whoever waits is woken when the turn is free.

SQLite's own waiting sleeps ever longer between looks; beside a writer that always has more to write, another one sleeps
through most of its chances.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

_LOCK = ".lock"


def write_new(path: Path, data: bytes) -> None:
    """Put `data` on disk in a file that must not exist yet, and wait until it is there."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names in `folder` are on disk: a rename lasts only after that."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(path: Path, data: bytes) -> None:
    """Change a file as a whole: a reader, or a crash, sees the old content or the new. Call it under the lock."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    write_new(beside, data)
    beside.replace(path)
    sync_folder(path.parent)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the writers' lock of `folder`, which is made where it is missing; the lock dies with its process."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class LockFile(msgspec.Struct, frozen=True):
    """A file of this process's own: written through `descriptor`, whose closing lets go of the lock."""

    descriptor: int
    path: Path


def hold(folder: Path, suffix: str, text: bytes) -> LockFile:
    """A new file in `folder` (made where it is missing) that begins with `text` and is locked. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{os.getpid()}-{secrets.token_hex(4)}"
    draft, path = folder / f".{name}", folder / f"{name}{suffix}"
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, text)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        draft.rename(path)  # seen only once locked, or another process would take it for a dead one's
    except OSError:
        os.close(descriptor)
        draft.unlink(missing_ok=True)
        raise
    return LockFile(descriptor, path)


def files_of(folder: Path, suffix: str) -> list[Path]:
    """All such files, of the living and the dead."""
    return [folder / name for name in os.listdir(folder) if name.endswith(suffix)]  # noqa: PTH208 - glob is 10 × slower


def is_held(path: Path) -> bool:
    """Whether the process that made the file lives; a file that is gone is nobody's."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not is_free(descriptor)
    finally:
        os.close(descriptor)


def is_free(descriptor: int) -> bool:
    """Whether nobody holds the open file any more. Askers do not mistake each other for its holder."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class ProcessLock:
    """Turns by a lock on the file at `path`, which dies with its holder. Holds nothing open, so it may cross a fork."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def taken(self) -> Iterator[None]:
        """The turn, for the block; where the file cannot be had, the block runs without: the store still locks."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            yield
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
