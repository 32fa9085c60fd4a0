"""CSV text as a table. pyarrow splits it; here are the questions that a CSV file leaves open."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from app.tables.table import RaggedRow, Table, TableColumn, TableRefused, column_names

# Of two that split the header alike, the rarer one in text and numbers comes first.
SEPARATORS = ("\t", ";", "|", ",")
_SAMPLE = 1 << 16
_LEAST_BLOCK, _LARGEST_BLOCK = 1 << 20, 1 << 30
# Excel's own first line, which names the separator.
_SEPARATOR_LINE = re.compile(r'"?sep=(?P<separator>[^\r\n"])"?[ \t]*(?:\r\n|\n|\r|$)', re.IGNORECASE)
_BLANK_LINES = re.compile(r"(?:[ \t]*(?:\r\n|\n|\r))*")
_LINE_END = r"\r\n|\n|\r"
_QUOTED = re.compile(r'(?:(?<=[,;\t|\r\n])|\A) *"(?:[^"]|"")*"')


class _Ragged(msgspec.Struct, frozen=True):
    """A record that has more or fewer cells than the header; `number` counts the records of the file."""

    number: int
    fields: int
    text: str


class _Records(msgspec.Struct, frozen=True):
    """The records as wide as the first, by column, with the lines on which they begin; and the others."""

    columns: list[list[str]]
    lines: list[int]
    ragged: tuple[RaggedRow, ...]

    def rows(self) -> list[int]:
        """The places of the records after the header that have any text."""
        return [at for at in range(1, len(self.lines)) if any(column[at].strip() for column in self.columns)]


def read_delimited(text: str, origin: str) -> Table:
    """The table in CSV text with a header line; `origin` names the file in refusals.

    The separator is what Excel's line `sep=` says, else a comma, semicolon, tab or bar, whichever splits header and
    rows alike. A quoted cell may hold separators and line ends, in the header, too. Rows without any text are left
    out. Raises `TableRefused`.
    """
    separator, start = _separator_line(text)
    start = _end_of_blank_lines(text, start)
    body = text[start:]
    if not body:
        raise TableRefused(f"{origin} is empty: it needs a header line and rows")
    first_line = 1 + len(re.findall(_LINE_END, text[:start]))
    separator = separator or _likely_separator(body)
    if _quotes_follow_spaces(body, separator):
        body = _without_spaces_before_quotes(body, separator, origin)
    records = _records(body, separator, first_line, origin)
    names = column_names([column[0] for column in records.columns], origin)
    kept = records.rows()
    if not kept and not records.ragged:
        raise TableRefused(f"{origin} has a header but no rows: add rows")
    return Table(
        columns=tuple(
            TableColumn(name, tuple(column[at] for at in kept))
            for name, column in zip(names, records.columns, strict=True)
        ),
        lines=tuple(records.lines[at] for at in kept),
        separator=separator,
        ragged=records.ragged,
    )


def _separator_line(text: str) -> tuple[str | None, int]:
    found = _SEPARATOR_LINE.match(text)
    return (found["separator"], found.end()) if found else (None, 0)


def _end_of_blank_lines(text: str, start: int) -> int:
    found = _BLANK_LINES.match(text, start)
    end = start if found is None else found.end()
    return end if text[end:].strip() else len(text)


def _likely_separator(text: str) -> str:
    """The separator that occurs in the header and splits most rows of the beginning alike; of equals the frequent."""
    lines = [line for line in re.split(_LINE_END, _QUOTED.sub("_", text[:_SAMPLE])) if line.strip()]
    rows = lines[1:-1] if len(text) > _SAMPLE else lines[1:]

    def suits(separator: str) -> tuple[float, int]:
        count = lines[0].count(separator) if lines else 0
        alike = sum(row.count(separator) == count for row in rows)
        return (alike / max(len(rows), 1) if count else -1.0), count

    best = max(SEPARATORS, key=suits)
    return best if suits(best)[1] else ","


def _records(text: str, separator: str, first_line: int, origin: str) -> _Records:
    table, broken = _split(text, separator, origin)
    starts = _starts(table, {each.number: each.text for each in broken}, first_line)
    if table.num_rows:
        _require_closed_quote(text, separator, table.columns[-1][-1].as_py(), starts[-1], origin)
    numbers = {each.number for each in broken}
    # A quote that is not closed takes in all the rest of the file.
    if broken and broken[-1].number == len(starts) and broken[-1].text.count('"') % 2:
        raise TableRefused(f"{origin}, line {starts[-1]}: a quote is not closed")
    ragged = tuple(RaggedRow(starts[each.number - 1], each.fields) for each in broken if each.text.strip())
    lines = [line for number, line in enumerate(starts, start=1) if number not in numbers]
    return _Records([column.to_pylist() for column in table.columns], lines, ragged)


def _split(text: str, separator: str, origin: str) -> tuple[pa.Table, list[_Ragged]]:
    """The records as wide as the first as texts, and those that are not; numbered together."""
    broken: list[_Ragged] = []

    def note(row: arrow_csv.InvalidRow) -> str:
        broken.append(_Ragged(row.number, row.actual_columns, row.text))
        return "skip"

    raw = text.encode()
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(raw),
            # One block and one thread: only so are the records numbered.
            read_options=arrow_csv.ReadOptions(
                use_threads=False,
                autogenerate_column_names=True,
                block_size=min(max(len(raw) + 1, _LEAST_BLOCK), _LARGEST_BLOCK),
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=separator, newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=note
            ),
            convert_options=arrow_csv.ConvertOptions(default_column_type=pa.string(), strings_can_be_null=False),
        )
    except pa.ArrowInvalid as error:
        raise TableRefused(f"{origin}: {error}") from error
    return table, broken


def _starts(table: pa.Table, broken: Mapping[int, str], first_line: int) -> list[int]:
    """The line on which each record begins; `broken` has the text of the records that are not in `table`."""
    within = np.zeros(table.num_rows, dtype=np.int64)
    for column in table.columns:
        within += pc.count_substring_regex(column, _LINE_END).to_numpy()
    whole = iter(within.tolist())
    starts, line = [], first_line
    for number in range(1, table.num_rows + len(broken) + 1):
        starts.append(line)
        line += 1 + (len(re.findall(_LINE_END, broken[number])) if number in broken else next(whole))
    return starts


def _require_closed_quote(text: str, separator: str, last: str, line: int, origin: str) -> None:
    """Raise `TableRefused` if the last cell takes in the rest of the file, because its quote is not closed."""
    end = text.rstrip("\r\n")
    opened = '"' + last.rstrip("\r\n").replace('"', '""')
    if end.endswith(opened) and end[: -len(opened)].endswith((separator, "\n", "\r")):
        raise TableRefused(f"{origin}, line {line}: a quote is not closed")


def _quotes_follow_spaces(text: str, separator: str) -> bool:
    """Whether cells are quoted after a space, as in `1, "a, b"`: to the parser, such a quote is text."""
    mark = re.escape(separator)
    after_space = re.compile(rf'{mark} +"')
    if separator == " " or not after_space.search(text):
        return False
    # Looked for between the quoted cells: within one, it is text.
    quoted = re.compile(rf'(?:(?<=[{mark}\r\n])|\A)"(?:[^"]|"")*"')
    return after_space.search(quoted.sub("_", text)) is not None


def _without_spaces_before_quotes(text: str, separator: str, origin: str) -> str:
    """The same records, on the same lines, without spaces after separators."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    written = io.StringIO()
    try:
        csv.writer(written, delimiter=separator, lineterminator="\n").writerows(reader)
    except csv.Error as error:
        raise TableRefused(f"{origin}, line {reader.line_num}: {error}") from error
    return written.getvalue()
