"""A file of labels sent to the API in batches, with what became of each line; it can be cancelled and resumed."""

from __future__ import annotations

from collections import Counter

from app.tables.labels import BadLine, LabelFile, in_order
from app.ui.client import ApiClient
from app.ui.file_job import FileJob
from app.ui.transport import CallRefused, NotUnderstood

ROWS_PER_CALL = 2000
_TOO_LARGE = 413


class LabelJob(FileJob):
    """The labels of one file. What was accepted stays, and may be sent again: it counts once."""

    def __init__(self, labels: LabelFile) -> None:
        super().__init__(len(labels.rows))
        self._labels = labels
        self._size = ROWS_PER_CALL
        self._refused = list(labels.bad)
        self.accepted = 0
        self.duplicates = 0

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

    def _send_next(self, api: ApiClient) -> None:
        stop = min(self.done + self._size, self.rows)
        rows = self._labels.rows[self.done : stop]
        try:
            receipt = api.send_labels(self._labels.as_csv(self.done, stop))
        except CallRefused as refusal:
            if refusal.status != _TOO_LARGE or len(rows) == 1:
                raise
            self._size = len(rows) // 2
            return
        if len(receipt.items) != len(rows):
            raise NotUnderstood("the API did not say what became of each row: it is of an older release")
        for row, item in zip(rows, receipt.items, strict=True):
            if item.status not in ("accepted", "duplicate"):
                self._refused.append(BadLine(row.line, item.status, item.message))
        self.accepted += receipt.accepted
        self.duplicates += receipt.duplicates
        self.done = stop
