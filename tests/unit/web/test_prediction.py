import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidRequest
from app.web.prediction import batch_rows, header_user, single_row

NAMES = ("a", "b")


@pytest.mark.parametrize(
    ("body", "environ", "expected"),
    [
        ({"features": [1, 2]}, {}, ([1, 2], None)),
        ({"features": [1, 2]}, {"HTTP_X_USER_ID": "u"}, ([1, 2], "u")),
        ({"features": [1, 2], "user_id": "v"}, {"HTTP_X_USER_ID": "u"}, ([1, 2], "v")),
        ({"features": {"a": 1}}, {}, ({"a": 1}, None)),
        ({"a": 1, "b": 2}, {"HTTP_X_USER_ID": "u"}, ({"a": 1, "b": 2}, "u")),
        ({"a": 1, "user_id": "v"}, {}, ({"a": 1}, "v")),
        ({}, {}, ({}, None)),
    ],
)
def test_a_single_row_is_found_in_every_form(body, environ, expected):
    assert single_row(body, NAMES, environ) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"user_id": 7, "b": 1}, ({"user_id": 7, "b": 1}, None)),
        ({"features": {"user_id": 7, "b": 1}, "user_id": "v"}, ({"user_id": 7, "b": 1}, "v")),
    ],
)
def test_a_feature_called_user_id_wins_in_the_flat_form_only(body, expected):
    assert single_row(body, ("user_id", "b"), {}) == expected


@pytest.mark.parametrize("value", [3, "x", None, True])
def test_a_feature_called_features_works_flat(value):
    assert single_row({"features": value, "b": 1}, ("features", "b"), {}) == ({"features": value, "b": 1}, None)


@pytest.mark.parametrize("key", ["instances", "features"])
def test_a_batch_goes_by_two_names(key):
    assert batch_rows({key: [[1]], "user_id": "u"}, {}) == ([[1]], "u")


@given(st.text(min_size=1, max_size=256))
def test_a_user_of_any_letters_is_the_same_in_header_and_body(user):
    as_header = user.encode("utf-8", "surrogatepass").decode("latin-1")
    if user.isprintable():
        assert header_user({"HTTP_X_USER_ID": as_header}) == user


@pytest.mark.parametrize("user", ["", "u" * 257])
def test_a_user_must_have_1_to_256_characters(user):
    with pytest.raises(InvalidRequest):
        header_user({"HTTP_X_USER_ID": user})
    with pytest.raises(InvalidRequest):
        single_row({"features": [1], "user_id": user}, NAMES, {})


@pytest.mark.parametrize("length", [1, 256])
def test_the_longest_and_shortest_users_are_taken(length):
    assert header_user({"HTTP_X_USER_ID": "u" * length}) == "u" * length


def test_a_long_unknown_key_is_cut_in_the_message():
    with pytest.raises(InvalidRequest) as raised:
        single_row({"features": [1], "k" * 10_000: 1}, NAMES, {})
    assert len(raised.value.message) < 200
