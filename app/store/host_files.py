"""Files by which the workers of a host share state: which models each has loaded, and which rows each has recorded.

Each worker locks its own file as long as it lives, so that the others can ignore and remove the files of dead ones.
"""

from __future__ import annotations

import mmap
import os
import secrets
import struct
from collections.abc import Collection, Mapping, MutableSequence, Sequence
from pathlib import Path

from app.files import LockFile, files_of, hold, is_free, is_held

_WANTED = "wanted"
_SUFFIX = ".worker"


class SharedGenerations:
    """Generations of loaded models, by files in `folder` that all workers of the host share. Calls raise `OSError`.

    Making one touches nothing; `confirm` is for the worker process alone, after the fork.
    """

    # A generation is a random name, not a number: a worker with another one than is wanted loads the model registry
    # again, whichever is newer, so no order is needed and none can be lost with the files.

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own: LockFile | None = None

    def current(self) -> str:
        """The generation that every worker should have; empty before the first reload."""
        return _text(self._folder / _WANTED)

    def advance(self) -> str:
        """Make and return a new generation, which every worker should have from now on."""
        generation = secrets.token_hex(8)
        self._folder.mkdir(parents=True, exist_ok=True)
        # A file of its own and a rename: a reader sees the old text or the new one, whoever else is writing.
        incoming = self._folder / f".{_WANTED}-{secrets.token_hex(8)}"
        incoming.write_text(generation)
        incoming.replace(self._folder / _WANTED)
        return generation

    def confirm(self, generation: str, _versions: Collection[str] = ()) -> None:
        """Record that this process has loaded `generation`."""
        if self._own is not None and not os.fstat(self._own.descriptor).st_nlink:
            os.close(self._own.descriptor)  # the file was removed, so nobody would read what is written to it
            self._own = None
        if self._own is None:
            self._own = hold(self._folder, _SUFFIX, generation.encode())
            self._sweep()
            return
        # In place, so that the lock stays. A reader of half of it takes this process to be behind, and asks again.
        os.pwrite(self._own.descriptor, generation.encode(), 0)

    def lacking(self, _generation: str | None = None) -> Mapping[str, Sequence[str]]:
        """Nothing: all workers read one registry."""
        return {}

    def behind(self, generation: str) -> int:
        """The number of live processes whose last confirmed generation is another; files of dead ones are removed."""
        return sum(_lives(path) for path in files_of(self._folder, _SUFFIX) if _text(path) != generation)

    def leave(self) -> None:
        """Nothing: the lock of its file is free once the process has ended."""

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
    """The numbers of rows that each worker has accepted and settled, in mapped files in `folder`.

    A reader in one worker can wait by them for the rows of the others. Making one touches nothing; `open` is called
    once in each worker process.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own: LockFile | None = None

    def open(self) -> MutableSequence[int]:
        """This process's two numbers, to be written in place: rows accepted, rows settled. Raises `OSError`."""
        # Written, not only lengthened: a mapped page for which the disk has no room kills the process when it is used.
        own = hold(self._folder, _PROGRESS_SUFFIX, bytes(_LAYOUT.size))
        self._own = own
        self._sweep()
        return memoryview(mmap.mmap(own.descriptor, _LAYOUT.size)).cast("Q")  # type: ignore[return-value]

    def all(self) -> Mapping[str, tuple[int, int]]:
        """The rows (accepted, settled) of each live process, by file name; files of dead ones are removed."""
        numbers = {path.name: _read(path) for path in self._files()}
        return {name: pair for name, pair in numbers.items() if pair is not None}

    def alive(self) -> bool:
        """Whether a process in any container records here now."""
        if not self._folder.is_dir():
            return False
        return any(is_held(path) for path in self._files())

    def close(self) -> None:
        """Remove this process's numbers."""
        if self._own is not None:
            self._own.path.unlink(missing_ok=True)
            os.close(self._own.descriptor)
            self._own = None

    def leave(self) -> None:
        """Nothing: the lock of its file is free once the process has ended."""

    def _sweep(self) -> None:
        for path in self._files():
            _read(path, dead_only=True)

    def _files(self) -> list[Path]:
        return files_of(self._folder, _PROGRESS_SUFFIX)


def _read(path: Path, *, dead_only: bool = False) -> tuple[int, int] | None:
    """The numbers of a process; None, and the file removed, where the process is dead."""
    # The lock is tried only if a reader would have to wait for this process (or `dead_only`): it costs a system call.
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
