"""What two workers must not do at once, or not twice."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def in_turn(lock: Path, *, shared: bool = False) -> Iterator[None]:
    """Locks this file, which is made; one process at a time, or all that share it."""
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield


def made_once(config: pytest.Config, base: Path, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that `make` filled, once for all workers of the session; `base` is the caller's temporary folder."""
    shared = base.parent if hasattr(config, "workerinput") else base
    folder, complete = shared / name, shared / f"{name}.complete"
    with in_turn(shared / f"{name}.lock"):
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)  # another worker's attempt that failed
            folder.mkdir()
            make(folder)
            complete.touch()
    return folder
