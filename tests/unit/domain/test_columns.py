"""Versions that read different columns: the union, what each takes of a request, and what is refused."""

import unicodedata

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.domain.columns import Union, boolean_values, reading, union_of
from app.domain.contract import Feature, FeatureContract
from app.domain.layouts import RequestColumns
from app.errors import InvalidFeatures, InvalidRequest
from app.tables.model_columns import same_columns


def contract(*features, task="regression", classes=()):
    named = tuple(each if isinstance(each, Feature) else Feature(name=each) for each in features)
    return FeatureContract(task=task, target="y", features=named, classes=classes)


def columns_of(reference="v1", **contracts):
    return RequestColumns(reference, union_of(reference, contracts))


def read(columns, value, version):
    rows, layout = columns.row(value)
    return layout.readers[version].rows(rows).tolist()


TWO = {"v1": contract("a", "b"), "v2": contract("c", "b", "a")}


def test_each_version_takes_its_own_columns_by_name():
    columns = columns_of(**TWO)
    row = {"c": 3, "a": 1, "b": 2}
    assert read(columns, row, "v1") == [[1.0, 2.0]]
    assert read(columns, row, "v2") == [[3.0, 2.0, 1.0]]


def test_without_its_column_a_version_takes_no_part():
    rows, layout = columns_of(**TWO).row({"b": 2, "a": 1})
    assert rows.tolist() == [[1.0, 2.0]]
    assert layout.able == ("v1",)
    assert layout.lacking == {"v2": "c"}
    assert layout.lacking_text == '["v2"]'


def test_an_array_has_the_columns_of_the_reference():
    rows, layout = columns_of(**TWO).row([1, 2])
    assert rows.tolist() == [[1.0, 2.0]]
    assert layout.able == ("v1",)
    with pytest.raises(
        InvalidFeatures, match=r"expected 2 features \(a, b\), got 3; give the row as an object to add c"
    ):
        columns_of(**TWO).row([1, 2, 3])


def test_other_order_never_matters():
    columns = columns_of(v1=contract("a", "b"), v2=contract("b", "a"))
    for row in ([1, 2], {"b": 2, "a": 1}):
        assert read(columns, row, "v1") == [[1.0, 2.0]]
        assert read(columns, row, "v2") == [[2.0, 1.0]]


@pytest.mark.parametrize(
    ("row", "message", "field"),
    [
        ({"a": 1}, "feature 'b' is missing", "b"),
        ({"a": 1, "b": 2, "d": 3}, "unknown feature 'd'; known are a, b, c", "d"),
        ({"a": 1, "b": 2, "c": None}, "feature 'c' must not be null", "c"),
        ({"a": 1, "b": 2, "c": "x"}, "feature 'c' must be a number, got a string", "c"),
        ("text", "features must be an array of 2 values or an object by feature name", None),
    ],
)
def test_what_is_wrong_is_named(row, message, field):
    with pytest.raises(InvalidFeatures) as refused:
        columns_of(**TWO).row(row)
    assert refused.value.message == message
    assert refused.value.field == field


def test_null_is_a_value_and_not_sent_is_none():
    more = contract("a", Feature(name="c", nullable=True))
    columns = columns_of(v1=contract("a"), v2=more)
    rows, layout = columns.row({"a": 1, "c": None})
    assert np.isnan(layout.readers["v2"].rows(rows)).tolist() == [[False, True]]
    assert columns.row({"a": 1})[1].able == ("v1",)


def test_a_batch_has_the_columns_that_all_of_its_rows_have():
    columns = columns_of(**TWO)
    rows, layout = columns.rows([{"a": 1, "b": 2, "c": 3}, {"c": 6, "b": 5, "a": 4}])
    assert rows.tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    assert layout.able == ("v1", "v2")
    for mixed in ([{"a": 1, "b": 2, "c": 3}, {"b": 5, "a": 4}], [{"a": 1, "b": 2, "c": 3}, [4, 5]]):
        rows, layout = columns.rows(mixed)
        assert rows.tolist() == [[1.0, 2.0], [4.0, 5.0]]
        assert layout.able == ("v1",)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"a": 1, "b": 2}, {"a": 1}], "row 1: feature 'b' is missing"),
        ([[1, 2], [1]], "row 1: expected 2 features"),
        ([[1, 2], {"a": 1, "b": "x"}], "row 1: feature 'b' must be a number"),
        ([{"a": 1, "b": 2}, 7], "row 1: features must be an array of 2 values"),
    ],
)
def test_a_bad_row_of_a_batch_is_named(rows, message):
    with pytest.raises(InvalidFeatures, match=message):
        columns_of(**TWO).rows(rows)


def test_an_empty_batch_is_refused():
    with pytest.raises(InvalidRequest, match="empty"):
        columns_of(**TWO).rows([])


def test_a_forced_version_needs_its_own_columns_and_arrays_keep_their_order():
    columns = RequestColumns("v2", union_of("v2", TWO), TWO["v1"].names)
    assert read(columns, {"a": 1, "b": 2, "c": 3}, "v2") == [[3.0, 2.0, 1.0]]
    with pytest.raises(InvalidFeatures, match="feature 'c' is missing: an array has the champion's columns alone"):
        columns.row([1, 2])
    with pytest.raises(InvalidFeatures, match=r"feature 'c' is missing$"):
        columns.row({"a": 1, "b": 2})
    swapped = {"v1": contract("a", "b"), "v2": contract("b", "a")}
    assert read(RequestColumns("v2", union_of("v2", swapped), ("a", "b")), [1, 2], "v2") == [[2.0, 1.0]]


def test_a_version_that_takes_no_part_is_asked_alone():
    columns = RequestColumns("v3", Union(contract("x").features, {"v3": contract("x")}))
    assert read(columns, [7], "v3") == [[7.0]]


def test_the_name_in_the_training_data_is_accepted_and_compared():
    old = contract(Feature(name="feature", source_name="年龄"), Feature(name="size", source_name="Größe (cm)"))
    new = contract("größe", Feature(name="年龄"))
    columns = columns_of(v1=old, v2=new)
    assert [column.name for column in columns.columns] == ["feature", "size", "größe"]
    for row in ({"feature": 1, "size": 2, "größe": 3}, {"年龄": 1, "Größe (cm)": 2, "größe": 3}):
        assert read(columns, row, "v2") == [[3.0, 1.0]]
    with pytest.raises(InvalidFeatures, match="'feature' and '年龄' are names of one feature"):
        columns.row({"feature": 1, "年龄": 1, "size": 2})


def test_a_name_in_another_unicode_form_is_the_same_name():
    columns = columns_of(v1=contract("größe"))
    assert read(columns, {unicodedata.normalize("NFD", "größe"): 3}, "v1") == [[3.0]]


def test_a_column_named_as_requests_name_it_is_the_same_column():
    by_unit = Feature(name="petal_width", source_name="petal width (cm)")
    assert same_columns((Feature(name="petal_width"),), (by_unit,)) == (0,)
    assert same_columns((by_unit,), (Feature(name="petal_width"),)) == (0,)


def test_two_units_are_two_columns():
    celsius = contract(Feature(name="temp", source_name="temp (C)"))
    fahrenheit = contract(Feature(name="temp", source_name="temp (F)"))
    columns = columns_of(v1=celsius, v2=fahrenheit)
    assert [column.name for column in columns.columns] == ["temp", "temp (F)"]
    assert columns.row({"temp": 20})[1].able == ("v1",)
    assert read(columns, {"temp": 20, "temp (F)": 68}, "v2") == [[68.0]]


def test_no_column_stands_for_two_features():
    one = (Feature(name="a_b"),)
    assert same_columns((Feature(name="a_b"), Feature(name="a_b_2", source_name="a b")), one) == (0, None)
    twice = (Feature(name="x", source_name="a_b"), Feature(name="a_b", source_name="y"))
    assert same_columns(twice, one) == (0, None)


def test_columns_that_several_others_read_take_what_either_takes():
    second = contract("a", Feature(name="city", kind="categorical", categories=("Rome",)))
    third = contract("a", Feature(name="city", kind="categorical", categories=("Oslo",), nullable=True))
    columns = columns_of(v1=contract("a"), v2=second, v3=third)
    for city in ("Rome", "Oslo", None):
        assert columns.row({"a": 1, "city": city})[1].able == ("v1", "v2", "v3")
    with pytest.raises(InvalidFeatures, match="no category 'Bern'"):
        columns.row({"a": 1, "city": "Bern"})


@pytest.mark.parametrize(("like", "taken"), [("2026-03-01", False), (None, True)])
def test_a_column_is_of_dates_where_all_that_read_it_take_dates_alone(like, taken):
    day = Feature("day", kind="categorical", open_categories=True, dates_like="2026-01-31")
    other = replace(day, dates_like=like)
    columns = columns_of(v1=contract("a"), v2=contract("a", day), v3=contract("a", other))
    assert read(columns, {"a": 1, "day": "2027-02-03"}, "v3") == [[1.0, "2027-02-03"]]
    if taken:
        assert read(columns, {"a": 1, "day": "tomorrow"}, "v3") == [[1.0, "tomorrow"]]
    else:
        with pytest.raises(InvalidFeatures, match="'day' must be a date like '2026-01-31'"):
            columns.row({"a": 1, "day": "tomorrow"})


def test_a_number_is_converted_where_only_another_version_reads_text():
    columns = columns_of(v1=contract("a"), v2=contract(Feature(name="city", kind="categorical", categories=("x",))))
    rows, layout = columns.row({"a": 1, "city": "x"})
    assert layout.readers["v1"].rows(rows).dtype == np.float64
    assert layout.readers["v2"].rows(rows).tolist() == [["x"]]


FLAGS = [
    Feature(name="flag", boolean=True),
    Feature(name="flag", kind="categorical", categories=("false", "true")),
    Feature(name="flag", kind="categorical", categories=("False", "True")),
    Feature(name="flag", kind="categorical", categories=("True",)),
]


@pytest.mark.parametrize("theirs", FLAGS)
@pytest.mark.parametrize("ours", FLAGS)
@pytest.mark.parametrize("flag", [False, True])
def test_booleans_in_two_spellings_are_one_column(ours, theirs, flag):
    values = np.array([[1.0, boolean_values(ours)[flag]]], dtype=object)
    reader = reading(contract(theirs), (Feature(name="a"), ours))
    assert reader.rows(values).tolist() == [[boolean_values(theirs)[flag]]]


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (contract("a", classes=("n", "y"), task="classification"), "is a classification, and v1 is a regression"),
        (contract(Feature(name="a", kind="categorical", categories=("x",))), "reads the column 'a' as text"),
    ],
)
def test_what_cannot_be_asked_together_is_said(other, reason):
    union = union_of("v1", {"v1": contract("a"), "v2": other})
    assert union.excluded["v2"].startswith(reason)
    assert [*union.contracts] == ["v1"]


def test_other_classes_are_said():
    two = contract("a", task="classification", classes=("n", "y"))
    union = union_of("v1", {"v1": two, "v2": replace(two, classes=("n", "y", "z"))})
    assert union.excluded["v2"] == "names its classes differently: n, y, z where v1 has n, y"


NAMES = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6, unique=True)


@given(NAMES, NAMES, st.data())
def test_every_version_reads_the_values_of_its_names(first, second, data):
    columns = columns_of(v1=contract(*first), v2=contract(*second))
    sent = [*first, *(name for name in second if name not in first and data.draw(st.booleans()))]
    row = {name: float(ord(name)) for name in data.draw(st.permutations(sent))}
    rows, layout = columns.row(row)
    assert ("v2" in layout.readers) == (set(second) <= set(sent))
    for version, names in (("v1", first), ("v2", second)):
        if version in layout.readers:
            assert layout.readers[version].rows(rows).tolist() == [[row[name] for name in names]]
    # What the log keeps is enough to name every value.
    logged = msgspec.json.decode(msgspec.json.encode(layout.logged))
    assert {column["name"]: value for column, value in zip(logged["columns"], rows[0].tolist(), strict=True)} == row


@pytest.mark.parametrize(
    ("feature", "good", "bad"),
    [
        (Feature(name="colour", kind="categorical", categories=("red", "blue")), ["red", "blue"], "green"),
        (Feature(name="x", kind="numeric"), [5.0, 6.0], [5.0]),
    ],
)
def test_a_batch_of_objects_with_one_feature_is_read_as_its_rows_alone(feature, good, bad):
    columns = columns_of(v1=contract(feature))
    rows, _ = columns.rows([{feature.name: value} for value in good])
    assert rows.tolist() == [columns.row({feature.name: value})[0].tolist()[0] for value in good]
    with pytest.raises(InvalidFeatures):
        columns.rows([{feature.name: good[0]}, {feature.name: bad}])
