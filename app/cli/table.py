"""Tables of plain text, for terminals and for pipes."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Collection, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

# Wider than any table. A wrapped line in a pipe or a file would break `grep` and `awk`.
_UNLIMITED = 100_000
_GAP = 2


def table_lines(
    rows: Sequence[Sequence[str]],
    headings: Sequence[str] | None = None,
    *,
    numeric: Collection[int] = (),
    width: int | None = None,
    required: int | None = None,
) -> list[str]:
    """The rows in aligned columns below the headings, one string a line, `width` characters wide at most (None: any).

    `numeric` are the positions of the columns to align right. A table that is too wide loses the columns after the
    first `required` ones (None: keeps all), the last column first; then cells are wrapped, so no cell is cut off.
    """
    columns = len(headings or rows[0])
    lines = _rendered(rows, headings, numeric, columns, _UNLIMITED)
    if width is None or _widest(lines) <= width:
        return lines
    while required is not None and columns > required and _widest(lines) > width:
        columns -= 1
        lines = _rendered(rows, headings, numeric, columns, _UNLIMITED)
    return _rendered(rows, headings, numeric, columns, width)


def terminal_width() -> int | None:
    """The width of the terminal that standard output is, in characters; None if it is a pipe or a file."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _rendered(
    rows: Sequence[Sequence[str]], headings: Sequence[str] | None, numeric: Collection[int], columns: int, width: int
) -> list[str]:
    table = Table(box=None, show_header=headings is not None, header_style="", padding=(0, _GAP, 0, 0), pad_edge=False)
    for column in range(columns):
        # "fold" breaks even a word that has no blank, such as a checksum; rich's default would cut it off.
        heading = Text(headings[column] if headings else "")
        table.add_column(heading, justify="right" if column in numeric else "left", overflow="fold")
    for row in rows:
        # As Text, or rich would take "[...]" in a name for markup.
        table.add_row(*(Text(cell) for cell in row[:columns]))
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as captured:
        console.print(table)
    return [line.rstrip() for line in captured.get().splitlines()]


def _widest(lines: Sequence[str]) -> int:
    return max(map(cell_len, lines))
