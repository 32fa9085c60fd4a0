"""Read a CSV file into columns, or say what is wrong with it."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from pathlib import Path

from app.errors import DataRefused
from app.training.columns import MISSING, Column, typed

SEPARATORS = (",", ";", "\t", "|")
_QUOTED = re.compile(r'"[^"]*"')


def read_csv(path: Path) -> tuple[Column, ...]:
    """The columns of a UTF-8 file with a header line, in their order, all of the same length.

    The separator is a comma, semicolon, tab or bar, whichever splits the header most; with other separators than the
    comma, numbers may have a decimal comma. Raises `DataRefused` where the file cannot be read as that.
    """
    text = _text(path)
    separator = _separator(text)
    records = _records(path, text, separator)
    if not records:
        raise DataRefused(f"{path} is empty")
    names = _names(path, records[0][1])
    rows = [_fitting(path, line, record, len(names)) for line, record in records[1:]]
    if not rows:
        raise DataRefused(f"{path} has a header but no rows")
    return tuple(
        typed(name, cells, decimal_comma=separator != ",")
        for name, cells in zip(names, zip(*rows, strict=True), strict=True)
    )


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise DataRefused(f"there is no file {path}") from None
    except OSError as error:
        raise DataRefused(f"{path} cannot be read: {error.strerror or error}") from error
    if b"\0" in raw:
        raise DataRefused(f"{path} is not UTF-8 text (UTF-16 or a binary file?): save it as CSV in UTF-8")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataRefused(
            f"{path} is not UTF-8 text (byte 0x{raw[error.start]:02x} at offset {error.start}): save it as CSV in UTF-8"
        ) from None


def _separator(text: str) -> str:
    header = _QUOTED.sub("", re.split(r"[\r\n]", text.lstrip(), maxsplit=1)[0])
    return max(SEPARATORS, key=header.count)


def _records(path: Path, text: str, separator: str) -> list[tuple[int, list[str]]]:
    """The records that are not blank, each with the number of its last line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    try:
        return [(reader.line_num, record) for record in reader if any(cell.strip() for cell in record)]
    except csv.Error as error:
        raise DataRefused(f"{path}, line {reader.line_num}: {error}") from error


def _names(path: Path, header: list[str]) -> list[str]:
    names = [cell.strip() or f"column_{number}" for number, cell in enumerate(header, start=1)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataRefused(f"{path} has more than one column {twice[0]!r}: rename one", field=twice[0])
    return names


def _fitting(path: Path, line: int, record: list[str], width: int) -> list[str | None]:
    if len(record) != width:
        raise DataRefused(f"{path}, line {line}: {len(record)} fields where the header has {width}")
    return [None if cell in MISSING else cell for cell in map(str.strip, record)]
