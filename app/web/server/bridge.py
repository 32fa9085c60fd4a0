"""Where a request is answered: at once on the event loop, or in one of a few threads.

The loop answers what needs less time than a change of threads does: small predictions of quick models, and rejections.
Everything else is called as WSGI in a thread, with a body that has arrived already.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any, Protocol

from app.web.protocols.table import refused
from app.web.response import Answer, Environ, problem_of
from app.web.server.messages import Answered, answered
from app.web.wrong_tokens import HOLD

_LOG = logging.getLogger(__name__)
# A turn of the loop answers so many requests, and begins none after so long; then it reads what has arrived meanwhile,
# and rejects what is too much. Who is rejected and comes again at once costs half an answer a turn: so, few turns.
_ANSWERS_A_TURN = 24
_TURN_S = 0.01
# How long the end of a worker waits for pieces that are being made; each takes some milliseconds.
_LAST_PIECES_S = 1.0


class FrontDoor(Protocol):
    """Answers requests (`app.web.front.Front`)."""

    def rejection(self, environ: Environ, /) -> Answer | None: ...

    def quick(self, environ: Environ, /) -> Callable[[Environ], Answer] | None: ...

    def unshed(self, environ: Environ, start_response: Callable[..., Any], /) -> Iterable[bytes]: ...


class Asker(Protocol):
    """Waits for an answer (`app.web.server.connection.Connection`)."""

    def answer(self, answer: Answered, /) -> None: ...


class Bridge:
    """Serves the requests of one worker with up to `threads` threads beside the event loop."""

    def __init__(
        self,
        front: FrontDoor,
        threads: int,
        loop: asyncio.AbstractEventLoop,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._front = front
        self._now_s = now_s
        self._threads = threads
        self._loop = loop
        self._pool = ThreadPoolExecutor(threads, "serve")
        self._in_pool = 0
        self._on_loop: deque[tuple[Callable[[Environ], Answer], Environ, Asker]] = deque()
        self._in_pieces: set[MadePieces] = set()
        self._turn_due = False

    def waiting(self) -> int:
        """How many requests wait for the loop or for a thread."""
        return len(self._on_loop) + max(0, self._in_pool - self._threads)

    def serve(self, environ: Environ, asker: Asker) -> None:
        """Have `asker` answered: before this returns, in one of the loop's next turns, or by a thread."""
        rejection = self._front.rejection(environ)
        if rejection is not None:
            asker.answer(answered(rejection))
            return
        quick = self._front.quick(environ)
        if quick is None:
            self.in_thread(self._call, environ, asker)
            return
        # Not at once: only in the queue can it be seen how many wait.
        self._on_loop.append((quick, environ, asker))
        self._have_answered()

    def close(self) -> None:
        """Begin no more requests, and end what is made in pieces: whoever makes it may have to do so in any case."""
        self._on_loop.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)
        unfinished = [*self._in_pieces]
        wait([each.making for each in unfinished if each.making is not None], _LAST_PIECES_S)
        for each in unfinished:
            with suppress(ValueError):  # a piece is being made still
                each.close()

    def in_thread(self, work: Callable[..., None], *arguments: Any) -> Future[None]:
        """Have work done in a thread, which calls `done` at its end. Raises `RuntimeError` once this is closed."""
        future = self._pool.submit(work, *arguments)
        self._in_pool += 1
        return future

    def done(self, then: Callable[..., None], *arguments: Any) -> None:
        """Have the loop call `then`, from a thread. Raises `RuntimeError` where the loop has ended."""
        self._loop.call_soon_threadsafe(self._done, then, arguments)

    def _done(self, then: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self._in_pool -= 1
        then(*arguments)

    def _have_answered(self) -> None:
        if self._on_loop and not self._turn_due:
            self._turn_due = True
            self._loop.call_soon(self._answer_some)

    def _answer_some(self) -> None:
        waiting, ends_s = self._on_loop, self._now_s() + _TURN_S
        try:
            for _ in range(_ANSWERS_A_TURN):
                if not waiting:
                    break
                quick, environ, asker = waiting[0]
                try:
                    answer = answered(quick(environ))
                except Exception as error:  # noqa: BLE001 - the connection must get an answer; logged there
                    answer = _failed(error, environ)
                waiting.popleft()
                self._give(answer, environ, asker)
                if self._now_s() >= ends_s:
                    break
        finally:
            # Only now: an answer may let the connection's next request in, which belongs to this turn still.
            self._turn_due = False
            self._have_answered()

    def _call(self, environ: Environ, asker: Asker) -> None:
        try:
            answer = self._answer(environ)
        except Exception as error:  # noqa: BLE001 - as above
            answer = _failed(error, environ)
        try:
            self.done(self._give, answer, environ, asker)
        except RuntimeError:  # the loop has ended: the worker did not wait any longer
            if not isinstance(answer.body, bytes):
                answer.body.close()

    def _answer(self, environ: Environ) -> Answered:
        """The answer of the application: as a whole, unless a generator makes its body."""
        begun = _Begun()
        parts = self._front.unshed(environ, begun.start_response)
        # HTTP/1.0 knows no chunks.
        if isinstance(parts, Generator) and environ["SERVER_PROTOCOL"] == "HTTP/1.1":
            return Answered(begun.status, begun.headers, MadePieces(parts, self, self._in_pieces))
        try:
            begun.written.extend(parts)
        finally:
            close = getattr(parts, "close", None)
            if close is not None:
                close()
        return Answered(begun.status, begun.headers, b"".join(begun.written))

    def _give(self, answer: Answered, environ: Environ, asker: Asker) -> None:
        """Answer at once, or when the application says (`app.web.wrong_tokens`): waiting on the loop costs nothing."""
        hold_s = environ.get(HOLD)
        if hold_s is None:
            asker.answer(answer)
        else:
            self._loop.call_later(hold_s, asker.answer, answer)


class _Begun:
    """What a WSGI application says of its answer before the body, and what it writes itself."""

    def __init__(self) -> None:
        self.status = ""
        self.headers: list[tuple[str, str]] = []
        self.written: list[bytes] = []

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        """As PEP 3333 has it."""
        if self.status and exc_info is None:
            raise AssertionError("start_response was called twice")
        self.status, self.headers = status, headers
        return self.written.append


class MadePieces:
    """The pieces that a generator makes, each in a thread of the bridge; among `in_pieces` until its end.

    `making` is the piece that was asked for last.
    """

    def __init__(self, parts: Generator[bytes], bridge: Bridge, in_pieces: set[MadePieces]) -> None:
        self._parts = parts
        self._bridge = bridge
        self._in_pieces = in_pieces
        self.making: Future[None] | None = None
        self.broken = False
        in_pieces.add(self)

    def next(self, give: Callable[[bytes | None], None]) -> None:
        """See `Pieces`."""
        with suppress(RuntimeError):  # the bridge is closed: the worker has ended its connections
            self.making = self._bridge.in_thread(self._make, give)

    def close(self) -> None:
        """See `Pieces`. Raises `ValueError` while a piece is being made."""
        self._parts.close()
        self._in_pieces.discard(self)

    def _make(self, give: Callable[[bytes | None], None]) -> None:
        try:
            piece = next(self._parts, None)
        except Exception:  # noqa: BLE001 - the connection must be told; logged here
            _LOG.exception("answer_broken_off")
            piece, self.broken = None, True
        if piece is None:
            self._in_pieces.discard(self)
        try:
            self._bridge.done(give, piece)
        except RuntimeError:  # the loop has ended: the worker did not wait any longer
            self.close()


def _failed(error: Exception, environ: Environ) -> Answered:
    return answered(refused(problem_of(error, environ), environ))
