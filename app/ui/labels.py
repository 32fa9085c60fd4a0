"""A file of labels sent to the API in batches, with what became of each line; it can be cancelled and resumed."""

from __future__ import annotations

import threading
from collections import Counter

from app.tables.labels import BadLine, LabelFile, in_order
from app.ui.client import ApiClient
from app.ui.transport import CallRefused, NoResult, NotUnderstood

ROWS_PER_CALL = 2000
_TOO_LARGE = 413


class LabelJob:
    """The work on one file; `step` sends the next batch. What was accepted stays, and may be sent again."""

    def __init__(self, labels: LabelFile) -> None:
        self._labels = labels
        self._size = ROWS_PER_CALL
        # A click starts another run of the page while the previous one is still in `step`: one batch at a time.
        self._lock = threading.Lock()
        self._refused = list(labels.bad)
        self.done = 0
        self.accepted = 0
        self.duplicates = 0
        self.cancelled = False
        self.failure: NoResult | None = None

    @property
    def rows(self) -> int:
        """The number of rows that are sent."""
        return len(self._labels.rows)

    @property
    def without(self) -> int:
        """The number of rows that have no label."""
        return self._labels.without

    @property
    def refused(self) -> list[BadLine]:
        """The lines that were not accepted, in the order of the file."""
        return in_order(self._refused)

    @property
    def reasons(self) -> Counter[str]:
        """How many lines were not accepted, by the status in the API's answer."""
        return Counter(each.status for each in self._refused)

    @property
    def running(self) -> bool:
        """Whether rows are left and the job is neither cancelled nor stopped by a failure."""
        return self.done < self.rows and not self.cancelled and self.failure is None

    def cancel(self) -> None:
        """Stop before the next batch. Waits for the batch in progress."""
        self.cancelled = True
        with self._lock:
            return

    def resume(self) -> None:
        """Send the failed batch again: what it had brought in counts once."""
        self.failure = None

    def step(self, api: ApiClient) -> None:
        """Send the next batch, if the job is running."""
        with self._lock:
            if self.running:
                self._send_next(api)

    def _send_next(self, api: ApiClient) -> None:
        stop = min(self.done + self._size, self.rows)
        rows = self._labels.rows[self.done : stop]
        try:
            receipt = api.send_labels(self._labels.as_csv(self.done, stop))
            if len(receipt.items) != len(rows):
                raise NotUnderstood("the API did not say what became of each row: it is of an older release")
        except NoResult as failure:
            if isinstance(failure, CallRefused) and failure.status == _TOO_LARGE and len(rows) > 1:
                self._size = len(rows) // 2
                return
            self.failure = failure.with_traceback(None)
            return
        for row, item in zip(rows, receipt.items, strict=True):
            if item.status not in ("accepted", "duplicate"):
                self._refused.append(BadLine(row.line, item.status, item.message))
        self.accepted += receipt.accepted
        self.duplicates += receipt.duplicates
        self.done = stop
