import io
from http.client import HTTPResponse

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import ParseException
from gunicorn.http.parser import RequestParser
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from app.web.server.plain_http import SimpleRequest, as_bytes, simple_request

WHOLE = b'POST /predict HTTP/1.1\r\nHost: here\r\nX-Request-Id: mine\r\nContent-Length: 15\r\n\r\n{"features": 1}'
LINES = [
    b"POST /predict HTTP/1.1\r\n",
    b"GET /health?a=b HTTP/1.1\r\n",
    b"GET /%2e HTTP/1.1\r\n",
    b"GET / HTTP/1.0\r\n",
    b"GET //a HTTP/1.1\r\n",
]
FIELDS = [
    b"Host: here\r\n",
    b"Host : here\r\n",
    b"Content-Length: 2\r\n",
    b"Content-Length: +2\r\n",
    b"content-length: 02 \r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: Keep-Alive\r\n",
    b"X-Request-Id: mine\r\n",
    b"X_Request_Id: other\r\n",
    b"X-A: \xff\r\n",
    b"X-A: \x00\r\n",
    b" folded\r\n",
    b"X-B: 1\nContent-Length: 9\r\n",
]
REQUESTS = st.tuples(
    st.sampled_from(LINES),
    st.lists(st.sampled_from(FIELDS), max_size=5).map(b"".join),
    st.sampled_from([b"\r\n", b"\n", b""]),
    st.sampled_from([b"", b"{}", b"0", b"0\r\n\r\n"]),
).map(b"".join)


def read_by_the_server(data):
    """The requests of which gunicorn thinks that `data` consists."""
    found = []
    parser = RequestParser(Config(), iter([data]), ("127.0.0.1", 1))
    for request in parser:
        closing = request.should_close()
        request_id = dict(request.headers).get("X-REQUEST-ID")
        found.append((request.method, request.path, request_id, closing, request.body.read()))
        if closing:
            break
    return found


def test_one_whole_request_is_recognised_by_its_bytes():
    assert simple_request(WHOLE) == SimpleRequest("POST", "/predict", "mine")
    closing = WHOLE.replace(b"Host", b"Connection: close\r\nHost")
    assert simple_request(closing) == SimpleRequest("POST", "/predict", "mine", close=True)
    assert simple_request(b"GET /models?x=1 HTTP/1.1\r\nHost: here\r\n\r\n") == SimpleRequest("GET", "/models")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        WHOLE[:-1],
        WHOLE + b" ",
        WHOLE * 2,
        WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0"),
        WHOLE.replace(b"/predict", b"/pre%64ict"),
        WHOLE.replace(b"/predict", b"http://here/predict"),
        WHOLE.replace(b"POST", b"BREW"),
        WHOLE.replace(b"Host: here\r\n", b""),
        WHOLE.replace(b"Host: here\r\n", b"Host: here\r\nHost: there\r\n"),
        WHOLE.replace(b"Host: here\r\n", b"Host: here\r\nConnection: close, x\r\n"),
        WHOLE.replace(b"Host: here\r\n", b"Host: here\r\nExpect: 100-continue\r\n"),
        WHOLE.replace(b"Host: here\r\n", b"Host: here\r\nTransfer-Encoding: chunked\r\n"),
        WHOLE.replace(b"Host: here\r\n", b"Host: here\r\n folded\r\n"),
        WHOLE.replace(b"Host: here\r\n", b"Host : here\r\n"),
        WHOLE.replace(b"Host: here\r\n", b"Host: here\nX: y\r\n"),
        WHOLE.replace(b": 15", b": 15\r\nContent-Length: 15"),
        WHOLE.replace(b": 15", b": +15"),
        WHOLE.replace(b": 15", b": -1"),
    ],
)
def test_what_could_be_taken_for_more_or_less_is_not_simple(data):
    assert simple_request(data) is None


@settings(max_examples=500)
@given(st.one_of(REQUESTS, st.lists(REQUESTS, max_size=2).map(b"".join)))
@example(WHOLE)
@example(WHOLE.replace(b"Host", b"Connection: Keep-Alive\r\nHost"))
def test_what_is_simple_is_to_the_server_that_one_request_and_nothing_after_it(data):
    simple = simple_request(data)
    event(f"simple: {simple is not None}")
    if simple is None:
        return
    ((*request, body),) = read_by_the_server(data)
    assert request == [simple.method, simple.path, simple.request_id, simple.close]
    assert data.endswith(b"\r\n\r\n" + body)


def test_requests_that_a_client_really_sends_are_simple():
    sent = (
        b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:5000\r\nUser-Agent: python-requests/2.32\r\n"
        b"Accept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\nContent-Length: 15\r\n"
        b'Content-Type: application/json\r\n\r\n{"features": 1}'
    )
    assert simple_request(sent) == SimpleRequest("POST", "/predict")
    assert len(read_by_the_server(sent)) == 1


@pytest.mark.parametrize(("close", "word"), [(True, "close"), (False, "keep-alive")])
def test_an_answer_is_whole(close, word):
    class Wire:
        def makefile(self, _mode):
            return io.BytesIO(as_bytes((503, [("Retry-After", "1"), ("Content-Length", "2")], b"no"), close=close))

    answer = HTTPResponse(Wire())
    answer.begin()
    assert (answer.status, answer.reason, answer.read()) == (503, "Service Unavailable", b"no")
    assert (answer.getheader("Connection"), answer.getheader("Retry-After")) == (word, "1")
    assert answer.getheader("Date").endswith("GMT")


def test_the_oracle_refuses_what_it_should():
    with pytest.raises(ParseException):
        read_by_the_server(b"GET / HTTP/1.1\r\nHost : here\r\n\r\n")
