"""A CSV file sent to the API in batches: columns matched to features, errors by line, cancel and resume."""

from __future__ import annotations

import csv
import io
import math
import re
import threading
from collections.abc import Mapping, Sequence

import msgspec
import pandas as pd

from app.ui.client import ApiClient
from app.ui.records import ApiContract, ApiFeature, ApiModel, ApiPrediction, Cell
from app.ui.transport import CallRefused, NoResult

_EMPTY = ("", "na", "nan", "null", "none")


class UnreadableFile(Exception):
    """The file is not a CSV with a header; the message says why."""


class Line(msgspec.Struct, frozen=True):
    """A row of the file; `number` is the line on which it ends, the header being line 1."""

    number: int
    cells: tuple[str, ...]


class Table(msgspec.Struct, frozen=True):
    """A file's header and rows; empty lines are left out."""

    header: tuple[str, ...]
    lines: tuple[Line, ...]


class BadRow(msgspec.Struct, frozen=True):
    """A row that failed, and why."""

    line: int
    reason: str


def read_table(content: bytes) -> Table:
    """The table in a UTF-8 CSV with a header, split at commas, semicolons or tabs. Raises `UnreadableFile`."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableFile(f"byte {error.start + 1} is not UTF-8: save the file as UTF-8") from error
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    try:
        rows = [Line(reader.line_num, tuple(row)) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise UnreadableFile(f"line {reader.line_num}: {error}") from error
    if len(rows) < 2:
        raise UnreadableFile("there is no row below the header" if rows else "the file is empty")
    return Table(tuple(cell.strip() for cell in rows[0].cells), tuple(rows[1:]))


def template(model: ApiModel) -> str:
    """A CSV with the model's columns and up to three real rows."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([feature.name for feature in model.contract.features])
    writer.writerows([["" if cell is None else cell for cell in row] for row in model.examples[:3]])
    return text.getvalue()


def matched(contract: ApiContract, header: Sequence[str]) -> dict[str, str | None]:
    """The column for each feature, by its contract name or its name in the training data; None without a match."""
    columns = {_plain(column): column for column in reversed(header)}
    return {
        feature.name: columns.get(_plain(feature.name)) or columns.get(_plain(feature.source_name or feature.name))
        for feature in contract.features
    }


def row_of(contract: ApiContract, table: Table, columns: Mapping[str, str | None], line: Line) -> list[Cell] | BadRow:
    """The row's values in the model's order, or the reason why it fails."""
    if len(line.cells) != len(table.header):
        return BadRow(line.number, f"has {len(line.cells)} cells where the header has {len(table.header)}")
    places = {name: place for place, name in reversed(list(enumerate(table.header)))}
    values: list[Cell] = []
    for feature in contract.features:
        column = columns[feature.name]
        text = "" if column is None else line.cells[places[column]].strip()
        value = _value(feature, text)
        if isinstance(value, BadRow):
            return BadRow(line.number, value.reason)
        values.append(value)
    return values


def _value(feature: ApiFeature, text: str) -> Cell | BadRow:
    known = feature.kind == "categorical" and text in feature.categories
    if text.lower() in _EMPTY and not known:
        return None if feature.nullable else BadRow(0, f"{feature.name} is missing")
    if feature.kind == "categorical":
        if known or feature.open_categories:
            return text
        return BadRow(0, f"{feature.name}: {text[:40]!r} is not one of {', '.join(feature.categories[:8])}")
    try:
        value = float(text)
    except ValueError:
        return BadRow(0, f"{feature.name}: {text[:40]!r} is not a number")
    return value if math.isfinite(value) else BadRow(0, f"{feature.name}: {text[:40]} is not a finite number")


def _delimiter(text: str) -> str:
    """The separator: the most frequent of the three in the header."""
    head = text.split("\n", 1)[0]
    return max(",;\t", key=head.count)


def _plain(name: str) -> str:
    """A name without unit, case and punctuation: `Sepal Length (cm)` and `sepal_length` are the same."""
    bare = re.sub(r"[\(\[][^\)\]]*[\)\]]\s*$", "", name) or name
    return re.sub(r"[^0-9a-z]+", "", bare.lower())


ROWS_PER_CALL = 2000


class Answered(msgspec.Struct, frozen=True):
    """A row and its answer."""

    line: Line
    answer: ApiPrediction
    version: str


class BatchJob:
    """The predictions for one file. `step` sends one batch; `failure` stops the job until `resume`."""

    def __init__(
        self, table: Table, contract: ApiContract, columns: dict[str, str | None], version: str | None
    ) -> None:
        self._table = table
        self._contract = contract
        self._columns = columns
        self._version = version
        self._next = 0
        # A click starts another run of the page while the previous one is still in `step`: one batch at a time.
        self._lock = threading.Lock()
        self.answered: list[Answered] = []
        self.bad: list[BadRow] = []
        self.cancelled = False
        self.failure: NoResult | None = None

    @property
    def rows(self) -> int:
        """The number of rows in the file."""
        return len(self._table.lines)

    @property
    def done(self) -> int:
        """The number of rows processed, with or without success."""
        return self._next

    @property
    def running(self) -> bool:
        """Whether rows are left and the job is neither cancelled nor stopped by a failure."""
        return self._next < self.rows and not self.cancelled and self.failure is None

    def cancel(self) -> None:
        """Stop before the next batch; predictions so far stay. Waits for the batch in progress."""
        self.cancelled = True
        with self._lock:
            return

    def resume(self) -> None:
        """Retry the failed batch."""
        self.failure = None

    def step(self, api: ApiClient) -> None:
        """Send the next batch, if the job is running; failing rows are noted and the others continue."""
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
        part = self._table.lines[self._next : self._next + ROWS_PER_CALL]
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
        """The answers to `good`; a row that the API rejects moves to `bad`, and the rest is sent again."""
        while good:
            try:
                batch = api.predict_batch([row for _, row in good], self._version)
            except CallRefused as refusal:
                if refusal.index is None or not 0 <= refusal.index < len(good):
                    raise
                line, _ = good.pop(refusal.index)
                bad.append(BadRow(line.number, refusal.message))
                continue
            pairs = zip(good, batch.predictions, strict=True)
            return [Answered(line, answer, batch.model_version) for (line, _), answer in pairs]
        return []
