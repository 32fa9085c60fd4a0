"""Take turns between processes: whoever waits is woken when the turn is free.

SQLite's own waiting sleeps ever longer between looks; beside a writer that always has more to write, another one sleeps
through most of its chances.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Turns:
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
