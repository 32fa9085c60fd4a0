"""Clients that connect and send nothing, or begin a request and stop, must not keep others from being answered."""

import contextlib
import socket

import pytest

from tests.e2e.api_process import ROW

pytestmark = pytest.mark.e2e

HEAD = b"POST /predict HTTP/1.1\r\nHost: here\r\nContent-Length: 64\r\n"
BEGINNINGS = {"nothing": b"", "half a head": HEAD, "half a body": HEAD + b"\r\n{", "one byte": b"P"}


@contextlib.contextmanager
def connections(api, count, beginning):
    """That many connections which have sent `beginning` and no more."""
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(socket.create_connection(("127.0.0.1", api.port))) for _ in range(count)]
        for connection in opened:
            connection.sendall(beginning)
        yield opened


@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=BEGINNINGS)
def test_a_hundred_that_stop_in_the_middle_do_not_stop_the_others(start, beginning):
    api = start()
    with connections(api, 100, beginning):
        assert all(api.session.post(f"{api.url}/predict", json=ROW, timeout=10).ok for _ in range(20))


def test_one_that_is_slow_is_answered_all_the_same(start):
    api = start()
    whole = HEAD + b"\r\n" + b'{"features": [5.1, 3.5, 1.4, 0.2]}'.ljust(64)
    with connections(api, 1, whole[:1]) as (connection,):
        for part in range(1, len(whole), 10):
            connection.sendall(whole[part : part + 10])
            api.get("/health/live")
        assert connection.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize(
    "last",
    [b"GARBAGE\r\n\r\n", b"GET /health/live HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"],
    ids=["no request", "a last request"],
)
def test_clients_that_stay_after_their_last_answer_hold_nobody_up(start, last):
    api = start(WEB_CONCURRENCY="1")
    with connections(api, 40, last) as opened:
        assert all(connection.recv(9) == b"HTTP/1.1 " for connection in opened)
        assert all(api.session.post(f"{api.url}/predict", json=ROW, timeout=5).ok for _ in range(5))
        assert all(ended(connection) for connection in opened)


def ended(connection):
    """Whether the server has closed its side."""
    connection.settimeout(10)
    while connection.recv(4096):
        pass
    return True


def test_a_body_that_turns_out_to_be_none_after_the_answer_gets_no_second_one(start):
    api = start()
    head = b"POST /nowhere HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connections(api, 1, head + b"zz\r\n{}\r\n0\r\n\r\n") as (connection,):
        connection.settimeout(10)
        answered = b""
        while data := connection.recv(4096):
            answered += data
    assert answered.count(b"HTTP/1.1 4") == 1
