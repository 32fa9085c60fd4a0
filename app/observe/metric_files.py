"""The directory in which the workers of one host share their metric values: mapped files, one set per process.

The counts of dead workers are kept: their files are merged into one pair of files that belongs to no process.
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
# Room for the series of many versions; a file that outgrows it is no longer protected from a full disk.
_FILE_BYTES = 1 << 18
# Only these are kept of a dead worker: its gauges described a process that is gone.
_SUMMED = ("counter", "histogram")
_LOG = logging.getLogger(__name__)


def shared_directory() -> Path | None:
    """The directory in which the processes share their values; None if each counts for itself.

    Set by `bakeoff serve` in prometheus_client's own variable, which that reads whenever it begins a file.
    """
    path = os.environ.get(VARIABLE)
    return Path(path) if path else None


def wipe(directory: Path) -> None:
    """Prepare `directory` for a server that starts: create it, and remove the values of an earlier run."""
    directory.mkdir(parents=True, exist_ok=True)
    for stale in (*directory.glob(_PATTERN), *directory.glob("*.tmp")):
        stale.unlink(missing_ok=True)
    for name in (_LOCK, _GATE):
        (directory / name).touch()


def reserve(path: Path) -> None:
    """Allocate the disk blocks of the file at `path` before it is mapped. Raises `OSError` if the disk is full.

    A mapped write without room on the disk kills the process with SIGBUS; this fails while it can be handled.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.posix_fallocate(descriptor, 0, _FILE_BYTES)
    except OSError:
        path.unlink()
        raise
    finally:
        os.close(descriptor)


def value_files(directory: Path) -> list[Path]:
    """The files that have values, sorted by name.

    prometheus_client creates a file and sets its size in two steps, and cannot read a file between them.
    """
    return sorted(path for path in directory.glob(_PATTERN) if path.stat().st_size)


@contextlib.contextmanager
def reading(directory: Path) -> Iterator[None]:
    """Holds off merging while the body reads the files. Waits for a merge under way: milliseconds."""
    with lock(directory / _GATE):
        mine = lock(directory / _LOCK, shared=True)
    with mine:
        yield


@contextlib.contextmanager
def merging(directory: Path, patience_s: float) -> Iterator[None]:
    """Holds off readers while the body merges. Raises `BlockingIOError` if one still reads after `patience_s`."""
    deadline = time.monotonic() + patience_s
    # Holding the gate keeps new readers out: otherwise a stream of overlapping readers could starve the merge.
    with (
        lock(directory / _GATE, wait_s=patience_s),
        lock(directory / _LOCK, wait_s=deadline - time.monotonic()),
    ):
        yield


class DeadWorkers:
    """Merges the files of dead workers, in the process that reaps them (gunicorn's master, in `child_exit`).

    `patience_s` limits how long one call waits for readers: the master must go on watching its workers even while one
    of them hangs in a scrape. Files that could not be merged are merged by a later call; until then they are read as
    they are, so no count is ever missing or counted twice.
    """

    def __init__(self, directory: Path, patience_s: float = 0.5) -> None:
        self._directory = directory
        self._patience_s = patience_s
        self._waiting: set[int] = set()

    def merge(self, pid: int) -> bool:
        """Merge the files of the dead process `pid` and those still waiting. False if they have to wait longer.

        A full disk, a missing directory or an unreadable file is logged and not raised: the master must live.
        """
        self._waiting.add(pid)
        try:
            with merging(self._directory, self._patience_s):
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
        known = value_files(self._directory)
        for kind in _SUMMED:
            of_the_dead = {f"{kind}_{pid}.db" for pid in self._waiting}
            dead = [path for path in known if path.name in of_the_dead]
            if dead:
                _merge(self._directory / f"{kind}_retired.db", dead)
        self._waiting.clear()


def _merge(retired: Path, dead: list[Path]) -> None:
    """Replace `retired` by the sum of itself and `dead`, and remove `dead`. On an error nothing is changed."""
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
    # Readers are held off until the dead files are gone too: between these two steps their counts are there twice.
    scratch.replace(retired)
    for path in dead:
        path.unlink()
