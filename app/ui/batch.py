"""A CSV or Parquet file sent to the API in batches: columns matched to features, errors by line, cancel and resume."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Mapping, Sequence
from itertools import takewhile

import msgspec
import pandas as pd

from app.tables.meaning import NumberCell, Numbers, TableReading
from app.tables.model_columns import ModelColumn
from app.tables.reading import read_table
from app.tables.table import Cells, RaggedRow, Table
from app.ui.client import ApiClient, Row
from app.ui.columns import PageColumns
from app.ui.file_job import FileJob
from app.ui.records import ApiContract, ApiModel, ApiPrediction, Cell
from app.ui.transport import CallRefused
from app.ui.true_labels import LabelSender, TrueLabels


class Line(msgspec.Struct, frozen=True):
    """A row of the file; `number` is the line on which it begins, the header being line 1."""

    number: int
    cells: Cells


class BadRow(msgspec.Struct, frozen=True):
    """A row that failed, and why."""

    line: int
    reason: str


def read_upload(content: bytes) -> Table:
    """The table in a CSV or Parquet file; rows of another width than the header are noted. Raises `TableRefused`."""
    return read_table(content, "the file", ragged=True)


def template(model: ApiModel) -> str:
    """A CSV with the model's columns and up to three real rows."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([feature.name for feature in model.contract.features])
    writer.writerows([["" if cell is None else cell for cell in row] for row in model.examples[:3]])
    return text.getvalue()


def _checked(feature: ModelColumn, value: NumberCell, unclear: str | None) -> Cell | BadRow:
    """The value as a request has it, or why the row fails."""
    if value is None:
        return None if feature.nullable else BadRow(0, f"{feature.name} is missing")
    if feature.kind == "categorical":
        if value in feature.categories or feature.open_categories:
            return value
        return BadRow(0, f"{feature.name}: {str(value)[:40]!r} is not one of {', '.join(feature.categories[:8])}")
    if unclear is not None:
        return BadRow(0, f"{feature.name}: the column {unclear}")
    if isinstance(value, str):
        return BadRow(0, f"{feature.name}: {value[:40]!r} is not a number")
    return value if math.isfinite(value) else BadRow(0, f"{feature.name}: {value} is not a finite number")


ROWS_PER_CALL = 2000


def job_of(
    table: Table,
    asked: PageColumns,
    columns: Mapping[str, str | None],
    version: str | None,
    labels: TrueLabels | None = None,
    *,
    counts: bool = True,
) -> BatchJob:
    """The job for a file. A needed feature without a column is missing in each row; another is in no request."""
    used = asked.only({name for name, column in columns.items() if column is not None or name in asked.needed})
    names = [asked.sent.get(feature.name, feature.name) for feature in used.features]
    as_arrays = asked.as_arrays and len(names) == len(asked.needed)
    optional = {feature.name for feature in used.features} - asked.needed
    return BatchJob(table, used, columns, version, None if as_arrays else names, optional, labels, counts)


class Answered(msgspec.Struct, frozen=True):
    """A row and its answer."""

    line: Line
    answer: ApiPrediction
    version: str


class FeatureCells(msgspec.Struct, frozen=True):
    """A feature's cells, as its kind reads them; `unclear` says why its numbers cannot be read."""

    feature: ModelColumn
    cells: tuple[NumberCell, ...]
    unclear: str | None = None


def feature_cells(contract: ApiContract, table: Table, columns: Mapping[str, str | None]) -> list[FeatureCells]:
    """The cells of each feature in the model's order; of a feature without a column all are missing."""
    reading = TableReading(table)
    by_name = {column.name: column for column in table.columns}
    found = []
    for feature in contract.features:
        name = columns[feature.name]
        if name is None:
            found.append(FeatureCells(feature, (None,) * len(table.lines)))
            continue
        values = reading.values(by_name[name], feature)
        if isinstance(values, Numbers):
            found.append(FeatureCells(feature, values.values, values.unclear))
        else:
            found.append(FeatureCells(feature, values))
    return found


class BatchJob(FileJob):
    """The predictions for one file.

    Rows are sent as objects with `names` for the features of `contract`; without them, as arrays in its order. A row
    that has no value of a feature in `optional` is sent without it, after the others: each batch has the same columns.
    With `labels`, those of a batch are sent after its predictions; a batch whose labels failed is not predicted again.
    """

    def __init__(
        self,
        table: Table,
        contract: ApiContract,
        columns: Mapping[str, str | None],
        version: str | None,
        names: Sequence[str] | None = None,
        optional: Collection[str] = (),
        labels: TrueLabels | None = None,
        counts: bool = True,
    ) -> None:
        self._header = table.names
        self._features = feature_cells(contract, table, columns)
        lines = [Line(number, cells) for number, cells in zip(table.lines, table.rows(), strict=True)]
        whole: list[tuple[int, int | RaggedRow]] = [(line.number, place) for place, line in enumerate(lines)]
        ragged: list[tuple[int, int | RaggedRow]] = [(row.line, row) for row in table.ragged]
        self._lines = lines
        self._order = [row for _, row in sorted(whole + ragged, key=lambda pair: pair[0])]
        super().__init__(len(self._order))
        self._optional = [
            each for each in self._features if each.feature.name in optional and not each.feature.nullable
        ]
        self._order.sort(key=self._left_out)
        self._version, self._counts = version, counts
        self._names = names
        self.answered: list[Answered] = []
        self.bad: list[BadRow] = []
        self.labels = None if labels is None else LabelSender(labels)
        # Rows that are predicted, and whose labels the API may not have yet.
        self._predicted = 0
        self._labelled = 0

    @property
    def unsent(self) -> int:
        """How many predictions were made whose label was not sent yet, because the API failed."""
        if self.labels is None:
            return 0
        return self.labels.waiting(each.line.number for each in self.answered[self._labelled :])

    def judged(self) -> list[tuple[str, str | float | None]]:
        """Of each answer its version, and whether it was right; see `LabelSender.judged`."""
        if self.labels is None:
            return []
        return [(each.version, self.labels.judged(each.line.number, each.answer)) for each in self.answered]

    def result(self) -> pd.DataFrame:
        """The file's columns with `prediction`, `confidence`, `model_version`, `prediction_id` and `line`.

        With labels also `answer_was` (`right`, `wrong`; for numbers `absolute_error`) and `label_status`.
        """
        answered = sorted(self.answered, key=lambda each: each.line.number)
        frame = pd.DataFrame([each.line.cells for each in answered], columns=list(self._header))
        frame["prediction"] = [each.answer.prediction for each in answered]
        frame["confidence"] = [each.answer.confidence for each in answered]
        frame["model_version"] = [each.version for each in answered]
        frame["prediction_id"] = [each.answer.prediction_id for each in answered]
        frame["line"] = [each.line.number for each in answered]
        if self.labels is not None:
            _add_judgement(frame, self.labels, answered)
        return frame

    def _left_out(self, place: int | RaggedRow) -> tuple[str, ...]:
        """The features without which a row is sent."""
        if isinstance(place, RaggedRow):
            return ()
        return tuple(each.feature.name for each in self._optional if each.cells[place] is None)

    def _send_next(self, api: ApiClient) -> None:
        if not self._predicted:
            self._predicted = self._predict_next(api)
        if self.labels is not None:
            unsent = self.answered[self._labelled :]
            self.labels.send(api, [(each.line.number, each.answer) for each in unsent])
            self._labelled = len(self.answered)
        self.done += self._predicted
        self._predicted = 0

    def _predict_next(self, api: ApiClient) -> int:
        """Predict the next batch; how many rows it has."""
        left_out = self._left_out(self._order[self.done])
        part = self._order[self.done : self.done + ROWS_PER_CALL]
        part = list(takewhile(lambda place: self._left_out(place) == left_out, part))
        good: list[tuple[Line, Row]] = []
        bad: list[BadRow] = []
        for place in part:
            row = self._row(place, left_out)
            if isinstance(row, BadRow):
                bad.append(row)
            else:
                good.append(row)
        self.answered += self._asked(api, good, bad)
        self.bad = sorted([*self.bad, *bad], key=lambda row: row.line)
        return len(part)

    def _row(self, place: int | RaggedRow, left_out: Collection[str]) -> tuple[Line, Row] | BadRow:
        """The row as it is sent, or the reason why it fails."""
        if isinstance(place, RaggedRow):
            return BadRow(place.line, f"has {place.fields} cells where the header has {len(self._header)}")
        line = self._lines[place]
        values: list[Cell] = []
        names: list[str] = []
        for index, each in enumerate(self._features):
            if each.feature.name in left_out:
                continue
            value = _checked(each.feature, each.cells[place], each.unclear)
            if isinstance(value, BadRow):
                return BadRow(line.number, value.reason)
            values.append(value)
            names.append(each.feature.name if self._names is None else self._names[index])
        return line, values if self._names is None else dict(zip(names, values, strict=True))

    def _asked(self, api: ApiClient, good: list[tuple[Line, Row]], bad: list[BadRow]) -> list[Answered]:
        """The answers to `good`; a row that the API rejects moves to `bad`, and the rest is sent again."""
        while good:
            try:
                batch = api.predict_batch([row for _, row in good], self._version, counts=self._counts)
            except CallRefused as refusal:
                if refusal.index is None or not 0 <= refusal.index < len(good):
                    raise
                line, _ = good.pop(refusal.index)
                bad.append(BadRow(line.number, refusal.message))
                continue
            pairs = zip(good, batch.predictions, strict=True)
            return [Answered(line, answer, batch.model_version) for (line, _), answer in pairs]
        return []


def _add_judgement(frame: pd.DataFrame, labels: LabelSender, answered: Sequence[Answered]) -> None:
    judged = [labels.judged(each.line.number, each.answer) for each in answered]
    name = "absolute_error" if any(isinstance(each, float) for each in judged) else "answer_was"
    frame.insert(list(frame.columns).index("model_version"), name, judged)
    not_sent = {each.line: each.status for each in labels.labels.bad}
    frame["label_status"] = [labels.statuses.get(each.line.number, not_sent.get(each.line.number)) for each in answered]
