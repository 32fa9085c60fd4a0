"""The generation of the shelf that a host's workers should have in memory: a file, and one from each that has it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from app.store.held_files import HeldFile, files_of, hold, is_held

_WANTED = "wanted"
_SUFFIX = ".worker"


class SharedGenerations:
    """Files in `folder`, which all workers of the host share, those in other containers too. Calls raise `OSError`.

    Generations are random names: who has another than the wanted one looks at the shelf, so no order is needed.
    Making one touches nothing; `confirm` is for the worker process alone, after the fork.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own: HeldFile | None = None

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
