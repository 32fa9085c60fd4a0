"""How far each recorder process of this host has come, so that a reader in one can wait for the others.

A process writes two numbers into a small mapped file and holds a lock on it that dies with it. A process id would not
do: containers that share a folder do not share process ids.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
import struct
from collections.abc import Mapping, MutableSequence
from pathlib import Path

_LAYOUT = struct.Struct("=QQ")
_SUFFIX = ".progress"


class SharedProgress:
    """The progress files in `folder`. Making one touches nothing; `open` is called once in each worker process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None
        self._path: Path | None = None

    def open(self) -> MutableSequence[int]:
        """This process's numbers, to be written in place: rows accepted, rows settled. Raises `OSError`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
        name = f"{os.getpid()}-{secrets.token_hex(4)}"
        draft, path = self._folder / f".{name}", self._folder / f"{name}{_SUFFIX}"
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            # Written, not only lengthened: a page that a full disk cannot hold would kill the process at its touch.
            os.write(descriptor, bytes(_LAYOUT.size))
            numbers = memoryview(mmap.mmap(descriptor, _LAYOUT.size)).cast("Q")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            draft.rename(path)  # seen only once locked, or another process would take it for a dead one's
        except OSError:
            os.close(descriptor)
            draft.unlink(missing_ok=True)
            raise
        self._descriptor, self._path = descriptor, path
        return numbers  # type: ignore[return-value]

    def all(self) -> Mapping[str, tuple[int, int]]:
        """The (accepted, settled) of each live process by name; what dead ones left behind is removed."""
        numbers = {path.name: _read(path) for path in self._files()}
        return {name: pair for name, pair in numbers.items() if pair is not None}

    def alive(self) -> bool:
        """Whether any process of any container records here now."""
        if not self._folder.is_dir():
            return False
        return any(_held(path) for path in self._files())

    def close(self) -> None:
        """Withdraw this process's numbers."""
        if self._descriptor is not None and self._path is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = self._path = None

    def _sweep(self) -> None:
        for path in self._files():
            _read(path, dead_only=True)

    def _files(self) -> list[Path]:
        return [self._folder / name for name in os.listdir(self._folder) if name.endswith(_SUFFIX)]  # noqa: PTH208 - glob is 10 × slower


def _read(path: Path, *, dead_only: bool = False) -> tuple[int, int] | None:
    """The numbers of a process; the file of a dead one is removed, without asking where nobody would wait for it."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        accepted, settled = _LAYOUT.unpack(os.pread(descriptor, _LAYOUT.size, 0))
        if (dead_only or settled < accepted) and _free(descriptor):
            path.unlink(missing_ok=True)
            return None
        return accepted, settled
    finally:
        os.close(descriptor)


def _held(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not _free(descriptor)
    finally:
        os.close(descriptor)


def _free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
