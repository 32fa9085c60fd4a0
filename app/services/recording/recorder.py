"""The recorder of one worker: takes what was served, and counts, shadows and logs it in a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from array import array
from collections.abc import Callable, Mapping, MutableSequence
from typing import Protocol

from app.domain.prediction import Exposure, ReportedExposure
from app.services.ports import ExposureLog, LoadedModels
from app.services.recording.batch import ROWS_PER_TICK, BatchProcessor, RecorderMetrics, RecordQueue

_LOG = logging.getLogger(__name__)
_POLL_S = 0.001
_INTERVAL_S = 0.01
# While at least so many rows come in an interval, a batch gathers for up to so many intervals.
_MANY_ROWS, _MOST_INTERVALS = 16, 4


class Progress(Protocol):
    """The progress of all recorders that share a log: rows accepted and rows settled, for each. May raise `OSError`.

    A reader waits for it so that it sees everything that was answered before it asked, by whichever process.
    """

    def open(self) -> MutableSequence[int]:
        """This process's two numbers, to be written in place."""

    def all(self) -> Mapping[str, tuple[int, int]]:
        """(accepted, settled) of each live process, by name."""

    def close(self) -> None:
        """Withdraw this process's numbers."""


class OwnProgress:
    """The progress of a process that shares its log with no other."""

    def __init__(self) -> None:
        self._numbers = array("Q", (0, 0))

    def open(self) -> MutableSequence[int]:
        """Rows accepted, rows settled."""
        return self._numbers

    def all(self) -> Mapping[str, tuple[int, int]]:
        """This process's numbers under one name."""
        return {"own": (self._numbers[0], self._numbers[1])}

    def close(self) -> None:
        """Nothing to withdraw."""


def wait_until_settled(progress: Progress, timeout_s: float) -> bool:
    """Whether all rows that any process has accepted so far were settled within `timeout_s`.

    Dead processes are left out: the rows that they had not settled are lost.
    """
    deadline = time.monotonic() + timeout_s
    targets = {name: accepted for name, (accepted, settled) in progress.all().items() if settled < accepted}
    while targets:
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
        now = progress.all()
        targets = {name: target for name, target in targets.items() if name in now and now[name][1] < target}
    return True


class Recorder:
    """The `Sink` of one worker. Making one starts nothing; `start` is called after the fork.

    Up to `limit_rows` rows wait in the queue, and as many more while the store cannot be used. `loaded_models` returns
    the loaded models. `progress` lets the workers of a host wait for each other. `backpressure` returns whether
    requests wait for the processor, so that shadow versions must not use it.
    """

    def __init__(
        self,
        log: ExposureLog,
        metrics: RecorderMetrics,
        loaded_models: Callable[[], LoadedModels],
        limit_rows: int,
        progress: Progress | None = None,
        backpressure: Callable[[], bool] = lambda: False,
    ) -> None:
        self._record_queue = RecordQueue(limit_rows)
        self._processor = BatchProcessor(self._record_queue, log, metrics, loaded_models, limit_rows, backpressure)
        self._progress = progress or OwnProgress()
        self._wake = threading.Event()
        self._stop_by_s: float | None = None
        self._thread: threading.Thread | None = None

    @property
    def outage(self) -> str | None:
        """Why the store refused the last write; None while it accepts them."""
        return self._processor.outage

    def record(self, exposure: Exposure | ReportedExposure) -> None:
        """Queue what was served; dropped and counted if the queue is full. Never blocks, never raises."""
        self._record_queue.put(exposure)

    def failed(self, version: str, reason: str) -> None:
        """Record that `version` raised an error when it was to serve."""
        self._processor.failures.add(version, reason)

    def start(self) -> None:
        """Start the thread, in the process that serves. A second call has no effect."""
        if self._thread is not None:
            return
        # After the fork: each process has numbers of its own.
        numbers = self._numbers()
        self._record_queue.count_into(numbers)
        self._stop_by_s = None
        self._thread = threading.Thread(target=self._run, args=(numbers,), name="recorder", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> int:
        """Process what is left, for at most `timeout_s`; returns the number of rows that did not reach the log."""
        if self._thread is not None:
            self._stop_by_s = time.monotonic() + timeout_s
            self._wake.set()
            self._thread.join(timeout_s)  # it looks at the deadline between ticks; a tick may be longer
            self._thread = None
            self._progress.close()
        left = self._processor.waiting
        if left:
            _LOG.error("rows_not_recorded", extra={"event_fields": {"rows": left, "reason": self.outage}})
        return left

    def flush(self, timeout_s: float) -> bool:
        """Whether everything that any worker of this host had answered was settled within `timeout_s`.

        A settled row is counted, and is in the log unless the store cannot be used: then nobody waits for it.
        """
        self._wake.set()  # do not let a batch gather while somebody waits for it
        try:
            return wait_until_settled(self._progress, timeout_s)
        except OSError:
            _LOG.exception("progress_not_readable")
            return False

    def logged(self, timeout_s: float) -> bool:
        """Whether the log has everything that any worker of this host had answered, after at most `timeout_s`.

        False also where it is not known, since the store refuses what this worker writes.
        """
        return self.flush(timeout_s) and self.outage is None

    def _numbers(self) -> MutableSequence[int]:
        try:
            return self._progress.open()
        except OSError:
            _LOG.exception("progress_not_shared")
            # Without the shared file a reader waits for this process only: better than not recording.
            self._progress = OwnProgress()
            return self._progress.open()

    def _run(self, numbers: MutableSequence[int]) -> None:
        settled = 0
        while not self._finished():
            self._rest()
            self._processor.tick()
            # Never backwards: an outage counts rows as settled that are unsettled again when it ends.
            if self._processor.settled > settled:
                settled = numbers[1] = self._processor.settled

    def _rest(self) -> None:
        """Wait a moment for a batch to gather, longer while many rows come: a tick costs as much as many rows."""
        for _ in range(_MOST_INTERVALS):
            if self._record_queue.waiting >= ROWS_PER_TICK or (self._stop_by_s and self._record_queue):
                return
            if self._wake.wait(_INTERVAL_S):
                self._wake.clear()
                return
            if self._record_queue.waiting < _MANY_ROWS:
                return

    def _finished(self) -> bool:
        if self._stop_by_s is None:
            return False
        return not (self._record_queue or self._processor.waiting) or time.monotonic() >= self._stop_by_s
