"""Files that say which processes live: each holds a lock on its own, which dies with it, however it ends.

A process id would not do: containers that share a folder do not share process ids.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path

import msgspec


class HeldFile(msgspec.Struct, frozen=True):
    """A file of this process's own: written through `descriptor`, whose closing lets go of the lock."""

    descriptor: int
    path: Path


def hold(folder: Path, suffix: str, text: bytes) -> HeldFile:
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
    return HeldFile(descriptor, path)


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
