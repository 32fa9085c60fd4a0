"""The lock that makes the monitor one: it dies with its holder, however that one ends.

A file's, or where a server has the store a lock of that server.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from app.errors import SettingError
from app.store.kinds import Kind, ServerLock

MONITOR, REBUILD = "monitor.lock", "rebuild.lock"


class MonitorLock:
    """A lock on a file in `folder`, which is made where it is missing. Raises `SettingError` where that cannot be."""

    def __init__(self, folder: Path, name: str = MONITOR) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SettingError("DATA_DIR", f"cannot make the lock {folder / name}: {error.strerror}") from error

    def acquire(self) -> bool:
        """Whether the lock is ours now; does not wait."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def held(self) -> bool:
        """Whether it still is: nothing takes it away."""
        return True

    def release(self) -> None:
        """Let another one have it; once more is harmless."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_reason: object) -> None:
        self.release()


@contextmanager
def monitor_lock(folder: Path, kind: Kind, name: str = MONITOR) -> Iterator[ServerLock | MonitorLock]:
    """The lock of that name, not acquired yet, for the store of `kind`; released at the end of the block.

    Raises `SettingError`.
    """
    lock = kind.lock(name) or MonitorLock(folder, name)
    try:
        yield lock
    finally:
        lock.release()
