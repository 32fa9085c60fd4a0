"""Rows on their way to the log: kept and retried while the store cannot be used."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from app.domain.logged_rows import LoggedBatch, LoggedPrediction, RowBlock
from app.errors import StoreUnavailable
from app.services.boundaries import attempt
from app.services.ports import ExposureLog

_LOG = logging.getLogger(__name__)
_ROWS_PER_WRITE = 4096
_FIRST_RETRY_S = 0.05
_LAST_RETRY_S = 1.0
# One failure may be another writer's long commit; two in a row are an outage.
_LOGGED_FAILURE = 2
# Failures for so long are an outage that nobody waits for; until then the store may only be busy.
_STALLED_S = 1.0
# Text that is not UTF-8, a number beyond 64 bits: no store accepts such a row, however often it is retried.
_ROW_AT_FAULT = (UnicodeError, OverflowError)


class RetryBufferMetrics(Protocol):
    """Counts the rows that the buffer drops and the writes that fail."""

    def dropped(self, rows: int) -> None: ...

    def store_failed(self) -> None: ...


class RetryBuffer:
    """Up to `limit` rows that wait for the log; above that, the oldest are dropped. For one thread.

    A retry is safe: the log ignores a row that it has already. `clock` is monotonic seconds.
    """

    def __init__(self, log: ExposureLog, metrics: RetryBufferMetrics, limit: int, clock: Callable[[], float]) -> None:
        self._log = log
        self._metrics = metrics
        self._limit = limit
        self._clock = clock
        self._batches: deque[Sequence[LoggedPrediction]] = deque()
        self._waiting = 0
        self._retry_s = _FIRST_RETRY_S
        self._not_before_s = 0.0
        self._dropped = 0
        self._failures = 0
        self._failing_since_s = 0.0
        self.outage: str | None = None

    @property
    def stalled(self) -> bool:
        """Whether no write has succeeded for a second, though some were tried."""
        return self.outage is not None and self._clock() - self._failing_since_s >= _STALLED_S

    def __len__(self) -> int:
        return self._waiting

    def add(self, rows: Sequence[LoggedPrediction]) -> None:
        """Append `rows`, and drop the oldest if there are too many."""
        self._batches.append(rows)
        self._waiting += len(rows)
        excess = self._waiting - self._limit
        if excess > 0:
            self._drop(excess)

    def write(self) -> None:
        """Write all rows, one transaction for each four thousand; after a failure, only once its retry is due."""
        while self._waiting and self._clock() >= self._not_before_s:
            batch = self._oldest(_ROWS_PER_WRITE)
            error = attempt(self._log.append, batch)
            if error is None:
                self._written(len(batch))
            elif isinstance(error, _ROW_AT_FAULT):
                _LOG.error("log_row_refused", exc_info=error)
                self._write_singly(batch)
            else:
                self._failed(error)

    def _write_singly(self, batch: Sequence[LoggedPrediction]) -> None:
        """Write each row on its own and drop those at fault: one of them must not block all others for ever."""
        for place in range(len(batch)):
            error = attempt(self._log.append, batch[place : place + 1])
            if error is None:
                self._written(1)
            elif isinstance(error, _ROW_AT_FAULT):
                self._drop(1)
            else:
                self._failed(error)
                return

    def _oldest(self, most: int) -> Sequence[LoggedPrediction]:
        """The oldest rows, up to `most`: columns together, or rows together."""
        first = self._batches[0]
        if len(self._batches) == 1 or len(first) >= most:
            return first if len(first) <= most else first[:most]
        found: list[LoggedPrediction] = []
        blocks: list[RowBlock] = []
        rows = 0
        for batch in self._batches:
            if isinstance(batch, LoggedBatch) != isinstance(first, LoggedBatch) or rows + len(batch) > most:
                break
            rows += len(batch)
            if isinstance(batch, LoggedBatch):
                blocks += batch.blocks
            else:
                found += batch
        return LoggedBatch(blocks) if blocks else found

    def _remove(self, rows: int) -> None:
        self._waiting -= rows
        while rows:
            first = self._batches.popleft()
            if len(first) > rows:
                self._batches.appendleft(first[rows:])
            rows -= min(rows, len(first))

    def _written(self, rows: int) -> None:
        self._remove(rows)
        self._recovered()

    def _drop(self, rows: int) -> None:
        self._remove(rows)
        self._dropped += rows
        self._metrics.dropped(rows)

    def _failed(self, error: Exception) -> None:
        if self._failures == 0:  # the first failure of an outage
            self._retry_s = _FIRST_RETRY_S
            self._failing_since_s = self._clock()
            self._dropped = 0
        self._failures += 1
        self.outage = error.message if isinstance(error, StoreUnavailable) else f"{type(error).__name__}: {error}"
        if self._failures == _LOGGED_FAILURE:
            fields = {"reason": self.outage, "rows_waiting": len(self)}
            _LOG.error("store_outage", exc_info=_unexpected(error), extra={"event_fields": fields})
        self._not_before_s = self._clock() + self._retry_s
        self._retry_s = min(2 * self._retry_s, _LAST_RETRY_S)
        self._metrics.store_failed()

    def _recovered(self) -> None:
        if self._failures >= _LOGGED_FAILURE:
            fields = {"rows_waiting": len(self), "rows_dropped": self._dropped}
            _LOG.warning("store_recovered", extra={"event_fields": fields})
        self._failures = 0
        self._not_before_s = 0.0
        self.outage = None


def _unexpected(error: Exception) -> Exception | None:
    """The error if its traceback helps: an unavailable store is no fault in the code."""
    return None if isinstance(error, StoreUnavailable) else error
