import pytest

from app.web.request import MAX_DISCARDED_BYTES
from app.web.server import messages
from app.web.server.messages import Refusal
from app.web.server.reading import Bodies, RequestReader

HOST = b"Host: here\r\n"
HEAD = b"POST /predict HTTP/1.1\r\n" + HOST
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n"
LIMIT = 1000


def reader(bodies=None, expects=lambda: None):
    return RequestReader({}, bodies or Bodies(LIMIT), expects)


def read(*parts):
    reading = reader()
    for part in parts:
        reading.feed(part)
    return [each.request for each in reading.arrived]


def body_of(request):
    return request["wsgi.input"].read()


WHOLE = HEAD + b"Content-Length: 3\r\nX-User-Id: me\r\n\r\nabc"


@pytest.mark.parametrize("size", [1, 2, 7, len(WHOLE)])
def test_a_request_is_the_same_however_its_bytes_arrive(size):
    [request] = read(*(WHOLE[at : at + size] for at in range(0, len(WHOLE), size)))
    assert body_of(request) == b"abc"
    assert request | {"wsgi.input": None} == {
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REQUEST_METHOD": "POST",
        "RAW_URI": "/predict",
        "PATH_INFO": "/predict",
        "QUERY_STRING": "",
        "HTTP_HOST": "here",
        "CONTENT_LENGTH": "3",
        "HTTP_X_USER_ID": "me",
        "wsgi.input": None,
    }


def test_requests_in_one_piece_come_out_one_by_one_and_share_nothing():
    first, second = read(WHOLE + HEAD + b"Content-Length: 2\r\n\r\nde")
    assert (body_of(first), body_of(second)) == (b"abc", b"de")
    assert "HTTP_X_USER_ID" not in second


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/a%20b%2Fc", "/a b/c", ""),
        (b"/m%C3%A9", "/m\xc3\xa9", ""),  # WSGI: bytes as Latin-1
        (b"/a?b=%20&c", "/a", "b=%20&c"),
        (b"/a#b", "/a", ""),
        (b"http://here/a?b", "/a", "b"),
        (b"//a", "//a", ""),
        (b"*", "*", ""),
    ],
)
def test_a_target_is_a_path_and_a_query(target, path, query):
    [request] = read(b"OPTIONS " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n")
    assert (request["PATH_INFO"], request["QUERY_STRING"]) == (path, query)


def test_headers_that_come_twice_are_joined_and_names_with_underscores_are_dropped():
    [request] = read(HEAD + b"X-A: 1\r\nX-A:  2 \r\nX_Actor: admin\r\n\r\n")
    assert request["HTTP_X_A"] == "1,2"
    assert "HTTP_X_ACTOR" not in request


def test_a_chunked_body_is_put_together_and_its_trailer_is_no_header():
    [request] = read(CHUNKED + b"\r\n2;x=y\r\nab\r\n1\r\nc\r\n0\r\nX-Actor: me\r\n\r\n")
    assert body_of(request) == b"abc"
    assert "HTTP_X_ACTOR" not in request


@pytest.mark.parametrize(
    ("data", "refusal"),
    [
        (b"GARBAGE\r\n\r\n", messages.NO_REQUEST),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", messages.NO_REQUEST),
        (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", messages.WRONG_VERSION),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n", messages.LINE_TOO_LONG),
        (HEAD + b"A: " + b"x" * 9000 + b"\r\n\r\n", messages.HEAD_TOO_LARGE),
        (HEAD + b"A: b\r\n" * 101 + b"\r\n", messages.HEAD_TOO_LARGE),
        (HEAD + HOST + b"\r\n", messages.TWO_HOSTS),
        (HEAD + b"Expect: tea\r\n\r\n", messages.OTHER_EXPECTATION),
        (HEAD + b"A: b\r\n c\r\n\r\n", messages.NO_REQUEST),
        (HEAD + b"A : b\r\n\r\n", messages.NO_REQUEST),
        (HEAD + b"Content-Length: +3\r\n\r\nabc", messages.NO_REQUEST),
        (HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", messages.NO_REQUEST),
        (CHUNKED + b"Content-Length: 3\r\n\r\n0\r\n\r\n", messages.NO_REQUEST),
        (CHUNKED + b"\r\nzz\r\nab\r\n0\r\n\r\n", messages.NO_REQUEST),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", messages.WRONG_CODING),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", messages.WRONG_CODING),
    ],
)
def test_what_could_be_read_in_two_ways_or_is_too_large_is_refused(data, refusal):
    assert read(data) == [refusal]


def test_a_header_without_an_end_is_refused_long_before_it_fills_the_memory():
    reading = reader()
    reading.feed(HEAD + b"A: ")
    for _ in range(70):
        reading.feed(b"x" * 1024)
    assert [each.request for each in reading.arrived] == [messages.HEAD_TOO_LARGE]


def test_nothing_is_read_after_a_refusal_or_a_last_request():
    assert read(b"GARBAGE\r\n\r\n", WHOLE) == [messages.NO_REQUEST]
    assert len(read(HEAD + b"Connection: close\r\n\r\n" + WHOLE, WHOLE)) == 1


@pytest.mark.parametrize(
    "head", [b"Upgrade: h2c\r\nConnection: Upgrade\r\n", b"Upgrade: websocket\r\nConnection: Upgrade\r\n"]
)
def test_an_upgrade_is_not_taken_and_the_request_is_the_connections_last(head):
    reading = reader()
    reading.feed(HEAD + head + b"\r\n")
    [arrived] = reading.arrived
    assert arrived.last
    assert not isinstance(arrived.request, Refusal)


def test_of_a_body_over_the_limit_little_more_than_the_limit_is_kept():
    reading = reader()
    reading.feed(HEAD + b"Content-Length: 5000\r\n\r\n")
    for _ in range(50):
        reading.feed(b"x" * 100)
    [arrived] = reading.arrived
    assert LIMIT < len(body_of(arrived.request)) <= LIMIT + 100  # so that the application sees that it is too large


def test_a_body_without_an_end_is_refused():
    reading = reader()
    reading.feed(HEAD + b"Content-Length: 999999999999\r\n\r\n")
    piece = bytes(1 << 20)
    for _ in range(MAX_DISCARDED_BYTES // len(piece) + 2):
        reading.feed(piece)
    assert [each.request for each in reading.arrived] == [messages.BODY_TOO_LARGE]


def test_all_bodies_together_are_bounded_and_count_until_they_are_released():
    bodies = Bodies(LIMIT)
    readers = [reader(bodies) for _ in range(17)]
    for each in readers:
        each.feed(HEAD + b"Content-Length: 2000\r\n\r\n" + b"x" * LIMIT)
    refused = [each.request for reading in readers for each in reading.arrived]
    assert refused == [messages.BODIES_TOO_LARGE]
    for each in readers:
        each.release()
    last = reader(bodies)
    last.feed(WHOLE)
    assert body_of(last.arrived[0].request) == b"abc"


@pytest.mark.parametrize(("version", "asked"), [(b"1.1", 1), (b"1.0", 0)])
def test_a_client_that_waits_is_asked_for_its_body(version, asked):
    asks = []
    reading = reader(expects=lambda: asks.append(1))
    reading.feed(b"POST / HTTP/" + version + b"\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    assert len(asks) == asked
