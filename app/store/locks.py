"""The locks that let one monitor, and one rebuild, run at a time on a store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.errors import SettingError
from app.files import FileLock
from app.store.kinds import Kind, StoreLock

MONITOR, REBUILD = "monitor.lock", "rebuild.lock"


@contextmanager
def monitor_lock(folder: Path, kind: Kind, name: str = MONITOR) -> Iterator[StoreLock]:
    """The lock of that name for the store of `kind`, not acquired yet; released at the end of the block.

    Raises `SettingError` for `DATA_DIR` where the lock's file cannot be made in `folder`.
    """
    # Monitors on several hosts may share a database server, but no file: then the server keeps the lock.
    lock = kind.server.lock(name) if kind.server is not None else _file_lock(folder / name)
    try:
        yield lock
    finally:
        lock.release()


def _file_lock(path: Path) -> FileLock:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o600)  # now, so that a wrong DATA_DIR stops the start instead of the loop
    except OSError as error:
        raise SettingError("DATA_DIR", f"cannot make the lock {path}: {error.strerror}") from error
    return FileLock(path)
