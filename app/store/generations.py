"""The generation of the shelf that a host's workers should have in memory: a file, and one from each that has it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

_WANTED = "wanted"


class SharedGenerations:
    """Files in `folder`, which all workers of the host share. Calls raise `OSError`.

    Generations are random names: who has another than the wanted one looks at the shelf, so no order is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def current(self) -> str:
        """The wanted generation; empty before the first reload."""
        return _text(self._folder / _WANTED)

    def advance(self) -> str:
        """Make a new one and want it."""
        generation = secrets.token_hex(8)
        self._write(_WANTED, generation)
        return generation

    def confirm(self, generation: str) -> None:
        """This process has it in memory."""
        self._write(str(os.getpid()), generation)

    def behind(self, generation: str) -> int:
        """How many live processes have confirmed another one only."""
        behind = 0
        for path in self._folder.iterdir():
            if not path.name.isdigit() or _text(path) == generation:
                continue
            if _alive(int(path.name)):
                behind += 1
            else:
                path.unlink(missing_ok=True)
        return behind

    def _write(self, name: str, text: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        # The thread's own name: a reader must see the old text or the new one, whoever else is writing.
        incoming = self._folder / f".{name}-{os.getpid()}-{secrets.token_hex(4)}"
        incoming.write_text(text)
        incoming.replace(self._folder / name)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
