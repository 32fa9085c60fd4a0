"""Data sets, built in or from a CSV file."""

from __future__ import annotations

import pytest

from app.errors import DataRefused
from app.training.dataset import from_csv, load, read_csv


@pytest.mark.parametrize(
    ("name", "rows", "columns", "classes"),
    [("iris", 150, 4, 3), ("wine", 178, 13, 3), ("digits", 1797, 64, 10), ("breast_cancer", 569, 30, 2)],
)
def test_built_in_sets_come_with_their_class_names(name, rows, columns, classes):
    dataset = load(name, None)
    assert (dataset.rows, len(dataset.columns), len(dataset.classes)) == (rows, columns, classes)
    assert all(isinstance(label, str) for label in dataset.classes)


def test_a_csv_file_is_split_into_features_and_target(csv_of):
    dataset = load(str(csv_of("a,b,y\n1,2,u\n3,4,v\n")), "y")
    assert [column.name for column in dataset.columns] == ["a", "b"]
    assert dataset.target.values.tolist() == ["u", "v"]


@pytest.mark.parametrize(
    ("target", "complaint"),
    [(None, "name the target column"), ("z", "has no column 'z'; its columns are: a, y")],
)
def test_a_target_that_is_not_there_is_refused_with_the_columns_there_are(csv_of, target, complaint):
    with pytest.raises(DataRefused, match=complaint):
        load(str(csv_of("a,y\n1,u\n")), target)


def test_a_file_with_nothing_but_a_target_is_refused(csv_of):
    with pytest.raises(DataRefused, match="no column beside the target"):
        load(str(csv_of("y\n1\n")), "y")


def test_an_unknown_name_is_refused_with_the_names_there_are():
    with pytest.raises(DataRefused, match="neither a file nor one of iris, wine"):
        load("irsi", None)


def test_another_target_of_a_built_in_set_is_refused():
    assert load("iris", "species").target.name == "species"
    with pytest.raises(DataRefused, match="'species', not 'petal_width'"):
        load("iris", "petal_width")


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
def test_usual_spellings_of_nothing_are_missing_among_numbers(csv_of, gap):
    (column, _) = read_csv(csv_of(f"a,b\n{gap},1\n2,3\n"))
    assert column.missing.tolist() == [True, False]


def test_what_the_user_says_is_missing_is_missing_everywhere(csv_of):
    dataset = from_csv(csv_of("a,b,y\n-,1,u\nx,-,v\n"), "y", ("-",))
    assert [column.missing.tolist() for column in dataset.columns] == [[True, False], [False, True]]


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
        ("a\nKöln\n".encode("latin-1"), "line 2: not UTF-8 text (byte 0xf6 at offset 3; Latin-1"),
        ("a,b\n1,2\n".encode("utf-16-le"), "UTF-16"),
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
