"""The generation of the shelf that a host's workers should have in memory: a file, and one from each that has it.

How far each recorder process of this host has come, so that a reader in one can wait for the others.

A process writes two numbers into a small mapped file, which it holds as long as it lives.
"""

from __future__ import annotations

import mmap
import os
import secrets
import struct
from collections.abc import Mapping, MutableSequence
from pathlib import Path

from app.files import LockFile, files_of, hold, is_free, is_held

_WANTED = "wanted"
_SUFFIX = ".worker"


class SharedGenerations:
    """Files in `folder`, which all workers of the host share, those in other containers too. Calls raise `OSError`.

    Generations are random names: who has another than the wanted one looks at the shelf, so no order is needed.
    Making one touches nothing; `confirm` is for the worker process alone, after the fork.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own: LockFile | None = None

    def current(self) -> str:
        """The wanted generation; empty before the first reload."""
        return _text(self._folder / _WANTED)

    def advance(self) -> str:
        """Make a new one and want it."""
        generation = secrets.token_hex(8)
        self._folder.mkdir(parents=True, exist_ok=True)
        # A name of its own: a reader must see the old text or the new one, whoever else is writing.
        incoming = self._folder / f".{_WANTED}-{secrets.token_hex(8)}"
        incoming.write_text(generation)
        incoming.replace(self._folder / _WANTED)
        return generation

    def confirm(self, generation: str) -> None:
        """This process has it in memory."""
        if self._own is not None and not os.fstat(self._own.descriptor).st_nlink:
            os.close(self._own.descriptor)  # somebody emptied the folder: what is written there nobody reads
            self._own = None
        if self._own is None:
            self._own = hold(self._folder, _SUFFIX, generation.encode())
            self._sweep()
            return
        # In place, so that the lock stays. Whoever reads half of it takes us to be behind, and asks again.
        os.pwrite(self._own.descriptor, generation.encode(), 0)

    def behind(self, generation: str) -> int:
        """How many live processes have confirmed another one only; what dead ones left is removed."""
        return sum(_lives(path) for path in files_of(self._folder, _SUFFIX) if _text(path) != generation)

    def _sweep(self) -> None:
        for path in files_of(self._folder, _SUFFIX):
            _lives(path)


def _lives(path: Path) -> bool:
    held = is_held(path)
    if not held:
        path.unlink(missing_ok=True)
    return held


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


_LAYOUT = struct.Struct("=QQ")
_PROGRESS_SUFFIX = ".progress"


class SharedProgress:
    """The progress files in `folder`. Making one touches nothing; `open` is called once in each worker process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own: LockFile | None = None

    def open(self) -> MutableSequence[int]:
        """This process's numbers, to be written in place: rows accepted, rows settled. Raises `OSError`."""
        # Written, not only lengthened: a page that a full disk cannot hold would kill the process at its touch.
        own = hold(self._folder, _PROGRESS_SUFFIX, bytes(_LAYOUT.size))
        self._own = own
        self._sweep()
        return memoryview(mmap.mmap(own.descriptor, _LAYOUT.size)).cast("Q")  # type: ignore[return-value]

    def all(self) -> Mapping[str, tuple[int, int]]:
        """The (accepted, settled) of each live process by name; what dead ones left behind is removed."""
        numbers = {path.name: _read(path) for path in self._files()}
        return {name: pair for name, pair in numbers.items() if pair is not None}

    def alive(self) -> bool:
        """Whether any process of any container records here now."""
        if not self._folder.is_dir():
            return False
        return any(is_held(path) for path in self._files())

    def close(self) -> None:
        """Withdraw this process's numbers."""
        if self._own is not None:
            self._own.path.unlink(missing_ok=True)
            os.close(self._own.descriptor)
            self._own = None

    def _sweep(self) -> None:
        for path in self._files():
            _read(path, dead_only=True)

    def _files(self) -> list[Path]:
        return files_of(self._folder, _PROGRESS_SUFFIX)


def _read(path: Path, *, dead_only: bool = False) -> tuple[int, int] | None:
    """The numbers of a process; the file of a dead one is removed, without asking where nobody would wait for it."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        accepted, settled = _LAYOUT.unpack(os.pread(descriptor, _LAYOUT.size, 0))
        if (dead_only or settled < accepted) and is_free(descriptor):
            path.unlink(missing_ok=True)
            return None
        return accepted, settled
    finally:
        os.close(descriptor)
