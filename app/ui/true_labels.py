"""The true labels in a file that is predicted: read once, sent after the predictions, with what became of each line."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from app.tables.labels import BadLine, in_order
from app.tables.meaning import NumberCell, TableReading, category_of, stands_for_nothing
from app.tables.table import Table
from app.ui.client import ApiClient
from app.ui.records import ApiContract, ApiPrediction
from app.ui.transport import NotUnderstood

Label = str | float
RECORDED = ("accepted", "duplicate")
_SHOWN_CLASSES = 8
_BOOLEANS = {"false": 0.0, "true": 1.0}


class TrueLabels(msgspec.Struct, frozen=True):
    """The labels in `column` by line. `without` rows have none; those in `bad` have one that the model cannot take."""

    column: str
    by_line: Mapping[int, Label]
    without: int
    bad: tuple[BadLine, ...]


class Judged(msgspec.Struct, frozen=True):
    """The recorded labels of one version's answers. `right` counts classes, `error` is the mean distance of numbers."""

    version: str
    labelled: int
    right: int | None
    error: float | None


def true_labels(table: Table, column: str, contract: ApiContract) -> TrueLabels:
    """The labels of a column, read as the model names its classes, or as numbers."""
    (found,) = [each for each in table.columns if each.name == column]
    read = _numbers(table, column) if contract.task == "regression" else _classes(found.cells, contract.classes)
    labels: dict[int, Label] = {}
    bad = []
    for line, label in zip(table.lines, read, strict=True):
        if isinstance(label, BadLine):
            bad.append(BadLine(line, label.status, label.message))
        elif label is not None:
            labels[line] = label
    return TrueLabels(column, labels, len(table.lines) - len(labels) - len(bad), tuple(bad))


def _classes(cells: Sequence[str | None], classes: Sequence[str]) -> list[Label | BadLine | None]:
    return [_class(cell, classes) for cell in cells]


def _class(cell: str | None, classes: Sequence[str]) -> Label | BadLine | None:
    """The class by its name, else by its meaning: `3.0` is the class 3, and `true` the class True."""
    text = category_of(cell, classes)
    if text is None or text in classes:
        return text
    number = _number(text)
    alike = [name for name in classes if number is not None and _number(name) == number]
    if len(alike) == 1:
        return alike[0]
    names = ", ".join(classes[:_SHOWN_CLASSES]) + (", …" if len(classes) > _SHOWN_CLASSES else "")
    return BadLine(0, "invalid", f"{text.strip()[:40]!r} is no class of the model: {names}")


def _number(text: str) -> float | None:
    """The number that a class may be; codes such as `007` are texts."""
    text = text.strip()
    if text.lower() in _BOOLEANS:
        return _BOOLEANS[text.lower()]
    digits = text.lstrip("+-")
    if digits[:1] == "0" and digits[1:2].isdigit():
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in text else None


def _numbers(table: Table, column: str) -> list[Label | BadLine | None]:
    (found,) = [each for each in table.columns if each.name == column]
    numbers = TableReading(table).numbers(found)
    return [_finite(value, numbers.unclear) for value in numbers.values]


def _finite(value: NumberCell, unclear: str | None) -> Label | BadLine | None:
    if value is None or (isinstance(value, str) and stands_for_nothing(value)):
        return None
    if unclear is not None:
        return BadLine(0, "invalid", f"the column {unclear}")
    if isinstance(value, str) or not math.isfinite(value):
        return BadLine(0, "invalid", f"{str(value)[:40]!r} is not a number")
    return value


class LabelSender:
    """Sends the labels of answered lines, each once; what the API said of a line is in `statuses`."""

    def __init__(self, labels: TrueLabels) -> None:
        self.labels = labels
        self.statuses: dict[int, str] = {}
        self._refused: list[BadLine] = []

    @property
    def recorded(self) -> int:
        """How many labels the API has."""
        return sum(status in RECORDED for status in self.statuses.values())

    @property
    def not_recorded(self) -> list[BadLine]:
        """The lines whose label the API does not have, in the order of the file."""
        return in_order([*self.labels.bad, *self._refused])

    @property
    def reasons(self) -> Counter[str]:
        """How many labels were not recorded, by status."""
        return Counter(each.status for each in self.not_recorded)

    def waiting(self, lines: Iterable[int]) -> int:
        """How many of these lines have a label that was not sent yet."""
        return sum(line in self.labels.by_line and line not in self.statuses for line in lines)

    def send(self, api: ApiClient, answered: Sequence[tuple[int, ApiPrediction]]) -> None:
        """Send the labels of these lines. Raises `NoResult`; then none of them is noted, and all may be sent again."""
        lines = [
            (line, answer.prediction_id, self.labels.by_line[line])
            for line, answer in answered
            if line in self.labels.by_line and line not in self.statuses
        ]
        if not lines:
            return
        receipt = api.send_outcomes([(key, label) for _, key, label in lines])
        items = receipt.items
        if len(items) != len(lines):
            raise NotUnderstood("the API did not say what became of each label: it is of an older release")
        for (line, _, _), item in zip(lines, items, strict=True):
            self.statuses[line] = item.status
            if item.status not in RECORDED:
                self._refused.append(BadLine(line, item.status, item.message))

    def judged(self, line: int, answer: ApiPrediction) -> str | float | None:
        """`right` or `wrong`, for a number its distance from the label; None where no label is recorded."""
        if self.statuses.get(line) not in RECORDED:
            return None
        label = self.labels.by_line[line]
        if isinstance(label, float) and not isinstance(answer.prediction, str):
            return abs(answer.prediction - label)
        return "right" if answer.prediction == label else "wrong"


def by_version(judged: Sequence[tuple[str, str | float | None]]) -> list[Judged]:
    """The versions in their order, from each answer's version and what `LabelSender.judged` says of it."""
    found: dict[str, list[str | float]] = {}
    for version, what in judged:
        if what is not None:
            found.setdefault(version, []).append(what)
    return [_summed(version, each) for version, each in sorted(found.items())]


def _summed(version: str, judged: Sequence[str | float]) -> Judged:
    distances = [each for each in judged if isinstance(each, float)]
    if distances:
        return Judged(version, len(distances), None, sum(distances) / len(distances))
    return Judged(version, len(judged), sum(each == "right" for each in judged), None)
