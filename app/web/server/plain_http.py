"""HTTP/1.1 as bytes: requests simple enough to be told from their bytes alone, and whole answers.

For what is answered where no thread can be spared to read a request, and for what is no request at all.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus

import msgspec

Answer = tuple[int, Sequence[tuple[str, str]], bytes]

_LINE = re.compile(rb"(GET|POST|PUT|PATCH|DELETE) (/[^\s%?#]*)(?:\?[^\s#]*)? HTTP/1\.1", re.ASCII)
# A name is a token, and a value has no control characters (RFC 9110, section 5).
_FIELD = re.compile(rb"([A-Za-z0-9!#$%&'*+.^_`|~-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_LENGTH = re.compile(rb"\d{1,9}")
# Where one of these is said, more than the bytes decide what follows.
_NOT_SIMPLE = frozenset((b"transfer-encoding", b"expect", b"upgrade", b"trailer", b"te", b"http2-settings"))
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


class SimpleRequest(msgspec.Struct, frozen=True):
    """A request that is there whole: its method, its path without a query, the `X-Request-Id` it came with, and whether
    its connection is to `close` after the answer."""

    method: str
    path: str
    request_id: str | None = None
    close: bool = False


class WholeAnswer(msgspec.Struct, frozen=True):
    """All bytes of an answer, and whether the connection ends with it."""

    data: bytes
    close: bool


def simple_request(data: bytes) -> SimpleRequest | None:
    """The one request that `data` is, from the first byte to the last; None for anything else.

    Strict, since the connection goes on after it: what another reader could take for more or less than one request is
    not simple. Nor is what has an escaped path, or a body that is still on its way.
    """
    head, end, body = data.partition(b"\r\n\r\n")
    first, *fields = head.split(b"\r\n")
    line = _LINE.fullmatch(first)
    if not end or line is None:
        return None
    length, request_id, close, seen = 0, None, False, set()
    for field in fields:
        match = _FIELD.fullmatch(field)
        name = match[1].lower() if match else b""
        if match is None or name in seen or name in _NOT_SIMPLE:
            return None
        seen.add(name)
        value = match[2].rstrip(b" \t")
        if name == b"content-length":
            if not _LENGTH.fullmatch(value):
                return None
            length = int(value)
        elif name == b"connection":
            close = value.lower() == b"close"
            if not close and value.lower() != b"keep-alive":
                return None
        elif name == b"x-request-id":
            request_id = value.decode("latin-1")
    if len(body) != length or b"host" not in seen:
        return None
    return SimpleRequest(line[1].decode(), line[2].decode("latin-1"), request_id, close)


def as_bytes(answer: Answer, *, close: bool) -> bytes:
    """All of an answer; `close` tells the client that the connection ends with it."""
    status, headers, body = answer
    lines = [
        _STATUS_LINES[status],
        f"Date: {formatdate(time.time(), usegmt=True)}\r\n",
        f"Connection: {'close' if close else 'keep-alive'}\r\n",
        *(f"{name}: {value}\r\n" for name, value in headers),
        "\r\n",
    ]
    return "".join(lines).encode("latin-1") + body
