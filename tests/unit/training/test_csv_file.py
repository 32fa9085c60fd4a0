import pytest

from app.errors import DataRefused
from app.training.csv_file import read_csv


def cells(path):
    return {column.name: column.cells for column in read_csv(path)}


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found(csv_of, separator):
    assert cells(csv_of(f"a{separator}b\n1{separator}2\n")) == {"a": ("1",), "b": ("2",)}


def test_a_byte_order_mark_is_no_part_of_the_first_name(csv_of):
    assert list(cells(csv_of(b"\xef\xbb\xbfa,b\n1,2\n"))) == ["a", "b"]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_all_line_endings_and_blank_lines_are_read(csv_of, ending):
    assert cells(csv_of(ending.join(["a,b", "1,2", "", "3,4"]))) == {"a": ("1", "3"), "b": ("2", "4")}


def test_quotes_protect_separators_and_line_ends(csv_of):
    assert cells(csv_of('"a;x",b\n"1,5","two\nlines"\n')) == {"a;x": ("1,5",), "b": ("two\nlines",)}


@pytest.mark.parametrize("gap", ["", "NA", "nan", "NULL", "None", "?", "  "])
def test_usual_spellings_of_nothing_are_missing(csv_of, gap):
    assert cells(csv_of(f"a,b\n{gap},1\n"))["a"] == (None,)


def test_a_column_without_a_name_is_numbered(csv_of):
    assert list(cells(csv_of(",b\n1,2\n"))) == ["column_1", "b"]


def test_numbers_may_have_a_decimal_comma_after_semicolons(csv_of):
    (first, _) = read_csv(csv_of("a;b\n1,5;2\n2,5;3\n"))
    assert first.values.tolist() == [1.5, 2.5]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"a,b\n", "no rows"),
        (b"a,b\n1,2,3\n", "line 2: 3 fields where the header has 2"),
        (b"a,b\n1,2\n3\n", "line 3: 1 fields"),
        (b"a,a\n1,2\n", "more than one column 'a'"),
        ("a\nKöln\n".encode("latin-1"), "not UTF-8 text (byte 0xf6 at offset 3)"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        (b"\x80\x05\x95", "not UTF-8"),
        (b'a\n"' + b"x" * 200_000, "line"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_its_reason(csv_of, content, complaint):
    with pytest.raises(DataRefused, match=r".*data\.csv.*") as refusal:
        read_csv(csv_of(content))
    assert complaint in refusal.value.message


def test_no_file_and_no_right_kind_of_file_are_refused(tmp_path):
    with pytest.raises(DataRefused, match="there is no file"):
        read_csv(tmp_path / "none.csv")
    with pytest.raises(DataRefused, match="cannot be read"):
        read_csv(tmp_path)
