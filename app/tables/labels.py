"""A file of labels: which columns name the predictions and their outcomes, and its rows as the API takes them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from app.tables.table import Cells, Table

PREDICTION_ID, KEY, LABEL, REWARD = "prediction_id", "id", "actual", "reward"


class LabelColumns(msgspec.Struct, frozen=True):
    """The columns of a file. `name` has prediction ids, or the caller's own keys, as `by` says."""

    name: str
    by: Literal["prediction_id", "id"]
    actual: str | None = None
    reward: str | None = None

    @property
    def chosen(self) -> tuple[str, ...]:
        """The columns that are sent, in their order."""
        return tuple(column for column in (self.name, self.actual, self.reward) if column is not None)


class LabelRow(msgspec.Struct, frozen=True):
    """A row with an outcome: the cells of `LabelColumns.chosen`, and the line of the file (row of a Parquet file)."""

    line: int
    cells: Cells


class BadLine(msgspec.Struct, frozen=True):
    """A line of the file that was not accepted: its `status` in the API's answer, and why."""

    line: int
    status: str
    message: str


class LabelFile(msgspec.Struct, frozen=True):
    """What is to be sent of a file. `without` rows have no outcome; `bad` lines cannot be sent."""

    columns: LabelColumns
    rows: tuple[LabelRow, ...]
    without: int
    bad: tuple[BadLine, ...]

    def as_csv(self, start: int, stop: int) -> bytes:
        """The rows from `start` to before `stop` as the API reads them."""
        names: list[str] = [self.columns.by]
        names += [kind for kind in (LABEL, REWARD) if getattr(self.columns, kind) is not None]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(row.cells for row in self.rows[start:stop])
        return text.getvalue().encode()


def label_file(table: Table, columns: LabelColumns) -> LabelFile:
    """The rows of a table that have an outcome. Rows of another width than the header are bad."""
    cells = {column.name: column.cells for column in table.columns}
    rows = []
    for line, row in zip(table.lines, zip(*(cells[name] for name in columns.chosen), strict=True), strict=True):
        if any(cell is not None and cell.strip() for cell in row[1:]):
            rows.append(LabelRow(line, row))
    width = len(table.columns)
    bad = [BadLine(each.line, "invalid", f"{each.fields} fields where the header has {width}") for each in table.ragged]
    return LabelFile(columns, tuple(rows), len(table.lines) - len(rows), tuple(bad))


def likely_columns(names: Sequence[str], target: str | None) -> tuple[str | None, str | None, str | None]:
    """The columns for the name of the prediction, the label and the reward; None where the file has none of that name.

    A label is in `actual`, or in a column with the name of what the model predicts.
    """
    found = [next((name for name in wanted if name in names), None) for wanted in ((PREDICTION_ID, KEY), (REWARD,))]
    label = next((name for name in (LABEL, target) if name in names and name != found[0]), None)
    return found[0], label, found[1]


def by_of(column: str) -> Literal["prediction_id", "id"]:
    """What a column of that name has: prediction ids only where it is called so, since any text may be an own key."""
    return "prediction_id" if column == PREDICTION_ID else "id"


def in_order(lines: Iterable[BadLine]) -> list[BadLine]:
    """The lines in the order of the file."""
    return sorted(lines, key=lambda each: each.line)
