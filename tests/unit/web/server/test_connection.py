import json

import pytest

from app.web.server.connection import ARRIVAL_S, LINGER_S, UNREAD_S, Clients, Connection
from app.web.server.messages import CONTINUE, Answered

REQUEST = b"GET /a HTTP/1.1\r\nHost: here\r\n\r\n"
LAST = b"GET /a HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"
BODY = b"POST /a HTTP/1.1\r\nHost: here\r\nContent-Length: 9\r\n\r\n"
KEEP_ALIVE_S = 75.0


class Transport:
    """Remembers what was done to it; `unsent` bytes are those that its client does not read."""

    sockname = ("127.0.0.2", 5001)

    def __init__(self):
        self.sent, self.unsent, self.reading, self.half_closed, self.ended = b"", 0, True, False, None

    def get_extra_info(self, name):
        return {"sockname": self.sockname}[name]

    def write(self, data):
        self.sent += data

    def write_eof(self):
        self.half_closed = True

    def get_write_buffer_size(self):
        return self.unsent

    def is_reading(self):
        return self.reading

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True

    def is_closing(self):
        return self.ended is not None

    def close(self):
        self.ended = "closed"

    def abort(self):
        self.ended = "aborted"


class Server:
    """One connection, whose requests are answered by `answer`, or at once if `prompt`."""

    def __init__(self, prompt=False):
        self.now_s, self.draining, self.prompt, self.asked, self.transport = 100.0, False, prompt, [], Transport()
        self.clients = Clients(
            self.serve,
            {},
            draining=lambda: self.draining,
            keep_alive_s=KEEP_ALIVE_S,
            most_body_bytes=1000,
            now_s=lambda: self.now_s,
        )
        self.connection = Connection(self.clients, ("127.0.0.1", 1), lambda: None)
        self.connection.connection_made(self.transport)

    def serve(self, environ, connection):
        assert connection is self.connection
        self.asked.append(environ["PATH_INFO"])
        if self.prompt:
            self.answer()

    def answer(self, body=b"here"):
        self.connection.answer(Answered("200 OK", [("Content-Length", str(len(body)))], body))

    def after(self, seconds):
        self.now_s += seconds
        self.clients.check()
        return self

    def receive(self, data):
        self.connection.data_received(data)
        return self

    def statuses(self):
        return [int(part[:3]) for part in self.transport.sent.split(b"HTTP/1.1 ")[1:] if part[:3].isdigit()]


def test_a_request_says_by_which_of_the_listeners_it_came():
    seen = []
    server = Server()
    server.clients.serve = lambda environ, _: seen.append(environ)
    server.receive(REQUEST)
    assert (seen[0]["SERVER_NAME"], seen[0]["SERVER_PORT"]) == ("127.0.0.2", "5001")


def test_a_connection_that_is_broken_from_the_start_came_by_no_listener(monkeypatch):
    monkeypatch.setattr(Transport, "sockname", None)
    seen = []
    server = Server()
    server.clients.serve = lambda environ, _: seen.append(environ["SERVER_PORT"])
    server.receive(REQUEST)
    assert seen == ["0"]


def test_requests_that_come_together_are_answered_one_after_the_other():
    server = Server().receive(REQUEST + REQUEST.replace(b"/a", b"/b"))
    assert server.asked == ["/a"]
    assert not server.transport.reading  # what else the client sends waits in the kernel
    server.answer(b"first")
    assert server.asked == ["/a", "/b"]
    server.answer(b"second")
    assert server.transport.sent.index(b"first") < server.transport.sent.index(b"second")
    assert server.transport.reading


def test_thousands_of_requests_in_one_piece_are_no_recursion():
    server = Server(prompt=True).receive(REQUEST * 3000)
    assert server.statuses() == [200] * 3000


def test_a_last_request_is_answered_and_the_connection_closed_when_the_client_has_closed():
    server = Server(prompt=True).receive(LAST)
    assert b"Connection: close\r\n" in server.transport.sent
    assert (server.transport.half_closed, server.transport.ended) == (True, None)
    assert not server.connection.eof_received()  # asyncio closes it then


@pytest.mark.parametrize("more", [b"", b"x" * 10_000])
def test_a_client_that_stays_after_its_last_answer_is_cut_off(more):
    server = Server(prompt=True).receive(LAST).receive(more)
    assert server.transport.ended is None
    assert server.after(LINGER_S).transport.ended == "aborted"


def test_a_client_that_goes_on_sending_after_its_last_answer_is_cut_off():
    server = Server(prompt=True).receive(b"GARBAGE\r\n\r\n")
    assert server.statuses() == [400]
    for _ in range(9):
        server.receive(b"x" * 8192)
    assert server.transport.ended == "aborted"


@pytest.mark.parametrize("beginning", [b"G", REQUEST[:-2], BODY + b"{"], ids=["one byte", "half a head", "half a body"])
def test_half_a_request_is_waited_for_and_then_refused(beginning):
    server = Server().receive(beginning).after(ARRIVAL_S - 1)
    assert server.transport.sent == b""
    server.after(1)
    assert server.statuses() == [408]
    assert json.loads(server.transport.sent.partition(b"\r\n\r\n")[2])["error"]["code"] == "request_timeout"


WRONG = {
    "a coding": b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "a large header": b"X-Request-Id: r-1\r\nA: " + b"x" * 9000 + b"\r\n\r\n",
    "a wrong length": b"X-Request-Id: r-1\r\nContent-Length: +3\r\n\r\nabc",
    "a chunk": b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
}
FORMS = {
    b"/predict": {"error"},
    b"/v2/models/iris/infer": {"error"},
    b"/v1/models/iris:predict": {"error"},
    b"/invocations": {"error_code", "message"},
    b"/endpoints/iris/invocations?a=b": {"code", "message"},
    b"/ofrep/v1/evaluate/flags": {"errorCode", "errorDetails"},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("path", FORMS)
def test_a_refusal_has_the_form_of_the_path_that_it_is_for(path, wrong):
    server = Server().receive(b"POST " + path + b" HTTP/1.1\r\nHost: here\r\n" + wrong)
    head, _, body = server.transport.sent.partition(b"\r\n\r\n")
    error = json.loads(body)
    assert (server.statuses()[0] // 100, {*error}) == (4, FORMS[path])
    assert type(next(iter(error.values()))) is (dict if path == b"/predict" else str)
    assert b"X-Request-Id: r-1" in head or b"r-1" not in wrong


def test_a_refusal_of_what_comes_next_has_nothing_of_the_request_before():
    server = Server(prompt=True).receive(BODY.replace(b"/a", b"/v2/a") + b"{" * 9 + b"\x16\x03\r\n\r\n")
    assert b'"code"' in server.transport.sent


def test_a_byte_now_and_then_does_not_give_a_client_more_time():
    server = Server().receive(BODY)
    for _ in range(15):
        server.receive(b"x" if server.now_s < 108 else b"").after(1)
    assert server.statuses() == [408]


def test_a_request_may_take_any_time_to_be_answered():
    server = Server().receive(REQUEST).after(10_000)
    server.answer()
    assert server.statuses() == [200]


def test_an_idle_connection_is_closed_after_its_time():
    server = Server(prompt=True).receive(REQUEST).after(KEEP_ALIVE_S - 1)
    assert not server.transport.half_closed
    assert server.after(1).transport.half_closed


def test_a_client_that_does_not_read_is_not_read_from_and_cut_off_in_the_end():
    server = Server(prompt=True).receive(REQUEST)
    server.connection.pause_writing()
    server.transport.unsent = 1
    server.receive(REQUEST)
    assert (server.statuses(), server.transport.reading) == ([200], False)
    assert server.after(UNREAD_S - 1).transport.ended is None
    assert server.after(1).transport.ended == "aborted"


def test_a_client_that_reads_at_last_is_served_on():
    server = Server(prompt=True).receive(REQUEST)
    server.connection.pause_writing()
    server.receive(REQUEST)
    server.connection.resume_writing()
    assert (server.statuses(), server.transport.reading) == ([200, 200], True)


def test_a_large_last_answer_has_time_to_be_read():
    server = Server(prompt=True).receive(LAST)
    server.transport.unsent = 1
    assert server.after(UNREAD_S - 1).transport.ended is None
    assert server.after(1).transport.ended == "aborted"


def test_a_client_that_sends_no_more_gets_its_answers_and_then_the_end():
    server = Server().receive(REQUEST + REQUEST)
    assert server.connection.eof_received()
    server.answer()
    server.answer()
    assert server.statuses() == [200, 200]
    assert server.transport.ended == "closed"


def test_a_body_that_ends_early_is_refused():
    server = Server().receive(BODY + b"{")
    server.connection.eof_received()
    assert server.statuses() == [400]


def test_an_error_comes_after_the_answers_to_the_requests_before_it():
    server = Server().receive(REQUEST + b"GARBAGE\r\n\r\n")
    assert server.transport.sent == b""
    server.answer()
    assert server.statuses() == [200, 400]


def test_while_draining_answers_ask_the_client_to_close():
    server = Server(prompt=True)
    server.draining = True
    assert b"Connection: close\r\n" in server.receive(REQUEST).transport.sent


def test_a_stop_ends_idle_connections_soon_and_lets_answers_finish():
    idle, busy = Server(), Server().receive(REQUEST)
    for server in (idle, busy):
        server.clients.stop()
        server.after(3)
    assert idle.transport.half_closed
    assert not busy.transport.half_closed


def test_a_client_that_waits_to_be_asked_for_its_body_is_asked_unless_an_answer_is_due():
    expecting = BODY.replace(b"Content", b"Expect: 100-continue\r\nContent")
    assert Server().receive(expecting).transport.sent == CONTINUE
    assert Server().receive(REQUEST).receive(expecting).transport.sent == b""


def test_an_answer_to_a_client_that_has_gone_is_dropped():
    server = Server().receive(REQUEST)
    server.connection.connection_lost(None)
    server.answer()
    assert server.transport.sent == b""
    assert not server.clients.open


class Pieces:
    """Pieces that the test makes: `give` has what waits for the next one."""

    def __init__(self):
        self.give, self.asked, self.closed, self.broken = None, 0, False, False

    def next(self, give):
        self.give, self.asked = give, self.asked + 1

    def close(self):
        self.closed = True


def in_pieces(request=REQUEST):
    """A connection whose answer comes in pieces, and these."""
    server, pieces = Server().receive(request), Pieces()
    server.connection.answer(Answered("200 OK", [], pieces))
    return server, pieces


def test_an_answer_in_pieces_is_chunked_and_the_next_request_waits_for_its_end():
    server, pieces = in_pieces(REQUEST + REQUEST.replace(b"/a", b"/b"))
    pieces.give(b"first")
    pieces.give(b"x" * 17)
    assert server.asked == ["/a"]
    pieces.give(None)
    assert b"Transfer-Encoding: chunked\r\n" in server.transport.sent
    assert server.transport.sent.endswith(b"\r\n\r\n5\r\nfirst\r\n11\r\n" + b"x" * 17 + b"\r\n0\r\n\r\n")
    assert server.asked == ["/a", "/b"]
    server.answer()
    assert server.statuses() == [200, 200]


def test_no_piece_is_made_while_the_client_does_not_read():
    server, pieces = in_pieces()
    server.connection.pause_writing()
    server.transport.unsent = 1
    pieces.give(b"first")
    assert pieces.asked == 1
    server.connection.resume_writing()
    assert pieces.asked == 2
    server.connection.pause_writing()
    assert server.after(UNREAD_S).transport.ended == "aborted"


def test_pieces_that_nobody_reads_are_closed_but_not_while_one_is_made():
    server, pieces = in_pieces()
    server.connection.connection_lost(None)
    assert not pieces.closed
    pieces.give(b"first")
    assert pieces.closed
    server, pieces = in_pieces()
    server.connection.pause_writing()
    pieces.give(b"first")
    server.connection.connection_lost(None)
    assert pieces.closed


def test_pieces_for_a_client_that_has_gone_are_closed():
    server, pieces = Server().receive(REQUEST), Pieces()
    server.connection.connection_lost(None)
    server.connection.answer(Answered("200 OK", [], pieces))
    assert pieces.closed


def test_an_answer_that_is_broken_off_does_not_look_complete():
    server, pieces = in_pieces()
    pieces.give(b"first")
    pieces.broken = True
    pieces.give(None)
    assert server.transport.ended == "aborted"
    assert b"0\r\n\r\n" not in server.transport.sent


@pytest.mark.parametrize("leaves", [False, True])
def test_behind_the_last_piece_of_a_last_answer_the_connection_ends(leaves):
    server, pieces = in_pieces(REQUEST if leaves else LAST)
    assert (b"Connection: close\r\n" in server.transport.sent) is not leaves
    if leaves:
        assert server.connection.eof_received()
    pieces.give(b"first")
    assert (server.transport.half_closed, server.transport.ended) == (False, None)
    pieces.give(None)
    assert server.transport.ended == "closed" if leaves else server.transport.half_closed
