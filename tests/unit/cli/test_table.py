"""Tables: aligned columns, nothing cut off, and nothing in a cell taken for markup."""

from __future__ import annotations

import pytest

from app.cli.table import table_lines, terminal_width

HEADINGS = ("VERSION", "REQUESTS", "NOTE")
ROWS = [("v1", "1,234", "[bold]a[/] note of several words"), ("v" * 40, "–", "")]


def test_columns_are_aligned_and_cells_are_printed_as_they_are() -> None:
    heading, first, second = table_lines(ROWS, HEADINGS, numeric=[1])
    assert first.index("[bold]a[/]") == heading.index("NOTE")
    assert first.index("1,234") + 5 == heading.index("REQUESTS") + 8
    assert second == f"{'v' * 40}         –"


def test_without_a_width_a_row_is_one_line_however_long() -> None:
    checksum = "0123456789abcdef" * 4
    assert table_lines([(checksum * 10, checksum)], ("A", "B"))[1].split() == [checksum * 10, checksum]


@pytest.mark.parametrize("width", [20, 40, 60, 80])
def test_a_table_that_is_too_wide_is_wrapped_and_loses_no_character(width: int) -> None:
    lines = table_lines(ROWS, HEADINGS, numeric=[1], width=width)
    assert max(map(len, lines)) <= width
    printed = "".join("".join(lines).split())
    assert sorted(printed) == sorted("".join("".join([*HEADINGS, *(cell for row in ROWS for cell in row)]).split()))


def test_optional_columns_are_left_out_before_cells_are_wrapped() -> None:
    lines = table_lines(ROWS, HEADINGS, width=52, required=1)
    assert [line.split() for line in lines] == [["VERSION", "REQUESTS"], ["v1", "1,234"], ["v" * 40, "–"]]


def test_rows_may_come_without_headings() -> None:
    assert table_lines([("a", "10"), ("bcd", "9")], numeric=[1]) == ["a    10", "bcd   9"]


def test_a_pipe_has_no_width(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert terminal_width() is None
