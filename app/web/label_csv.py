"""Outcomes in the body of a request as CSV: a header line, then a prediction and its outcome on each line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import msgspec

from app.errors import BakeoffError, InvalidRequest

_NAMES, _OUTCOMES = ("prediction_id", "id"), ("actual", "reward")
_SEPARATORS = (",", ";", "\t")
_LONG_TEXT = 60
_LONGEST_FIELD = (
    2**31 - 1
)  # no limit: that of the body holds, and texts may be longer than the 128 KiB of Python's module
EXAMPLE = "id,actual\norder-4711,setosa\n"


class CsvOutcomes(msgspec.Struct, frozen=True):
    """The rows as items of feedback, an error in place of one that is no item; and the line on which each begins."""

    items: list[dict[str, str] | BakeoffError]
    lines: list[int]


def csv_outcomes(body: bytes) -> CsvOutcomes:
    """The outcomes in CSV text in UTF-8, separated by commas, semicolons or tabs. An empty cell is no outcome.

    Raises `InvalidRequest` for a body that is no such text, or whose header names no prediction or no outcome.
    """
    text = csv_text(body)
    separator = _separator(text)
    items: list[dict[str, str] | BakeoffError] = []
    lines: list[int] = []
    records = csv_records(text, separator)
    _, header = next(records, (1, []))
    names = _checked_header([name.strip() for name in header])
    for line, cells in records:
        if cells:
            items.append(_item(names, cells))
            lines.append(line)
    return CsvOutcomes(items, lines)


def csv_text(body: bytes) -> str:
    """The text in UTF-8. Raises `InvalidRequest` that names the line."""
    try:
        # Spreadsheets write a byte order mark, which would be part of the first name.
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + body.count(b"\n", 0, error.start)
        raise InvalidRequest(f"line {line}: not valid UTF-8") from None


def _separator(text: str) -> str:
    header = text[: text.find("\n") + 1] or text
    return max(_SEPARATORS, key=header.count)


def csv_records(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line on which it begins. Raises `InvalidRequest` that names the line."""
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line = 1
    try:
        for cells in reader:
            yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise InvalidRequest(f"line {line}: {error}") from None


def _checked_header(names: list[str]) -> list[str]:
    for name in names:
        if name not in (*_NAMES, *_OUTCOMES):
            shown = name[:_LONG_TEXT]
            raise InvalidRequest(
                f"line 1: unknown column {shown!r}; the columns are prediction_id or id, and actual or reward",
                field=shown or None,
            )
    if len(set(names)) < len(names):
        raise InvalidRequest("line 1: a column is named twice")
    if sum(name in names for name in _NAMES) != 1:
        raise InvalidRequest("line 1: give one of the columns prediction_id and id", field="prediction_id")
    if not any(name in names for name in _OUTCOMES):
        raise InvalidRequest("line 1: give a column actual (the true label) or reward (a number)", field="actual")
    return names


def _item(names: list[str], cells: list[str]) -> dict[str, str] | BakeoffError:
    if len(cells) != len(names):
        return InvalidRequest(f"{len(cells)} fields where the header has {len(names)}")
    return {name: cell for name, cell in zip(names, cells, strict=True) if name in _NAMES or cell.strip()}
