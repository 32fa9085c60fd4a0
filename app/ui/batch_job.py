"""A file on its way through the api, part by part, so that it can be watched, stopped and taken up again."""

from __future__ import annotations

import threading

import msgspec
import pandas as pd

from app.ui.batch_rows import BadRow, Line, Table, row_of
from app.ui.client import ApiClient
from app.ui.errors import NoResult, Refused
from app.ui.records import Cell, Contract, Prediction

ROWS_A_CALL = 2000


class Answered(msgspec.Struct, frozen=True):
    """A row and its answer."""

    line: Line
    answer: Prediction
    version: str


class Job:
    """The work on one file. `step` does a part of it; `failure` is what stopped it until `go_on`.

    A click starts another run of the page while the one before is still in its step: so one part is done at a time.
    """

    def __init__(self, table: Table, contract: Contract, columns: dict[str, str | None], version: str | None) -> None:
        self._table = table
        self._contract = contract
        self._columns = columns
        self._version = version
        self._next = 0
        self._lock = threading.Lock()
        self.answered: list[Answered] = []
        self.bad: list[BadRow] = []
        self.cancelled = False
        self.failure: NoResult | None = None

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self._table.lines)

    @property
    def done(self) -> int:
        """How many were taken, well or badly."""
        return self._next

    @property
    def running(self) -> bool:
        """Whether there is something left to do, and nothing against it."""
        return self._next < self.rows and not self.cancelled and self.failure is None

    def cancel(self) -> None:
        """Leave the rest; what was answered stays. The part that is being asked is waited for."""
        self.cancelled = True
        with self._lock:
            return

    def go_on(self) -> None:
        """Try the part again that failed."""
        self.failure = None

    def step(self, api: ApiClient) -> None:
        """Take the next rows, if the job still runs; bad ones are noted and the others go on."""
        with self._lock:
            if self.running:
                self._take_next(api)

    def result(self) -> pd.DataFrame:
        """The file's columns with `prediction`, `confidence`, `model_version`, `prediction_id` and `line`."""
        frame = pd.DataFrame([each.line.cells for each in self.answered], columns=list(self._table.header))
        frame["prediction"] = [each.answer.prediction for each in self.answered]
        frame["confidence"] = [each.answer.confidence for each in self.answered]
        frame["model_version"] = [each.version for each in self.answered]
        frame["prediction_id"] = [each.answer.prediction_id for each in self.answered]
        frame["line"] = [each.line.number for each in self.answered]
        return frame

    def _take_next(self, api: ApiClient) -> None:
        part = self._table.lines[self._next : self._next + ROWS_A_CALL]
        good: list[tuple[Line, list[Cell]]] = []
        bad: list[BadRow] = []
        for line in part:
            row = row_of(self._contract, self._table, self._columns, line)
            if isinstance(row, BadRow):
                bad.append(row)
            else:
                good.append((line, row))
        try:
            answered = self._asked(api, good, bad)
        except NoResult as failure:
            self.failure = failure.with_traceback(None)
            return
        self.answered += answered
        self.bad += sorted(bad, key=lambda row: row.line)
        self._next += len(part)

    def _asked(self, api: ApiClient, good: list[tuple[Line, list[Cell]]], bad: list[BadRow]) -> list[Answered]:
        """The answers to `good`; a row that the api refuses moves to `bad`, and the rest is asked again."""
        while good:
            try:
                batch = api.predict_batch([row for _, row in good], self._version)
            except Refused as refusal:
                if refusal.index is None or not 0 <= refusal.index < len(good):
                    raise
                line, _ = good.pop(refusal.index)
                bad.append(BadRow(line.number, refusal.message))
                continue
            pairs = zip(good, batch.predictions, strict=True)
            return [Answered(line, answer, batch.model_version) for (line, _), answer in pairs]
        return []
