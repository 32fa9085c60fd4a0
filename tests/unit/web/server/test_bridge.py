import asyncio
import itertools
import threading

import pytest

from app.web.server.bridge import Bridge
from app.web.wrong_tokens import HOLD


class Front:
    """Rejects `/full`, answers `/quick` on the loop, and everything else as WSGI in a thread, once `go` is set."""

    def __init__(self):
        self.go = threading.Event()
        self.closed = False

    def rejection(self, environ):
        return (503, [], b"full") if environ["PATH_INFO"] == "/full" else None

    def quick(self, environ):
        return {"/quick": self.answer, "/broken": self.fail, "/held": self.hold}.get(environ["PATH_INFO"])

    def hold(self, environ):
        environ[HOLD] = 0.05
        return 403, [], b"held"

    def answer(self, _environ):
        return 200, [], threading.current_thread().name.encode()

    def fail(self, _environ):
        raise RuntimeError("the secret reason")

    def pieces(self, broken):
        try:
            yield b"one"
            if broken:
                raise RuntimeError("the secret reason")
            yield threading.current_thread().name[:5].encode()
        finally:
            self.closed = True

    def unshed(self, environ, start_response):
        self.go.wait(10)
        if environ["PATH_INFO"].startswith("/pieces"):
            start_response("200 OK", [])
            return self.pieces(environ["PATH_INFO"] == "/pieces-broken")
        if environ["PATH_INFO"] == "/broken-wsgi":
            raise RuntimeError("the secret reason")
        start_response("404 NOT FOUND", [("X-A", "b")])(b"written, ")
        return self

    def __iter__(self):
        return iter((b"from ", threading.current_thread().name[:5].encode()))

    def close(self):
        self.closed = True


class Asker:
    def __init__(self):
        self.answered = asyncio.get_running_loop().create_future()

    def answer(self, answer):
        self.answered.set_result(answer)


@pytest.fixture
def front():
    return Front()


def environ(path):
    return {"PATH_INFO": path, "REQUEST_METHOD": "POST", "SERVER_PROTOCOL": "HTTP/1.1"}


def serve(front, *paths, threads=1):
    """The answers to `paths`, and what `waiting` said before the first one."""

    async def run():
        bridge = Bridge(front, threads, asyncio.get_running_loop())
        askers = [Asker() for _ in paths]
        for path, asker in zip(paths, askers, strict=True):
            bridge.serve(environ(path), asker)
        waiting = bridge.waiting()
        front.go.set()
        answers = [await asyncio.wait_for(asker.answered, 10) for asker in askers]
        assert bridge.waiting() == 0
        bridge.close()
        return answers, waiting

    return asyncio.run(run())


def test_a_quick_answer_is_made_on_the_loop(front):
    [answer], _ = serve(front, "/quick")
    assert (answer.status, answer.body) == ("200 OK", b"MainThread")


def test_everything_else_is_called_as_wsgi_in_a_thread(front):
    [answer], _ = serve(front, "/models")
    assert (answer.status, answer.headers, answer.body) == ("404 NOT FOUND", [("X-A", "b")], b"written, from serve")
    assert front.closed


def turns(front, count, answer_s):
    """How many requests of `count` each turn of the loop answers, if an answer takes so long."""
    clock = [0.0]

    class Counted(Asker):
        def answer(self, answer):
            clock[0] += answer_s
            super().answer(answer)

    async def run():
        bridge = Bridge(front, 1, asyncio.get_running_loop(), lambda: clock[0])
        askers, counts = [Counted() for _ in range(count)], [0]
        for asker in askers:
            bridge.serve(environ("/quick"), asker)
        while counts[-1] < count:
            assert len(counts) <= count + 1
            await asyncio.sleep(0)
            counts.append(sum(asker.answered.done() for asker in askers))
        bridge.close()
        return [after - before for before, after in itertools.pairwise(counts) if after > before]

    return asyncio.run(run())


@pytest.mark.parametrize(("answer_s", "expected"), [(0.0, [24, 24, 2]), (0.0011, [10, 10, 10, 10, 10])])
def test_a_turn_of_the_loop_is_bounded_in_number_and_time(front, answer_s, expected):
    assert turns(front, 50, answer_s) == expected


def test_a_turn_of_the_loop_answers_one_request_at_least(front):
    assert turns(front, 3, 0.02) == [1, 1, 1]


def test_a_request_that_an_answer_lets_in_is_answered_in_the_same_turn_and_no_second_turn_is_begun(front):
    answered, calls = [], []

    class Pipelined(Asker):
        def answer(self, answer):
            super().answer(answer)
            answered.append(len(answered))
            if len(answered) < 4:
                bridge.serve(environ("/quick"), Pipelined())

    async def run():
        loop = asyncio.get_running_loop()
        call_soon = loop.call_soon
        loop.call_soon = lambda work, *rest, **more: (calls.append(work), call_soon(work, *rest, **more))[1]
        nonlocal bridge
        bridge = Bridge(front, 1, loop, lambda: 0.0)
        bridge.serve(environ("/quick"), Pipelined())
        await asyncio.sleep(0)
        assert len(answered) == 4

    bridge = None
    asyncio.run(run())
    assert calls.count(bridge._answer_some) == 1


def pieces_of(front, path, protocol="HTTP/1.1"):
    """The pieces of an answer, up to None, and its body; of a whole one, the body alone."""

    async def run():
        loop = asyncio.get_running_loop()
        bridge, asker, given = Bridge(front, 1, loop), Asker(), []
        front.go.set()
        bridge.serve({**environ(path), "SERVER_PROTOCOL": protocol}, asker)
        body = (await asyncio.wait_for(asker.answered, 10)).body
        while not isinstance(body, bytes) and None not in given:
            piece = loop.create_future()
            body.next(piece.set_result)
            given.append(await asyncio.wait_for(piece, 10))
        bridge.close()
        return given, body

    return asyncio.run(run())


def test_what_a_generator_makes_is_made_piece_by_piece_in_threads(front):
    given, body = pieces_of(front, "/pieces")
    assert (given, body.broken, front.closed) == ([b"one", b"serve", None], False, True)


def test_a_client_of_http_1_0_gets_what_a_generator_makes_as_a_whole(front):
    assert pieces_of(front, "/pieces", "HTTP/1.0") == ([], b"oneserve")
    assert front.closed


def test_a_body_that_cannot_be_made_to_its_end_is_broken_and_logged(front, caplog):
    given, body = pieces_of(front, "/pieces-broken")
    assert (given, body.broken) == ([b"one", None], True)
    assert "answer_broken_off" in caplog.text


def test_what_is_made_in_pieces_is_ended_with_the_worker(front):
    async def run():
        bridge, asker = Bridge(front, 1, asyncio.get_running_loop()), Asker()
        front.go.set()
        bridge.serve(environ("/pieces"), asker)
        body = (await asyncio.wait_for(asker.answered, 10)).body
        first = asyncio.get_running_loop().create_future()
        body.next(first.set_result)
        assert await asyncio.wait_for(first, 10) == b"one"
        bridge.close()
        return front.closed

    assert asyncio.run(run())


def test_a_piece_that_waits_for_a_thread_is_counted(front):
    async def run():
        bridge, asker = Bridge(front, 1, asyncio.get_running_loop()), Asker()
        front.go.set()
        bridge.serve(environ("/pieces"), asker)
        body = (await asyncio.wait_for(asker.answered, 10)).body
        front.go.clear()
        bridge.serve(environ("/models"), Asker())
        body.next(lambda _piece: None)
        waiting = bridge.waiting()
        front.go.set()
        bridge.close()
        return waiting

    assert asyncio.run(run()) == 1


def test_what_waits_for_the_loop_or_for_a_thread_is_counted_and_what_a_thread_does_is_not(front):
    _, waiting = serve(front, *["/quick"] * 3, *["/models"] * 5, threads=2)
    assert waiting == 3 + (5 - 2)


def test_a_rejection_waits_for_nobody(front):
    [answer, _], waiting = serve(front, "/full", "/models")
    assert (answer.status, answer.body, waiting) == ("503 Service Unavailable", b"full", 0)


@pytest.mark.parametrize("path", ["/broken", "/broken-wsgi"])
def test_an_error_that_nobody_caught_is_a_500_that_shows_nothing_and_is_logged(front, path, caplog):
    [answer], _ = serve(front, path)
    assert answer.status == "500 Internal Server Error"
    assert b"secret" not in answer.body
    assert "request_failed" in caplog.text


def test_an_answer_that_is_held_back_keeps_no_other_waiting(front):
    async def served():
        bridge = Bridge(front, 1, asyncio.get_running_loop())
        held, other = Asker(), Asker()
        bridge.serve(environ("/held"), held)
        bridge.serve(environ("/quick"), other)
        await other.answered
        assert not held.answered.done()
        return await held.answered

    assert asyncio.run(served()).body == b"held"
