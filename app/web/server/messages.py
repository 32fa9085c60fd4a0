"""HTTP/1.1 answers as bytes, also those to bytes that are no request, in the shape of every other error."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from email.utils import formatdate
from functools import lru_cache
from typing import Protocol

import msgspec
from gunicorn import SERVER

from app.errors import InvalidRequest, Overloaded, TooLarge
from app.web.protocols import table
from app.web.response import STATUS_LINES, Answer, Environ, ErrorDetail, Problem

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_WITHOUT_BODY = ("204", "304")


class Pieces(Protocol):
    """A body that is made piece by piece while it is sent."""

    def next(self, give: Callable[[bytes | None], None], /) -> None:
        """Have the next piece given, later: None at the end, or if it could not be made."""

    @property
    def broken(self) -> bool: ...

    def close(self) -> None:
        """No more pieces are wanted. Not while one is being made."""


class Answered(msgspec.Struct, frozen=True, gc=False):
    """An answer: the status with its phrase (`200 OK`), headers and body."""

    status: str
    headers: Sequence[tuple[str, str]]
    body: bytes | Pieces


class Refusal(msgspec.Struct, frozen=True):
    """The answer to what cannot be read as a request; the connection ends with it, because nobody knows where the next
    request would begin."""

    status: int
    code: str
    message: str
    headers: tuple[tuple[str, str], ...] = ()


NO_REQUEST = Refusal(400, InvalidRequest.code, "the bytes are not an HTTP/1.1 request (RFC 9112)")
CUT_OFF = Refusal(400, InvalidRequest.code, "the body ends before its Content-Length or its last chunk")
WRONG_VERSION = Refusal(400, InvalidRequest.code, "this server speaks HTTP/1.1")
WRONG_CODING = Refusal(400, InvalidRequest.code, "the only transfer coding that this server reads is chunked")
TWO_HOSTS = Refusal(400, InvalidRequest.code, "the request has more than one Host header (RFC 9112)")
TOO_SLOW = Refusal(408, "request_timeout", "the request did not arrive in time")
BODY_TOO_LARGE = Refusal(413, TooLarge.code, "the body is larger than this server reads")
LINE_TOO_LONG = Refusal(414, "uri_too_long", "the request's first line is longer than this server reads")
OTHER_EXPECTATION = Refusal(417, "expectation_failed", "the only expectation that this server meets is 100-continue")
HEAD_TOO_LARGE = Refusal(431, "headers_too_large", "the request has more or longer headers than this server reads")
BODIES_TOO_LARGE = Refusal(
    503,
    Overloaded.code,
    "overloaded: the bodies that arrive now are larger together than this service keeps; try again",
    (("Retry-After", "1"),),
)


def refused(refusal: Refusal, known: Environ) -> Answered:
    """The whole answer for a refusal, in the shape of the protocol that the path belongs to, if that is known."""
    problem = Problem(refusal.status, ErrorDetail(refusal.code, refusal.message), refusal.headers)
    return answered(table.refused(problem, known))


def answered(answer: Answer) -> Answered:
    """An answer of the fast lane, with its status's phrase."""
    status, headers, body = answer
    return Answered(STATUS_LINES[status], headers, body if isinstance(body, bytes) else b"".join(body))


def as_bytes(answer: Answered, environ: Environ, *, close: bool) -> bytes:
    """The bytes of a response to the request of `environ`, without pieces, each of which is to be a `chunk`.

    `close` announces that the connection ends with it.
    """
    status, headers, body = answer.status, answer.headers, answer.body
    lines = [
        f"{environ['SERVER_PROTOCOL']} {status}\r\nServer: {SERVER}\r\nDate: {_date(int(time.time()))}\r\n"
        f"Connection: {'close' if close else 'keep-alive'}\r\n"
    ]
    lengthless = True
    without_body = status.startswith(_WITHOUT_BODY)
    for name, value in headers:
        if name.lower() == "content-length":
            lengthless = False
            if without_body:
                continue
        lines.append(f"{name}: {value}\r\n")
    if not isinstance(body, bytes):
        lines.append("Transfer-Encoding: chunked\r\n")
        body = b""
    elif without_body:
        body = b""
    elif lengthless:
        lines.append(f"Content-Length: {len(body)}\r\n")
    lines.append("\r\n")
    head = "".join(lines).encode("latin-1")
    return head if environ["REQUEST_METHOD"] == "HEAD" else head + body


def chunk(piece: bytes) -> bytes:
    """A piece of a body as HTTP/1.1 sends one; an empty piece is the end."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
