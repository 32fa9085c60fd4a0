"""Keep what dead workers counted: their files become part of one pair of files that belongs to nobody."""

from __future__ import annotations

import logging
import struct
from pathlib import Path

from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import mark_process_dead

from app.observe import metric_files

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
            with metric_files.folding(self._directory, self._patience_s):
                self._fold_waiting()
        except BlockingIOError:
            return False
        except (OSError, RuntimeError, struct.error):
            _LOG.exception("metrics_not_folded")
            return False
        return True

    def _fold_waiting(self) -> None:
        for pid in self._waiting:
            mark_process_dead(pid, str(self._directory))
        begun = metric_files.begun(self._directory)
        for kind in _SUMMED:
            of_the_dead = {f"{kind}_{pid}.db" for pid in self._waiting}
            dead = [path for path in begun if path.name in of_the_dead]
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
    metric_files.reserve(scratch)
    merged = MmapedDict(str(scratch))
    for key, total in sums.items():
        merged.write_value(key, total, 0.0)
    merged.close()
    scratch.replace(retired)
    for path in dead:
        path.unlink()
