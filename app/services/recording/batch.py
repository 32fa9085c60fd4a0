"""The bounded queue between the answers and the recorder.

Counts what was served and what failed, in batches.

One turn of the recorder: take what waits, count it, ask the other versions, write the log.
"""

from __future__ import annotations

import logging
import threading
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Mapping, MutableSequence, Sequence
from typing import Protocol

import msgspec

from app.domain.prediction import Exposure
from app.services.boundaries import FaultBoundary, attempt
from app.services.ports import ExposureLog, LoadedModels, LoggedPrediction
from app.services.recording.log_rows import log_rows
from app.services.recording.retry_buffer import RetryBuffer, RetryBufferMetrics


class RejectedRecords(msgspec.Struct, frozen=True):
    """What found the queue full: the number of rows, and of requests by the version that answered."""

    rows: int
    requests: Mapping[str, int]


class RecordQueue:
    """Exposures of up to `limit_rows` rows in all. `put` from any thread, the rest from one."""

    def __init__(self, limit_rows: int) -> None:
        self._limit_rows = limit_rows
        self._lock = threading.Lock()
        self._queue: deque[Exposure] = deque()
        self._numbers: MutableSequence[int] = array("Q", (0, 0))
        self._rejected_rows = 0
        self._rejected_requests: Counter[str] = Counter()
        self.waiting = 0

    def __bool__(self) -> bool:
        return bool(self._queue) or self._rejected_rows > 0

    def put(self, exposure: Exposure) -> None:
        """Take it, or only count it where there is no room."""
        rows = len(exposure.prediction_ids)
        with self._lock:
            if self.waiting + rows > self._limit_rows:
                self._rejected_rows += rows
                self._rejected_requests[exposure.version] += 1
                return
            self.waiting += rows
            self._numbers[0] += rows
            self._queue.append(exposure)

    def count_into(self, numbers: MutableSequence[int]) -> None:
        """Keep the number of rows accepted in `numbers[0]` from now on."""
        with self._lock:
            numbers[0] = self._numbers[0]
            self._numbers = numbers

    def take(self, rows: int) -> list[Exposure]:
        """The oldest exposures, of about `rows` rows: the last may go beyond."""
        taken: list[Exposure] = []
        total = 0
        while self._queue and total < rows:
            exposure = self._queue.popleft()
            taken.append(exposure)
            total += len(exposure)
        if taken:
            with self._lock:
                self.waiting -= total
        return taken

    def take_rejected(self) -> RejectedRecords | None:
        """What was refused since the last call, None if nothing."""
        if not self._rejected_rows:
            return None
        with self._lock:
            rejected = RejectedRecords(rows=self._rejected_rows, requests=dict(self._rejected_requests))
            self._rejected_rows = 0
            self._rejected_requests.clear()
        return rejected


_LOG = logging.getLogger(__name__)
_CIRCUIT_OPEN = "circuit_open"
_LOG_EVERY_S = 1.0


class ServingMetrics(Protocol):
    """What is counted for each version. A batch is one request, however many rows it has."""

    def served(self, version: str, latencies_s: Sequence[float], requests: int) -> None: ...

    def failed(self, version: str, reason: str) -> None: ...


def count_served(exposures: Sequence[Exposure], metrics: ServingMetrics) -> None:
    """Count each exposure as one request of the version that answered, and the versions that were not asked."""
    latencies_s: dict[str, list[float]] = {}
    for exposure in exposures:
        latencies_s.setdefault(exposure.version, []).append(exposure.latency_s)
        for failure in exposure.failures:
            if failure.reason == _CIRCUIT_OPEN:  # what a version raised has been reported on its own
                metrics.failed(failure.version, _CIRCUIT_OPEN)
    for version, latencies in latencies_s.items():
        metrics.served(version, latencies, len(latencies))


class FailureReports:
    """What versions raised on the response path, to be counted and logged away from it. Thread-safe.

    Each failure is counted; the log has one line a version and second at most. `clock` is monotonic seconds.
    """

    def __init__(self, event: str, count: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._event = event
        self._count = count
        self._clock = clock
        self._lock = threading.Lock()
        self._new: dict[str, tuple[int, str]] = {}
        self._unlogged: dict[str, tuple[int, str]] = {}
        self._logged_at_s: dict[str, float] = {}

    def add(self, version: str, reason: str) -> None:
        """Note one failure of `version`."""
        with self._lock:
            self._new[version] = (self._new.get(version, (0, ""))[0] + 1, reason)

    def report(self) -> None:
        """Count what is new, and log what is due."""
        if self._new:
            with self._lock:
                new, self._new = self._new, {}
            for version, (failures, reason) in new.items():
                self._unlogged[version] = (self._unlogged.get(version, (0, ""))[0] + failures, reason)
                for _ in range(failures):
                    self._count(version)
        if self._unlogged:
            self._log_due()

    def _log_due(self) -> None:
        now = self._clock()
        for version in [*self._unlogged]:
            if now - self._logged_at_s.get(version, float("-inf")) >= _LOG_EVERY_S:
                failures, reason = self._unlogged.pop(version)
                self._logged_at_s[version] = now
                fields = {"version": version, "failures": failures, "reason": reason}
                _LOG.error(self._event, extra={"event_fields": fields})


ROWS_PER_TICK = 512
_DEEP = 8
_MODEL_FAILED = "model_failed"


class RecorderMetrics(RetryBufferMetrics, ServingMetrics, Protocol):
    """What the recorder counts. What it raises is logged, and recording goes on."""

    def shadow_failed(self, version: str) -> None: ...

    def shadow_shed(self, rows: int) -> None: ...

    def queue_rows(self, rows: int) -> None: ...


class BatchProcessor:
    """Moves exposures from the record queue to the log. For one thread; `tick` raises nothing.

    The other versions are not asked while `backpressure` says that requests wait, nor while an eighth of `limit_rows`
    waits here: those rows are logged without their answers.
    """

    def __init__(
        self,
        record_queue: RecordQueue,
        log: ExposureLog,
        metrics: RecorderMetrics,
        loaded_models: Callable[[], LoadedModels],
        limit_rows: int,
        backpressure: Callable[[], bool] = lambda: False,
    ) -> None:
        self._pressed = backpressure
        self._deep_rows = limit_rows // _DEEP
        self._record_queue = record_queue
        self._metrics = metrics
        self._loaded_models = loaded_models
        self._retry_buffer = RetryBuffer(log, metrics, limit_rows, time.monotonic)
        self.failures = FailureReports(_MODEL_FAILED, lambda v: metrics.failed(v, _MODEL_FAILED), time.monotonic)
        self._shadow_failures = FailureReports("shadow_failed", metrics.shadow_failed, time.monotonic)
        self._boundary = FaultBoundary(_LOG, "recorder_step_failed")
        self._drained = 0
        self._shown_rows = 0

    @property
    def outage(self) -> str | None:
        """Why the store did not take the last write; None while it does."""
        return self._retry_buffer.outage

    @property
    def waiting(self) -> int:
        """Rows that are not in the log yet."""
        return self._record_queue.waiting + len(self._retry_buffer)

    @property
    def settled(self) -> int:
        """Rows in the log, or dropped, or kept for as long as the store is unusable: nobody need wait for them."""
        return self._drained - (0 if self._retry_buffer.outage else len(self._retry_buffer))

    def tick(self) -> None:
        """Do what there is to do, up to some hundred rows."""
        exposures = self._record_queue.take(ROWS_PER_TICK)
        # A boundary each: a metric that cannot be counted must not keep the rows from the log.
        with self._boundary:
            self._count(exposures)
        with self._boundary:
            self._keep(exposures)
        with self._boundary:
            self._retry_buffer.write()
        self._drained += sum(map(len, exposures))

    def _count(self, exposures: Sequence[Exposure]) -> None:
        if exposures:
            count_served(exposures, self._metrics)
        rejected = self._record_queue.take_rejected()
        if rejected is not None:
            self._metrics.dropped(rejected.rows)
            for version, requests in rejected.requests.items():
                self._metrics.served(version, (), requests)
        self.failures.report()
        if self.waiting != self._shown_rows:
            self._shown_rows = self.waiting
            self._metrics.queue_rows(self._shown_rows)

    def _keep(self, exposures: Sequence[Exposure]) -> None:
        if exposures:
            self._retry_buffer.add(self._rows(exposures, self._to_ask(exposures)))
        self._shadow_failures.report()

    def _to_ask(self, exposures: Sequence[Exposure]) -> LoadedModels:
        """The fleet, without peers where there is no time to ask them."""
        loaded_models = self._loaded_models()
        if len(loaded_models.compatible) < 2 or not (self._pressed() or self._record_queue.waiting > self._deep_rows):
            return loaded_models
        self._metrics.shadow_shed(sum(map(len, exposures)))
        return msgspec.structs.replace(loaded_models, compatible=())

    def _rows(self, exposures: Sequence[Exposure], loaded_models: LoadedModels) -> list[LoggedPrediction]:
        """The rows to log; an exposure that has no form in the log is dropped and does not take others with it."""
        rows = attempt(log_rows, exposures, loaded_models, self._shadow_failed)
        if not isinstance(rows, Exception):
            return rows
        if len(exposures) == 1:
            _LOG.error("exposure_not_recorded", exc_info=rows)
            self._metrics.dropped(len(exposures[0]))
            return []
        return [row for exposure in exposures for row in self._rows([exposure], loaded_models)]

    def _shadow_failed(self, version: str, error: Exception) -> None:
        self._shadow_failures.add(version, f"{type(error).__name__}: {error}")
