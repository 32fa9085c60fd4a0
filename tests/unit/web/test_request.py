from __future__ import annotations

import contextlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidRequest, MalformedJson, TooLarge
from app.web import request
from app.web.request import decoded_object, nulls_for_nan, read_body, request_id_of

PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=128)


@given(PRINTABLE)
def test_a_callers_id_is_kept(given_id):
    assert request_id_of({"HTTP_X_REQUEST_ID": given_id}) == given_id


@pytest.mark.parametrize("bad", ["", "x" * 129, "a\nb", "a\x7f", "\x00", "é", "١"])
def test_an_unfit_one_is_replaced(bad):
    made = request_id_of({"HTTP_X_REQUEST_ID": bad})
    assert made != bad
    assert len(made) == 32


def test_a_new_id_stays_the_same_within_its_request():
    environ = {}
    assert request_id_of(environ) == request_id_of(environ)
    assert request_id_of(environ) != request_id_of({})


class Trickle(io.BytesIO):
    """A stream that hands out one byte a call, as some servers may."""

    def read(self, size=-1):
        return super().read(min(size, 1))


class Broken(io.BytesIO):
    """A client that frames its chunks wrongly."""

    def read(self, size=-1):
        raise RuntimeError("invalid chunk size")


def environ(stream, length=None, terminated=False):
    made = {"wsgi.input": stream, "wsgi.input_terminated": terminated}
    return made if length is None else {**made, "CONTENT_LENGTH": str(length)}


@pytest.mark.parametrize("stream", [io.BytesIO, Trickle])
@given(body=st.binary(max_size=100))
def test_a_body_is_read_whole_with_and_without_a_length(stream, body):
    assert read_body(environ(stream(body), len(body)), 100) == body
    assert read_body(environ(stream(body), terminated=True), 100) == body


def test_no_more_than_the_length_is_read():
    stream = io.BytesIO(b"{}GET / HTTP/1.1")
    assert read_body(environ(stream, 2), 100) == b"{}"
    assert stream.read() == b"GET / HTTP/1.1"


def test_without_length_and_end_there_is_no_body():
    assert read_body(environ(Broken()), 100) == b""
    assert read_body(environ(Broken(), ""), 100) == b""


@pytest.mark.parametrize("length", [None, 101])
def test_what_is_over_the_limit_is_dropped_to_its_end(length):
    stream = io.BytesIO(b"x" * 101)
    with pytest.raises(TooLarge):
        read_body(environ(stream, length, terminated=True), 100)
    assert stream.read() == b""


def test_no_more_than_the_most_is_dropped(monkeypatch):
    monkeypatch.setattr(request, "MAX_DISCARDED_BYTES", 300)
    stream = io.BytesIO(b"x" * 1000)
    with pytest.raises(TooLarge):
        read_body(environ(stream, 1000), 100)
    assert len(stream.read()) == 700


def test_a_huge_length_that_never_comes_is_too_large():
    with pytest.raises(TooLarge):
        read_body(environ(io.BytesIO(), "9" * 5000), 100)


@pytest.mark.parametrize("length", ["-1", "+1", "1.0", "ten", "²", " 5"])
def test_a_length_that_is_no_number_is_refused(length):
    with pytest.raises(InvalidRequest):
        read_body(environ(io.BytesIO(b"x"), length), 100)


@pytest.mark.parametrize("length", [10, 1000, None])
def test_a_body_that_breaks_off_is_the_clients_fault(length):
    with pytest.raises(InvalidRequest):
        read_body(environ(Broken(), length, terminated=True), 100)


def test_an_empty_body_says_what_to_send():
    with pytest.raises(MalformedJson, match="send a JSON object"):
        decoded_object(b"")


@pytest.mark.parametrize(
    ("body", "said"), [(b'{"id": "\\ud800"}', r"half of a surrogate pair"), (b'{"id": "', "truncated")]
)
def test_what_is_wrong_with_a_text_is_named(body, said):
    with pytest.raises(MalformedJson, match=said):
        decoded_object(body)


@given(st.binary(max_size=60))
def test_any_bytes_are_an_object_or_an_invalid_request(data):
    with contextlib.suppress(InvalidRequest):
        assert isinstance(decoded_object(data), dict)


@given(
    st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), st.floats(allow_nan=False, allow_infinity=False)))
)
def test_any_object_survives_the_way_there_and_back(value):
    assert decoded_object(request.msgspec.json.encode(value)) == value


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (b'{"a": [NaN, 1, NaN], "b": "NaN"}', b'{"a": [null, 1, null], "b": "NaN"}'),
        (b'[NaN, "\\"NaN", NaN]', b'[null, "\\"NaN", null]'),
        # What follows is inside a string that does not end, also for a reader that gives up on it.
        (b'[NaN, "\\"NaN\\"', b'[null, "\\"NaN\\"'),
        (b'[NaN, "\\"NaN\\', b'[null, "\\"NaN\\'),
        (b'[NaN, "' + 100_000 * b'\\"', b'[null, "' + 100_000 * b'\\"'),
    ],
    ids=["values", "quotes", "no end", "no end of an escape", "long"],
)
def test_nan_is_null_outside_of_texts(body, read):
    assert nulls_for_nan(body) == read
