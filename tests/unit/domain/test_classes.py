import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.classes import boolean_values, class_names, permutation
from app.domain.contract import Feature

NAMES = st.text(st.characters(codec="ascii", categories=("L", "N", "P")), max_size=6)
DISTINCT = st.lists(NAMES, min_size=1, max_size=6, unique=True)
NUMBERS = st.lists(st.integers(-50, 50), min_size=3, max_size=8, unique=True)


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (("no", "yes"), ("no", "yes"), (0, 1)),
        (("yes", "no"), ("no", "yes"), (1, 0)),
        (("malignant", "benign"), ("benign", "malignant"), (1, 0)),
        (("false", "true"), ("False", "True"), (0, 1)),
        (("TRUE", "FALSE"), ("False", "True"), (1, 0)),
        (("0", "1"), ("false", "true"), (0, 1)),
        (("True", "False"), ("0.0", "1.0"), (1, 0)),
        (("0", "1"), ("0.0", "1.0"), (0, 1)),
        (("1", "10", "2"), ("1", "2", "10"), (0, 2, 1)),
        (("1.0", "2.0", "10.0"), ("1", "10", "2"), (0, 2, 1)),
        (("-1", "1e3"), ("1000", "-1.0"), (1, 0)),
        (("1", "2", "other"), ("other", "1.0", "2.0"), (1, 2, 0)),
        (("1", "1.0"), ("1.0", "1"), (1, 0)),
        ((), (), ()),
    ],
)
def test_classes_are_the_same_by_meaning_in_any_order(ours, theirs, expected):
    assert permutation(ours, theirs) == expected


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (("no", "yes"), ("No", "Yes")),
        (("no", "yes"), ("no", "yes", "maybe")),
        (("no", "yes"), ("false", "true")),
        ((" a", "b"), ("a", "b")),
        (("01", "02"), ("1", "2")),
        (("1", "2"), ("false", "true")),
        (("0", "1", "2"), ("false", "true", "2")),
        (("1", "1.0"), ("1", "1.00")),
        (("a",), ()),
    ],
)
def test_other_classes_are_not_comparable(ours, theirs):
    assert permutation(ours, theirs) is None
    assert permutation(theirs, ours) is None


@given(DISTINCT, st.randoms())
def test_a_permutation_finds_each_name_again(names, chance):
    others = chance.sample(names, len(names))
    assert [others[place] for place in permutation(names, others)] == names


@given(NUMBERS, st.randoms())
def test_numbers_are_found_in_every_spelling(numbers, chance):
    others = chance.sample(numbers, len(numbers))
    spelled = [chance.choice(("{}", "{}.0", "{}.", "{}e0", "{}.00")).format(number) for number in others]
    assert [others[place] for place in permutation([str(number) for number in numbers], spelled)] == numbers


@given(DISTINCT, DISTINCT)
def test_a_permutation_back_is_the_inverse(ours, theirs):
    there, back = permutation(ours, theirs), permutation(theirs, ours)
    assert (there is None) == (back is None)
    if there is not None:
        assert [back[place] for place in there] == list(range(len(ours)))


@given(DISTINCT)
def test_a_class_is_found_by_its_own_name(names):
    assert [class_names(tuple(names)).of_text(name) for name in names] == list(range(len(names)))


@pytest.mark.parametrize(
    ("names", "number", "class_id"),
    [
        (("1", "2", "3"), 2, 1),
        (("1", "2", "3"), 2.0, 1),
        (("1", "2", "3"), 0, None),
        (("1.0", "2.0"), 1, 0),
        (("0.5", "1.5"), 0.5, 0),
        (("0.5", "1.5"), 1, None),
        (("-1", "1"), -1, 0),
        (("-1", "1"), 0, None),
        (("no", "yes"), 1, 1),
        (("no", "yes"), 1.0, 1),
        (("no", "yes"), 2, None),
        (("no", "yes"), -0.0, 0),
        (("1", "2", "other"), 2, 1),
        (("1", "2", "other"), 0, None),
        (("01", "02"), 1, None),
        (("1,5", "2,5"), 1, None),
        (("1", "1.0"), 1, None),
        (("True", "False"), 1, 0),
        (("true", "false", "unknown"), 2, 2),
        (("true", "false", "unknown"), 1, None),
        (("false", "true", "unknown"), 1, 1),
        (("no", "yes"), 10**400, None),
        (("no", "yes"), math.nan, None),
        (("no", "yes"), math.inf, None),
    ],
)
def test_a_number_names_a_class_or_where_none_is_a_number_is_an_id(names, number, class_id):
    assert class_names(names).of_number(number) == class_id


@pytest.mark.parametrize(
    ("names", "flag", "class_id"),
    [
        (("False", "True"), True, 1),
        (("true", "false"), True, 0),
        (("0", "1"), False, 0),
        (("1.0", "0.0"), True, 0),
        (("0", "1", "2"), True, None),
        (("false", "true", "unknown"), True, 1),
        (("no", "yes"), True, None),
    ],
)
def test_a_boolean_is_the_class_true_or_false(names, flag, class_id):
    assert class_names(names).of_boolean(flag) == class_id


@pytest.mark.parametrize(
    ("names", "text", "class_id"),
    [
        (("False", "True"), "TRUE", 1),
        (("False", "True"), "1", 1),
        (("0", "1"), "true", 1),
        (("1", "2"), "2.0", 1),
        (("1", "1.0"), "1.0", 1),
        (("1", "1.0"), "1.00", None),
        (("no", "yes"), "0", None),
        (("no", "yes"), "Yes", None),
        (("1", "2", "other"), "2.0", 1),
    ],
)
def test_a_text_names_a_class_in_any_spelling_of_a_number_or_boolean(names, text, class_id):
    assert class_names(names).of_text(text) == class_id


@pytest.mark.parametrize(
    ("feature", "values"),
    [
        (Feature(name="a", boolean=True), {False: 0.0, True: 1.0}),
        (Feature(name="a", choices=(0.0, 1.0)), {False: 0.0, True: 1.0}),
        (Feature(name="a", choices=(0.0, 1.0, 2.0)), None),
        (Feature(name="a", minimum=0.0, maximum=1.0), None),
        (Feature(name="a", kind="categorical", categories=("False", "True")), {False: "False", True: "True"}),
        (Feature(name="a", kind="categorical", categories=("true",)), {False: "false", True: "true"}),
        (Feature(name="a", kind="categorical", categories=("true", "True")), None),
        (Feature(name="a", kind="categorical", categories=("true", "maybe")), None),
        (Feature(name="a", kind="categorical"), None),
    ],
)
def test_a_boolean_feature_has_a_value_for_false_and_for_true(feature, values):
    assert boolean_values(feature) == values
