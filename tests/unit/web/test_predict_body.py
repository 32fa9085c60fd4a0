import json
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidRequest
from app.web.predict_body import batch_rows, header_key, header_user, rows_in_blocks, single_row
from app.web.request import decoded, decoded_object

NAMES = ("a", "b")


@pytest.mark.parametrize(
    ("body", "environ", "expected"),
    [
        ({"features": [1, 2]}, {}, ([1, 2], None, None)),
        ({"features": [1, 2]}, {"HTTP_X_USER_ID": "u"}, ([1, 2], "u", None)),
        ({"features": [1, 2]}, {"HTTP_X_PREDICTION_KEY": "k"}, ([1, 2], None, "k")),
        ({"features": [1, 2], "user_id": "v"}, {"HTTP_X_USER_ID": "u"}, ([1, 2], "v", None)),
        ({"features": [1, 2], "id": "k"}, {"HTTP_X_USER_ID": "u"}, ([1, 2], "u", "k")),
        ({"features": {"a": 1}}, {}, ({"a": 1}, None, None)),
        ({"features": {"a": 1}, "id": "k", "user_id": "v"}, {}, ({"a": 1}, "v", "k")),
        ({"a": 1, "b": 2}, {"HTTP_X_USER_ID": "u"}, ({"a": 1, "b": 2}, "u", None)),
        ({"a": 1, "b": 2}, {"HTTP_X_PREDICTION_KEY": "k"}, ({"a": 1, "b": 2}, None, "k")),
        ({"a": 1, "user_id": "v"}, {}, ({"a": 1}, "v", None)),
        ({"a": 1, "id": "k"}, {"HTTP_X_PREDICTION_KEY": "k"}, ({"a": 1}, None, "k")),
        ({}, {}, ({}, None, None)),
    ],
)
def test_a_single_row_is_found_in_every_form(body, environ, expected):
    assert single_row(body, NAMES, environ) == expected


BOTH_HEADERS = {"HTTP_X_USER_ID": "u", "HTTP_X_PREDICTION_KEY": "k"}


@pytest.mark.parametrize("option", ["id", "user_id"])
def test_where_a_feature_has_the_name_of_an_option_only_the_header_is_the_option(option):
    row, names = {option: 7, "b": 1}, (option, "b")
    assert single_row(row, names, BOTH_HEADERS) == (row, "u", "k")
    assert single_row({"features": row}, names, BOTH_HEADERS) == (row, "u", "k")
    assert batch_rows({"instances": [row]}, names, BOTH_HEADERS) == ([row], "u", ("k",))


@pytest.mark.parametrize(("option", "header"), [("id", "X-Prediction-Key"), ("user_id", "X-User-Id")])
@pytest.mark.parametrize("features", [[7, 1], {"id": 7, "user_id": 1}])
def test_an_option_beside_the_row_is_refused_where_a_feature_has_its_name(option, header, features):
    with pytest.raises(InvalidRequest, match=f"'{option}' is a feature of this model.*{header}") as refused:
        single_row({"features": features, option: "x"}, ("id", "user_id"), {})
    assert refused.value.field == option


def test_a_user_beside_the_rows_of_a_batch_is_refused_where_a_feature_has_that_name():
    with pytest.raises(InvalidRequest, match="X-User-Id") as refused:
        batch_rows({"instances": [[7, 1]], "user_id": "x"}, ("user_id", "b"), {})
    assert refused.value.field == "user_id"


@pytest.mark.parametrize(("option", "feature"), [("id", "user_id"), ("user_id", "id")])
def test_one_option_stays_where_a_feature_has_the_name_of_the_other(option, feature):
    _, user, key = single_row({feature: 7, option: "x"}, (feature,), {})
    assert {"user_id": user, "id": key}[option] == "x"


@pytest.mark.parametrize("value", [3, "x", None, True])
def test_a_feature_called_features_works_flat(value):
    row = {"features": value, "b": 1}
    assert single_row(row, ("features", "b"), {}) == (row, None, None)


@pytest.mark.parametrize("key", ["instances", "features"])
def test_a_batch_goes_by_two_names(key):
    assert batch_rows({key: [[1]], "user_id": "u"}, NAMES, {}) == ([[1]], "u", ())


@pytest.mark.parametrize(
    ("body", "environ", "keys"),
    [
        ({"ids": ["k", "l"]}, {}, ("k", "l")),
        ({"ids": ["k", "k"]}, {}, ("k", "k")),
        ({}, {}, ()),
        ({"instances": [[1]], "ids": ["k"]}, {"HTTP_X_PREDICTION_KEY": "k"}, ("k",)),
        ({"instances": [[1]]}, {"HTTP_X_PREDICTION_KEY": "k"}, ("k",)),
    ],
)
def test_a_batch_has_a_key_for_each_row(body, environ, keys):
    assert batch_rows({"instances": [[1], [2]], **body}, NAMES, environ)[2] == keys


@pytest.mark.parametrize(
    ("body", "environ", "field", "index"),
    [
        ({"ids": ["k"]}, {}, "ids", None),
        ({"ids": ["k", "l", "m"]}, {}, "ids", None),
        ({"ids": []}, {}, "ids", None),
        ({"ids": "kl"}, {}, "ids", None),
        ({"ids": None}, {}, "ids", None),
        ({"ids": {"0": "k", "1": "l"}}, {}, "ids", None),
        ({"ids": ["k", 7]}, {}, "ids", 1),
        ({"ids": [None, "l"]}, {}, "ids", 0),
        ({"ids": ["k", "a\nb"]}, {}, "ids", 1),
        ({"ids": ["k", "k" * 129]}, {}, "ids", 1),
        ({"id": "k"}, {}, "id", None),
        ({}, {"HTTP_X_PREDICTION_KEY": "k"}, "X-Prediction-Key", None),
        ({"ids": ["k", "k"]}, {"HTTP_X_PREDICTION_KEY": "k"}, "X-Prediction-Key", None),
        ({"instances": [[1]], "ids": ["l"]}, {"HTTP_X_PREDICTION_KEY": "k"}, "ids", None),
    ],
)
def test_keys_that_do_not_fit_the_batch_are_refused(body, environ, field, index):
    with pytest.raises(InvalidRequest) as refused:
        batch_rows({"instances": [[1], [2]], **body}, NAMES, environ)
    assert (refused.value.field, refused.value.index) == (field, index)


@given(st.text(min_size=1, max_size=128))
def test_a_key_is_printable_and_the_same_in_header_body_and_batch(key):
    environ = {"HTTP_X_PREDICTION_KEY": key.encode("utf-8", "surrogatepass").decode("latin-1")}
    if key.isprintable():
        assert header_key(environ) == key
        assert single_row({"features": [1], "id": key}, NAMES, environ) == ([1], None, key)
        assert batch_rows({"instances": [[1]], "ids": [key]}, NAMES, environ) == ([[1]], None, (key,))
        return
    for refuse in (
        lambda: single_row({"features": [1], "id": key}, NAMES, {}),
        lambda: single_row({"a": 1, "id": key}, NAMES, {}),
        lambda: batch_rows({"instances": [[1]], "ids": [key]}, NAMES, {}),
    ):
        with pytest.raises(InvalidRequest, match="1 to 128 printable characters"):
            refuse()


@pytest.mark.parametrize("key", ["", "k" * 129, "a\tb", "\x00", "\x7f", "a\u2028b", "\u200b", "\ud800", "a\u00a0b"])
def test_a_key_must_have_1_to_128_printable_characters(key):
    with pytest.raises(InvalidRequest) as refused:
        single_row({"features": [1], "id": key}, NAMES, {})
    assert refused.value.field == "id"


@pytest.mark.parametrize("key", ["", "k" * 129, "a\tb", "a\x00"])
def test_a_key_in_the_header_obeys_the_same_rule(key):
    for body in ({"features": [1]}, {"features": [1], "id": "k"}, {"a": 1}):
        with pytest.raises(InvalidRequest) as refused:
            single_row(body, NAMES, {"HTTP_X_PREDICTION_KEY": key})
        assert refused.value.field == "X-Prediction-Key"


@pytest.mark.parametrize("key", ["k", "k" * 128, "Zoë's order 17", "注文-4711", "a b"])
def test_keys_of_any_script_are_taken(key):
    assert single_row({"features": [1], "id": key}, NAMES, {})[2] == key


@pytest.mark.parametrize("body", [{"features": [1], "id": "k"}, {"a": 1, "id": "k"}])
def test_two_keys_that_differ_are_refused(body):
    with pytest.raises(InvalidRequest, match="differ") as refused:
        single_row(body, NAMES, {"HTTP_X_PREDICTION_KEY": "l"})
    assert refused.value.field == "id"


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


def in_blocks(body, size=70):
    """The body as `rows_in_blocks` finds it in blocks of so many bytes; None where it leaves that to others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.web.predict_body._BYTES_PER_BLOCK", size)
        try:
            found = rows_in_blocks(body, decoded)
        except InvalidRequest:
            return None
    if found is None:
        return None
    blocks, rest = found
    assert all(blocks)
    name = "instances" if "instances" in rest else "features"
    return {**rest, name: [*chain.from_iterable(blocks), *rest[name]]}


ROWS = [[1.5, number, "]},[{"] for number in range(50)]
OBJECTS = [{"a": number, 'b"': "}],[", "c": None} for number in range(50)]


@pytest.mark.parametrize("spaces", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize(
    "body",
    [
        {"instances": ROWS},
        {"features": OBJECTS},
        {"instances": [*ROWS, *OBJECTS]},
        {"user_id": "ann", "instances": ROWS, "ids": [f"],[{number}" for number in range(50)]},
        {"ids": [f"],[{number}" for number in range(50)], "instances": ROWS},
        {"instances": ROWS, "features": ROWS},
        {"instances": OBJECTS, "unknown": [[1], [2]]},
    ],
)
def test_the_rows_of_a_large_body_come_in_blocks(body, spaces):
    assert in_blocks(json.dumps(body, separators=spaces).encode()) == body


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances": [[1], [2]]}',
        b'{"instances": [%b], "instances": [[3]]}' % b",".join([b"[1]"] * 50),
        b'{"instances": [[3]], "instances": [%b]}' % b",".join([b"[1]"] * 50),
        b'{"instances": [%b], "\\u0000": [[3]]}' % b",".join([b"[1]"] * 50),
        b'{"instances": [%b,]}' % b",".join([b"[1]"] * 50),
        b'{"instances": [%b], "a": 1' % b",".join([b"[1]"] * 50),
        b'{"instances": [%b]} []' % b",".join([b"[1]"] * 50),
        b'{"nested": {"instances": [%b]}}' % b",".join([b"[1]"] * 50),
        b'{"text": "instances\\": [%b"}' % b",".join([b"[1]"] * 50),
        b'{"instances": [%b]}' % b",".join([b"1"] * 50),
        b'["instances", [%b]]' % b",".join([b"[1]"] * 50),
    ],
)
def test_what_is_small_or_strange_or_no_json_is_left_to_whoever_decodes_it_whole(body):
    assert in_blocks(body) is None


CELLS = (
    st.none()
    | st.booleans()
    | st.integers(-9, 10**20)
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "],[", "},{", '"', "\\", "é", "instances"])
)
SOME_ROWS = st.lists(st.lists(CELLS, max_size=3) | st.dictionaries(st.sampled_from("ab"), CELLS) | CELLS, max_size=30)
PARTS = st.lists(
    st.tuples(st.sampled_from(["instances", "features", "ids", "user_id", "\0"]), SOME_ROWS | CELLS), max_size=4
)


@given(PARTS, st.booleans(), st.integers(0, 10**6), st.sampled_from([None, "", ",", "]", "[", "}", '"', "\xff"]))
def test_in_blocks_a_body_says_what_it_says_as_a_whole(parts, wide, place, put):
    spaces = (", ", ": ") if wide else (",", ":")
    pairs = (f"{json.dumps(name)}{spaces[1]}{json.dumps(value, separators=spaces)}" for name, value in parts)
    text = f"{{{spaces[0].join(pairs)}}}"
    if put is not None:
        at = place % len(text)
        text = text[:at] + put + text[at + 1 :]
    body = text.encode("latin-1")
    found = in_blocks(body, 10)
    if found is not None:
        assert found == decoded_object(body)
