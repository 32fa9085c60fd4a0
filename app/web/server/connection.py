"""One client's connection: requests in, answers out in the same order, and a bound on every wait for the client.

A request is passed on when it has arrived as a whole, so a slow client costs memory and no thread. What is bounded, and
by how much: docs/adr/0036-an-event-loop-in-front-of-flask.md.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import cast

from app.web.response import Environ
from app.web.server.messages import CONTINUE, CUT_OFF, TOO_SLOW, Answered, Pieces, Refusal, as_bytes, chunk, refused
from app.web.server.reading import Bodies, RequestReader

# A request must have arrived this long after its first byte.
ARRIVAL_S = 15.0
# The client must have read its answer this long after it was ready.
UNREAD_S = 60.0
# After the last answer, the client must close in this time, and may send this much more meanwhile.
LINGER_S = 2.0
_MOST_LINGERING_BYTES = 64 * 1024
# A connection that is idle when the worker stops may ask once more in this time.
_STOP_IDLE_S = 2.0
_ANONYMOUS: Environ = {"SERVER_PROTOCOL": "HTTP/1.1", "REQUEST_METHOD": "GET"}


class Clients:
    """The connections of one worker and what they share.

    `serve` answers a request by `Connection.answer`, at once or later; `draining` returns whether answers close their
    connection; `environ` is the part of a WSGI environment that all requests have.
    """

    def __init__(
        self,
        serve: Callable[[Environ, Connection], None],
        environ: Environ,
        *,
        draining: Callable[[], bool],
        keep_alive_s: float,
        most_body_bytes: int,
        now_s: Callable[[], float],
    ) -> None:
        self.serve = serve
        self.environ = environ
        self.draining = draining
        self.idle_s = keep_alive_s
        self.bodies = Bodies(most_body_bytes)
        self.now_s = now_s
        self.open: set[Connection] = set()

    def check(self) -> None:
        """End the connections whose time is over."""
        now_s = self.now_s()
        for connection in [*self.open]:
            connection.check(now_s)

    def stop(self) -> None:
        """End idle connections soon from now on."""
        self.idle_s = min(self.idle_s, _STOP_IDLE_S)
        for connection in [*self.open]:
            connection.wait()

    def abort(self) -> None:
        """End all connections at once."""
        for connection in [*self.open]:
            connection.abort()


class Connection(asyncio.Protocol):
    """One connection; `lost` is called at its end."""

    def __init__(self, clients: Clients, address: tuple[str, int], lost: Callable[[], None]) -> None:
        self._clients = clients
        self._lost = lost
        self._environ = {**clients.environ, "REMOTE_ADDR": address[0], "REMOTE_PORT": str(address[1])}
        self._reader = RequestReader(self._environ, clients.bodies, self._expects)
        self._transport: asyncio.Transport | None = None
        self._asked: Environ | None = None  # the request whose answer is due
        self._last = False  # whether it is the connection's last
        self._pieces: Pieces | None = None  # the rest of the answer that is being sent
        self._piece_due = False
        self._advancing = False
        self._arrive_by: float | None = None
        self._read_by = math.inf
        self._deadline = math.inf
        self._paused = False
        self._ended = False
        self._client_ended = False
        self._lingering_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        self._transport = cast("asyncio.Transport", transport)
        # By which of the listeners it came; nobody knows if the connection is broken already.
        self._environ["SERVER_NAME"], port = (transport.get_extra_info("sockname") or ("", 0))[:2]
        self._environ["SERVER_PORT"] = str(port)
        self._clients.open.add(self)
        self.wait()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        """Forget everything; an answer that is still due is dropped."""
        self._transport = None
        if self._pieces is not None and not self._piece_due:
            self._pieces.close()
        self._reader.close()
        self._clients.open.discard(self)
        self._lost()

    def data_received(self, data: bytes) -> None:
        """Read what has arrived; every whole request in it gets its turn."""
        if self._reader.ended:
            self._discard(len(data))
            return
        self._reader.feed(data)
        self._advance()

    def eof_received(self) -> bool:
        """The client sends no more; True while it still waits for answers."""
        self._client_ended = True
        if self._reader.in_request and not self._reader.in_head:
            self._reader.refuse(CUT_OFF)
            self._advance()
        return self._asked is not None or bool(self._reader.arrived)

    def pause_writing(self) -> None:
        """The client does not read: nothing is read from it either, so that answers do not pile up."""
        self._paused = True
        self.wait()

    def resume_writing(self) -> None:
        """The client has read."""
        self._paused = False
        if self._ended:
            self.wait()
        self._make_piece()
        self._advance()

    def answer(self, answer: Answered) -> None:
        """Send the answer to the request that was served last, or begin to, and go on to the next one."""
        request, body = self._asked, answer.body
        if self._transport is None or request is None:
            if not isinstance(body, bytes):
                body.close()
            return
        close = self._last or self._no_more or self._clients.draining()
        if isinstance(body, bytes):
            self._asked = None
            self._send(answer, request, close=close)
            self._advance()
        else:
            self._pieces, self._last = body, close
            self._write_answer(answer, request, close=close)
            self._make_piece()

    @property
    def _no_more(self) -> bool:
        """Whether the client sends no more requests."""
        return self._client_ended and not self._reader.arrived

    def _make_piece(self) -> None:
        """Have the next piece of the answer made, unless one is, or the client does not read."""
        if self._pieces is not None and not (self._piece_due or self._paused):
            self._piece_due = True
            self._pieces.next(self._give_piece)

    def _give_piece(self, piece: bytes | None) -> None:
        """Send a piece; None: the answer is complete, or it is broken off, which the client sees."""
        pieces, self._piece_due = self._pieces, False
        assert pieces is not None
        if self._transport is None:
            pieces.close()
        elif piece is not None:
            self._transport.write(chunk(piece))
            self._make_piece()
        elif pieces.broken:
            self.abort()
        else:
            self._transport.write(chunk(b""))
            self._pieces = self._asked = None
            if self._last or self._no_more:
                self._end()
            self._advance()

    def wait(self) -> None:
        """Set the time by which the client must have done what is its turn now."""
        now_s = self._clients.now_s()
        reader = self._reader
        if not reader.in_request:
            self._arrive_by = None
        elif self._arrive_by is None:
            self._arrive_by = now_s + ARRIVAL_S
        if self._paused:
            self._deadline = self._read_by
        elif self._ended:
            self._deadline = now_s + LINGER_S
        elif self._asked is not None:
            self._deadline = math.inf
        elif self._arrive_by is not None:
            self._deadline = self._arrive_by
        else:
            reader.release()
            self._deadline = now_s + self._clients.idle_s

    def check(self, now_s: float) -> None:
        """End the connection if its time is over; a slow request gets 408."""
        if now_s < self._deadline or self._transport is None:
            return
        if self._ended or self._paused:
            if now_s >= self._read_by or not self._transport.get_write_buffer_size():
                self.abort()
        elif self._reader.in_request:
            self._reader.refuse(TOO_SLOW)
            self._advance()
        else:
            self._end()

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def _advance(self) -> None:
        """Serve the requests that wait, one after the other: each answer leads here again."""
        if self._advancing:  # answered at once, by the loop below
            return
        self._advancing = True
        arrived = self._reader.arrived
        while arrived and self._asked is None and not (self._paused or self._ended):
            request, self._last = (first := arrived.popleft()).request, first.last
            if isinstance(request, Refusal):
                self._send(refused(request, first.known), _ANONYMOUS, close=True)
            else:
                self._asked = request
                self._clients.serve(request, self)
        self._advancing = False
        if self._transport is not None and not self._ended:
            self.wait()
            self._read_on(not (self._paused or arrived))

    def _send(self, answer: Answered, request: Environ, *, close: bool) -> None:
        self._write_answer(answer, request, close=close)
        if close:
            self._end()

    def _write_answer(self, answer: Answered, request: Environ, *, close: bool) -> None:
        assert self._transport is not None
        self._read_by = self._clients.now_s() + UNREAD_S
        self._transport.write(as_bytes(answer, request, close=close))

    def _end(self) -> None:
        """Half-close, then close when the client does, or when it takes too long.

        Closing while bytes are on their way makes the kernel reset the connection, and the client loses the answer
        (RFC 9112, section 9.6).
        """
        transport = self._transport
        assert transport is not None
        self._ended = self._reader.ended = True
        self._reader.arrived.clear()
        if self._client_ended or transport.is_closing():
            transport.close()
            return
        transport.write_eof()
        self._read_on(True)
        self.wait()

    def _read_on(self, wanted: bool) -> None:
        transport = self._transport
        assert transport is not None
        if wanted != transport.is_reading() and not transport.is_closing():
            (transport.resume_reading if wanted else transport.pause_reading)()

    def _discard(self, count: int) -> None:
        """Drop what comes after the last request: its sender reads the answer only when it has sent everything."""
        self._lingering_bytes += count
        if self._lingering_bytes > _MOST_LINGERING_BYTES and self._transport is not None:
            # The last answer may still be due: then the rest waits in the kernel until it was sent.
            self.abort() if self._ended else self._transport.pause_reading()

    def _expects(self) -> None:
        """Ask for the body; not while an answer is due, which the client would take this for a part of."""
        if self._transport is not None and self._asked is None:
            self._transport.write(CONTINUE)
