"""One tick of the recorder: takes a batch from the record queue, counts it, runs shadow versions, writes the log.

Request threads only put records into the queue; everything slow happens here, in one thread.
"""

from __future__ import annotations

import logging
import threading
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Mapping, MutableSequence, Sequence
from functools import partial
from typing import Protocol

import msgspec

from app.domain.logged_rows import LoggedPrediction
from app.domain.prediction import CIRCUIT_OPEN, Exposure, ReportedExposure
from app.services.boundaries import FaultBoundary, attempt
from app.services.ports import ExposureLog, LoadedModels
from app.services.recording.log_rows import MOST_CALLS, log_rows, reported_rows
from app.services.recording.retry_buffer import RetryBuffer, RetryBufferMetrics

_LOG = logging.getLogger(__name__)
# Large enough that the cost of a tick is spread over many rows, small enough that metrics lag by milliseconds only.
ROWS_PER_TICK = 512
# A larger batch is recorded in parts, a transaction each.
_ROWS_PER_PART = 4096
# Shadow versions are skipped while more than this fraction of the queue waits.
_DEEP_FRACTION = 8
_LOG_EVERY_S = 1.0
_MODEL_FAILED = "model_failed"
MakeRows = Callable[[Sequence[Exposure]], list[Sequence[LoggedPrediction]]]


class RejectedRecords(msgspec.Struct, frozen=True):
    """Records that found the queue full: the number of rows, and of requests by version and protocol."""

    rows: int
    requests: Mapping[tuple[str, str], int]


class RecordQueue:
    """A bounded queue of exposures, of up to `limit_rows` rows in total. Any thread may `put`, one thread reads."""

    def __init__(self, limit_rows: int) -> None:
        self._limit_rows = limit_rows
        self._lock = threading.Lock()
        self._queue: deque[Exposure | ReportedExposure] = deque()
        self._numbers: MutableSequence[int] = array("Q", (0, 0))
        self._rejected_rows = 0
        self._rejected_requests: Counter[tuple[str, str]] = Counter()
        self.waiting = 0

    def __bool__(self) -> bool:
        return bool(self._queue) or self._rejected_rows > 0

    def put(self, exposure: Exposure | ReportedExposure) -> None:
        """Append the exposure, or count it as rejected if the queue is full. Never blocks."""
        rows = len(exposure)
        with self._lock:
            if self.waiting + rows > self._limit_rows:
                self._rejected_rows += rows
                if isinstance(exposure, Exposure):
                    self._rejected_requests[exposure.version, exposure.protocol] += 1
                return
            self.waiting += rows
            self._numbers[0] += rows
            self._queue.append(exposure)

    def count_into(self, numbers: MutableSequence[int]) -> None:
        """Keep the number of accepted rows in `numbers[0]` from now on, where other processes can read it."""
        with self._lock:
            numbers[0] = self._numbers[0]
            self._numbers = numbers

    def take(self, rows: int) -> list[Exposure | ReportedExposure]:
        """The oldest exposures, of `rows` rows or more: an exposure is never split."""
        taken: list[Exposure | ReportedExposure] = []
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
        """What was rejected since the last call, None if nothing was."""
        if not self._rejected_rows:
            return None
        with self._lock:
            rejected = RejectedRecords(rows=self._rejected_rows, requests=dict(self._rejected_requests))
            self._rejected_rows = 0
            self._rejected_requests.clear()
        return rejected


class ServingMetrics(Protocol):
    """Counts for each version. A batch is one request, however many rows it has."""

    def served(self, version: str, latencies_s: Sequence[float], requests: int, protocol: str) -> None: ...

    def failed(self, version: str, reason: str) -> None: ...

    def exposed(self, version: str, exposures: int) -> None: ...


def count_served(exposures: Sequence[Exposure], metrics: ServingMetrics) -> None:
    """Count each exposure as one request of the version that answered, and the versions that a breaker skipped."""
    latencies_s: dict[tuple[str, str], list[float]] = {}
    for exposure in exposures:
        latencies_s.setdefault((exposure.version, exposure.protocol), []).append(exposure.latency_s)
        for failure in exposure.failures:
            if failure.reason == CIRCUIT_OPEN:  # errors that a version raised come through `FailureReports`
                metrics.failed(failure.version, CIRCUIT_OPEN)
    for (version, protocol), latencies in latencies_s.items():
        metrics.served(version, latencies, len(latencies), protocol)


class FailureReports:
    """Collects the errors of versions, to be counted and logged away from the response path. Thread-safe.

    Each failure is counted; the log has at most one line per version and second, because a version that fails does so
    for every request. `clock` is monotonic seconds.
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
        """Record one failure of `version`."""
        with self._lock:
            self._new[version] = (self._new.get(version, (0, ""))[0] + 1, reason)

    def report(self) -> None:
        """Count new failures, and log those that are due."""
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


class RecorderMetrics(RetryBufferMetrics, ServingMetrics, Protocol):
    """Everything that the recorder counts. An error in it is logged, and recording goes on."""

    def shadow_failed(self, version: str) -> None: ...

    def shadow_shed(self, rows: int) -> None: ...

    def queue_rows(self, rows: int) -> None: ...


class BatchProcessor:
    """Moves exposures from the record queue to the log. For one thread; `tick` raises nothing.

    Shadow versions are not run while `backpressure` reports that requests wait, nor while an eighth of `limit_rows`
    waits here: those rows are logged without the shadow versions' answers.
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
        self._backpressure = backpressure
        self._deep_rows = limit_rows // _DEEP_FRACTION
        self._record_queue = record_queue
        self._metrics = metrics
        self._loaded_models = loaded_models
        self._retry_buffer = RetryBuffer(log, metrics, limit_rows, time.monotonic)
        self.failures = FailureReports(_MODEL_FAILED, lambda v: metrics.failed(v, _MODEL_FAILED), time.monotonic)
        self._shadow_failures = FailureReports("shadow_failed", metrics.shadow_failed, time.monotonic)
        self._boundary = FaultBoundary(_LOG, "recorder_step_failed")
        self._processed = 0
        self._shown_rows = 0

    @property
    def outage(self) -> str | None:
        """Why the store refused the last write; None while it accepts them."""
        return self._retry_buffer.outage

    @property
    def waiting(self) -> int:
        """Rows that are not in the log yet."""
        return self._record_queue.waiting + len(self._retry_buffer)

    @property
    def settled(self) -> int:
        """Rows in the log, dropped, or kept in an outage of the store: nobody needs to wait for them."""
        return self._processed - (0 if self._retry_buffer.stalled else len(self._retry_buffer))

    def tick(self) -> None:
        """Process one batch of up to some hundred rows."""
        taken = self._record_queue.take(ROWS_PER_TICK)
        exposures = [each for each in taken if isinstance(each, Exposure)]
        reported = [each for each in taken if isinstance(each, ReportedExposure)]
        # A boundary each: a metric that cannot be counted must not keep the rows from the log.
        with self._boundary:
            self._count(exposures, reported)
        with self._boundary:
            self._add_rows(exposures)
            if reported:
                self._retry_buffer.add(reported_rows(reported))
        with self._boundary:
            self._retry_buffer.write()
        self._processed += sum(map(len, taken))

    def _count(self, exposures: Sequence[Exposure], reported: Sequence[ReportedExposure]) -> None:
        if exposures:
            count_served(exposures, self._metrics)
        if reported:
            for version, number in Counter(each.version for each in reported).items():
                self._metrics.exposed(version, number)
        rejected = self._record_queue.take_rejected()
        if rejected is not None:
            self._metrics.dropped(rejected.rows)
            for (version, protocol), requests in rejected.requests.items():
                self._metrics.served(version, (), requests, protocol)
        self.failures.report()
        if self.waiting != self._shown_rows:
            self._shown_rows = self.waiting
            self._metrics.queue_rows(self._shown_rows)

    def _add_rows(self, exposures: Sequence[Exposure]) -> None:
        large = [each for each in exposures if len(each) > _ROWS_PER_PART]
        small = [each for each in exposures if len(each) <= _ROWS_PER_PART] if large else exposures
        if small:
            self._add(small, partial(log_rows, loaded_models=self._models(small), on_failure=self._shadow_failed))
        for each in large:
            self._add_parts(each)
        self._shadow_failures.report()

    def _add_parts(self, exposure: Exposure) -> None:
        """Add the rows of a large batch part by part, so that what is made for one part is gone before the next."""
        failed: dict[str, Exception] = {}  # reported once, as of any batch
        calls = MOST_CALLS * _ROWS_PER_PART // len(exposure)
        models, note = self._models([exposure]), failed.__setitem__
        make = partial(log_rows, loaded_models=models, on_failure=note, most_calls=calls)
        for part in exposure.parts(_ROWS_PER_PART):
            self._add([part], make)
            with self._boundary:
                self._retry_buffer.write()
        for version, error in failed.items():
            self._shadow_failed(version, error)

    def _models(self, exposures: Sequence[Exposure]) -> LoadedModels:
        """The loaded models; without compatible versions, which are the shadow's, if there is no time to run them."""
        loaded_models = self._loaded_models()
        if len(loaded_models.compatible) < 2 or not (
            self._backpressure() or self._record_queue.waiting > self._deep_rows
        ):
            return loaded_models
        self._metrics.shadow_shed(sum(map(len, exposures)))
        return msgspec.structs.replace(loaded_models, compatible=())

    def _add(self, exposures: Sequence[Exposure], make: MakeRows) -> None:
        """Keep the rows for the log; an exposure that cannot be encoded is dropped, and the others are kept."""
        rows = attempt(make, exposures)
        if not isinstance(rows, Exception):
            for batch in rows:
                self._retry_buffer.add(batch)
        elif len(exposures) == 1:
            _LOG.error("exposure_not_recorded", exc_info=rows)
            self._metrics.dropped(len(exposures[0]))
        else:
            for exposure in exposures:
                self._add([exposure], make)

    def _shadow_failed(self, version: str, error: Exception) -> None:
        self._shadow_failures.add(version, f"{type(error).__name__}: {error}")
