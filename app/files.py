"""Durable writes, and locks between processes by files; every lock is free again when its holder ends, however it ends.

The locks are `flock` on an open file, not process ids: containers that share a folder do not share process ids.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Self

import msgspec

_FOLDER_LOCK = ".lock"
_POLL_S = 0.001


@contextmanager
def creating(path: Path, mode: int = 0o644) -> Iterator[IO[bytes]]:
    """A file to write to, which must not exist yet; on disk when the block ends. Raises `OSError`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def write_new(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Put `data` on disk in a file that must not exist yet. Raises `OSError`."""
    with creating(path, mode) as file:
        file.write(data)


@contextmanager
def written_as_a_whole(target: Path | None, before_naming: Callable[[], None] = lambda: None) -> Iterator[IO[bytes]]:
    """A file, closed to others, that gets its name at the end of the block, and is removed if that fails.

    Without a `target` it is standard output. What `before_naming` raises keeps the file from getting its name. Raises
    `OSError`.
    """
    if target is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    # Under another name at first: a file with this name is always a complete one.
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with creating(draft, mode=0o600) as file:
            yield file
        before_naming()
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Wait until the names in `folder` are on disk: a rename survives a crash only after that."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(path: Path, data: bytes) -> None:
    """Replace a file as a whole: a reader, or a crash, sees the old content or the new. Call it under a lock."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)  # of a process that was killed here
    write_new(beside, data)
    beside.replace(path)
    sync_folder(path.parent)


class HeldLock:
    """A lock on an open file, until `release` or the end of the process. As a context manager, until the block ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Free the lock. Harmless when repeated."""
        if self._descriptor >= 0:
            os.close(self._descriptor)  # closing frees it; the file stays, since another process may have it open
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_reason: object) -> None:
        self.release()


def lock(path: Path, *, shared: bool = False, wait_s: float | None = None, mode: int = 0o644) -> HeldLock:
    """Lock the file at `path`, which is made if it is missing: exclusively, or `shared` with other shared holders.

    Raises `BlockingIOError` where it is not free within `wait_s` seconds (None: waits for ever), and `OSError`.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
    try:
        _flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, wait_s)
    except BaseException:
        os.close(descriptor)
        raise
    return HeldLock(descriptor)


def _flock(descriptor: int, operation: int, wait_s: float | None) -> None:
    if wait_s is None:
        return fcntl.flock(descriptor, operation)  # the kernel wakes a waiter when the lock is free
    # The kernel has no wait with a limit, so this one polls.
    deadline_s = time.monotonic() + wait_s
    while True:
        try:
            return fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline_s:
                raise
        time.sleep(_POLL_S)


@contextmanager
def lock_if_possible(path: Path) -> Iterator[None]:
    """Hold the lock on the file at `path` for the block; run the block without it where the file cannot be made."""
    held: HeldLock | nullcontext[None]
    try:
        held = lock(path, mode=0o600)
    except OSError:
        held = nullcontext()
    with held:
        yield


@contextmanager
def folder_lock(folder: Path, wait_s: float | None = None) -> Iterator[None]:
    """Hold the writers' lock of `folder`, which is made if it is missing, for the block.

    Raises `BlockingIOError` where it is not free within `wait_s` seconds (None: waits for ever), and `OSError`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with lock(folder / _FOLDER_LOCK, wait_s=wait_s):
        yield


class FileLock:
    """A lock on the file at `path` that is tried for, never waited for. Making one touches nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: HeldLock | None = None

    def acquire(self) -> bool:
        """Whether the lock is ours now; does not wait. Raises `OSError` where the file cannot be made."""
        if self._held is None:
            try:
                self._held = lock(self._path, wait_s=0, mode=0o600)
            except BlockingIOError:
                return False
        return True

    def held(self) -> bool:
        """Whether it still is ours: the kernel takes it from no living process."""
        return self._held is not None

    def release(self) -> None:
        """Free the lock. Harmless when repeated."""
        if self._held is not None:
            self._held.release()
            self._held = None


class LockFile(msgspec.Struct, frozen=True):
    """A locked file of this process's own: written through `descriptor`; closing that frees the lock."""

    descriptor: int
    path: Path


def hold(folder: Path, suffix: str, text: bytes) -> LockFile:
    """A new locked file in `folder` (made if it is missing) that begins with `text`. Raises `OSError`.

    It shows other processes that this one lives: see `is_held`.
    """
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
    """All files that `hold` made with that suffix, of living processes and of dead ones."""
    return [folder / name for name in os.listdir(folder) if name.endswith(suffix)]  # noqa: PTH208 - glob is 10 × slower


def is_held(path: Path) -> bool:
    """Whether the process that made the file by `hold` lives; False where the file is gone."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not is_free(descriptor)
    finally:
        os.close(descriptor)


def is_free(descriptor: int) -> bool:
    """Whether nobody holds the lock on the open file any more."""
    try:
        # Shared: two processes that ask at once must not take each other for the holder.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
