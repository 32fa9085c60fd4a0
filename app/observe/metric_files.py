"""The directory in which the workers of one host share their metric values, one set of mapped files a process.

Keep what dead workers counted: their files become part of one pair of files that belongs to nobody.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import mark_process_dead

from app.files import lock

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_PATTERN = "*.db"
_LOCK, _GATE = "fold.lock", "fold.gate"
_FILE_BYTES = 1 << 18


def shared_directory() -> Path | None:
    """Where `serve` lets the processes share their values; None where each counts for itself.

    The variable belongs to prometheus_client, which looks at it whenever it begins a file.
    """
    path = os.environ.get(VARIABLE)
    return Path(path) if path else None


def wipe(directory: Path) -> None:
    """Make `directory` ready for a server that starts: it exists and no value of an earlier run is left."""
    directory.mkdir(parents=True, exist_ok=True)
    for stale in (*directory.glob(_PATTERN), *directory.glob("*.tmp")):
        stale.unlink(missing_ok=True)
    for name in (_LOCK, _GATE):
        (directory / name).touch()


def reserve(path: Path) -> None:
    """Give the file at `path` its disk blocks before it is mapped. Raises `OSError` where the disk is full.

    A mapped write for which there is no room kills the process with SIGBUS; this fails while it can be handled.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.posix_fallocate(descriptor, 0, _FILE_BYTES)
    except OSError:
        path.unlink()
        raise
    finally:
        os.close(descriptor)


def begun(directory: Path) -> list[Path]:
    """The files that hold values, in order of their names.

    prometheus_client creates a file and gives it a size in two steps, and cannot read what it finds between them.
    """
    return sorted(path for path in directory.glob(_PATTERN) if path.stat().st_size)


@contextlib.contextmanager
def reading(directory: Path) -> Iterator[None]:
    """Nobody folds while the body reads the files. Waits for a fold under way: milliseconds."""
    with lock(directory / _GATE):
        mine = lock(directory / _LOCK, shared=True)
    with mine:
        yield


@contextlib.contextmanager
def folding(directory: Path, patience_s: float) -> Iterator[None]:
    """Nobody reads while the body folds. Raises `BlockingIOError` where somebody still does after `patience_s`."""
    deadline = time.monotonic() + patience_s
    # Who holds the gate keeps new readers out, so that many of them in turn cannot starve the fold.
    with (
        lock(directory / _GATE, wait_s=patience_s),
        lock(directory / _LOCK, wait_s=deadline - time.monotonic()),
    ):
        yield


_LOG = logging.getLogger(__name__)
_SUMMED = ("counter", "histogram")


class DeadWorkers:
    """Folds dead workers' files, for the process that reaps them (gunicorn's master, in `child_exit`).

    `patience_s` limits how long one call waits for readers to finish: the master must go on watching its workers,
    also when one of them hangs in the middle of a scrape. What could not be folded is folded by a later call; until
    then the files themselves are read, so that no count is ever missing or counted twice.
    """

    def __init__(self, directory: Path, patience_s: float = 0.5) -> None:
        self._directory = directory
        self._patience_s = patience_s
        self._waiting: set[int] = set()

    def fold(self, pid: int) -> bool:
        """Fold the files of the dead process `pid`, and those still waiting. False where they have to wait on.

        A full disk, a missing directory or an unreadable file is logged, not raised: the master must live.
        """
        self._waiting.add(pid)
        try:
            with folding(self._directory, self._patience_s):
                self._merge_waiting()
        except BlockingIOError:
            return False
        except (OSError, RuntimeError, struct.error):
            _LOG.exception("metrics_not_folded")
            return False
        return True

    def _merge_waiting(self) -> None:
        for pid in self._waiting:
            mark_process_dead(pid, str(self._directory))
        known = begun(self._directory)
        for kind in _SUMMED:
            of_the_dead = {f"{kind}_{pid}.db" for pid in self._waiting}
            dead = [path for path in known if path.name in of_the_dead]
            if dead:
                _merge(self._directory / f"{kind}_retired.db", dead)
        self._waiting.clear()


def _merge(retired: Path, dead: list[Path]) -> None:
    """Replace `retired` by the sum of itself and `dead`, and remove `dead`. On an error nothing has changed."""
    sums: dict[str, float] = {}
    for path in ([retired] if retired.exists() else []) + dead:
        for key, value, _timestamp, _position in MmapedDict.read_all_values_from_file(path):
            sums[key] = sums.get(key, 0.0) + value
    scratch = retired.with_suffix(".tmp")
    scratch.unlink(missing_ok=True)
    reserve(scratch)
    merged = MmapedDict(str(scratch))
    for key, total in sums.items():
        merged.write_value(key, total, 0.0)
    merged.close()
    scratch.replace(retired)
    for path in dead:
        path.unlink()
