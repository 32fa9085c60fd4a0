"""Files as tables: the cells as they are written, and refusals that name the line."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.tables.reading import read_table
from app.tables.table import TableRefused


def read(content: str | bytes):
    return read_table(content if isinstance(content, bytes) else content.encode(), "data.csv")


def cells(content: str | bytes) -> dict[str, tuple[str | None, ...]]:
    return {column.name: column.cells for column in read(content).columns}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a,b\n 1,x \n", {"a": (" 1",), "b": ("x ",)}),
        ("a,b\n?,NA\nNone,\n", {"a": ("?", "None"), "b": ("NA", "")}),
        ("\ufeffa;b\r\n1,5;2\r\n", {"a": ("1,5",), "b": ("2",)}),
        ("sep=;\r\na;b,c,d\r\n1;2\r\n", {"a": ("1",), "b,c,d": ("2",)}),
        ('"sep=|"\na|b;c\n1|2\n', {"a": ("1",), "b;c": ("2",)}),
        ("SEP=\t\na\tb\n1\t2\n", {"a": ("1",), "b": ("2",)}),
        ('"width\nin mm";price\n1;2\n', {"width\nin mm": ("1",), "price": ("2",)}),
        ('"a,\r\nb,c";"d;e"\r\n1;2\r\n', {"a,\r\nb,c": ("1",), "d;e": ("2",)}),
        # The header has as many commas as semicolons; only the semicolon splits the rows alike.
        ("temp, C;hum, %;l\n1;2;x\n3,5;4;y\n", {"temp, C": ("1", "3,5"), "hum, %": ("2", "4"), "l": ("x", "y")}),
        ('a,b\n"say ""hi"", you",5"\n', {"a": ('say "hi", you',), "b": ('5"',)}),
        ('a, "b, c"\n1, "x,\ny"\n2, z\n', {"a": ("1", "2"), "b, c": ("x,\ny", "z")}),
        ('a,b\n"say, ""hi"""," ""x"""\n', {"a": ('say, "hi"',), "b": (' "x"',)}),
        (" a , b \n1,2\n", {"a": ("1",), "b": ("2",)}),
        ("text\nhello\n", {"text": ("hello",)}),
        ("a;b\n;\n1;2\n;\n", {"a": ("1",), "b": ("2",)}),
        ("a\tb\n1\t2\n".encode("utf-16"), {"a": ("1",), "b": ("2",)}),
        ("größe,城\nä,北\n", {"größe": ("ä",), "城": ("北",)}),
    ],
)
def test_cells_are_read_as_they_are_written(content, expected):
    assert cells(content) == expected


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_rows_know_the_line_on_which_they_begin(ending):
    text = ending.join(["", '"a', 'b",c', "1,2", "", '"x', "", 'y",3', "4,5", ""])
    assert read(text).lines == (4, 6, 9)


def test_a_separator_line_counts_as_a_line():
    assert read("sep=,\na,b\n1,2\n").lines == (3,)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('"a\nb",c\n1,2\n"x\ny",3\n4\n', "line 6: 1 fields where the header has 2"),
        ("a,b\n1,2\n\n3,4,5\n", "line 4: 3 fields where the header has 2"),
        ('a,b\n1,2\n3,"open\n5,6\n', "line 3: a quote is not closed"),
        ('a,b\n1,2\n"open,3\n5,6\n', "line 3: a quote is not closed"),
        ('a\n1\n"open', "line 3: a quote is not closed"),
        ("a,a \n1,2\n", "more than one column 'a'"),
        ("a,b\n1,ä\n".encode("latin-1"), "line 2: not UTF-8 text (byte 0xe4 at offset 6; Latin-1 or Windows-1252?)"),
        ("a,b\n1,2\n".encode("utf-16-le"), "UTF-16"),
        (b"\xff\xfea", "damaged UTF-16"),
        (b"PK\x03\x04 a workbook", "save the sheet as CSV in UTF-8"),
        (b"\x1f\x8b\x08 packed", "unpack it"),
        (b"PAR1 but no more", "cannot be read as Parquet"),
        ("", "is empty"),
        ("sep=;\n\n", "is empty"),
        ("a,b\n", "has a header but no rows"),
    ],
)
def test_a_file_that_is_no_table_is_refused_by_name(content, complaint):
    with pytest.raises(TableRefused) as refusal:
        read(content)
    assert refusal.value.message.startswith("data.csv")
    assert complaint in refusal.value.message


def test_rows_of_another_width_can_be_noted_instead():
    table = read_table(b"a,b\n1\n2,3\n4,5,6\n", ragged=True)
    assert [(row.line, row.fields) for row in table.ragged] == [(2, 1), (4, 3)]
    assert (table.lines, list(table.rows())) == ((3,), [("2", "3")])


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(TableRefused, match=r"there is no file .*gone\.csv"):
        read_table(tmp_path / "gone.csv")
    with pytest.raises(TableRefused, match="cannot be read: Is a directory"):
        read_table(tmp_path)


# A NUL is in no text file, and a cell of a single blank column would be a blank line.
_CELL = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)


@given(
    rows=st.integers(2, 4).flatmap(lambda width: st.lists(st.lists(_CELL, min_size=width, max_size=width), max_size=6)),
    separator=st.sampled_from([",", ";", "\t", "|"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    ending=st.sampled_from(["\n", "\r\n"]),
    start=st.sampled_from(["", "\ufeff", "sep="]),
)
def test_what_csv_writes_comes_back(rows, separator, quoting, ending, start):
    width = len(rows[0]) if rows else 2
    header = [f"column {place}" for place in range(width)]
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, quoting=quoting, lineterminator=ending)
    writer.writerows([header, *rows, ["end"] * width])
    # csv leaves a carriage return without quotes where it is no part of the line's end; then it ends a line.
    assume(quoting == csv.QUOTE_ALL or ending == "\r\n" or "\r" not in text.getvalue())
    first = f"sep={separator}{ending}" if start == "sep=" else start
    table = read(first + text.getvalue())
    assert table.names == tuple(header)
    assert list(map(list, table.rows())) == [row for row in [*rows, ["end"] * width] if any(map(str.strip, row))]
