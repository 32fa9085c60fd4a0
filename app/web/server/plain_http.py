"""HTTP/1.1 as bytes: recognises requests that are complete and simple, and renders whole responses.

For responses without a thread (load shedding) and to bytes that are no request at all.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from http import HTTPStatus

import msgspec

Answer = tuple[int, Sequence[tuple[str, str]], bytes]

_LINE = re.compile(rb"(GET|POST|PUT|PATCH|DELETE) (/[^\s%?#]*)(?:\?[^\s#]*)? HTTP/1\.1", re.ASCII)
# A name is a token, and a value has no control characters (RFC 9110, section 5).
_FIELD = re.compile(rb"([A-Za-z0-9!#$%&'*+.^_`|~-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_LENGTH = re.compile(rb"\d{1,9}")
# With one of these headers, more than the bytes up to here decides what follows on the connection.
_NOT_SIMPLE = frozenset((b"transfer-encoding", b"expect", b"upgrade", b"trailer", b"te", b"http2-settings"))
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


class SimpleRequest(msgspec.Struct, frozen=True):
    """A complete request: its method, its path without the query, its `X-Request-Id` if it has one, and whether the
    client wants its connection to `close` after the response."""

    method: str
    path: str
    request_id: str | None = None
    close: bool = False


class WholeAnswer(msgspec.Struct, frozen=True):
    """All bytes of a response, and whether the connection is closed after it."""

    data: bytes
    close: bool


def simple_request(data: bytes) -> SimpleRequest | None:
    """The one request that `data` is, from its first byte to its last; None for anything else.

    Strict, because the connection stays open afterwards: bytes that another parser could read as more or less than one
    request would shift every request behind them (request smuggling). An escaped path, or a body that has not arrived
    completely, is not simple either.
    """
    head, end, body = data.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    line = _LINE.fullmatch(first)
    fields = _fields(lines)
    if not end or line is None or fields is None or b"host" not in fields:
        return None
    length = fields.get(b"content-length", b"0")
    connection = fields.get(b"connection", b"keep-alive").lower()
    if not _LENGTH.fullmatch(length) or int(length) != len(body) or connection not in (b"close", b"keep-alive"):
        return None
    request_id = fields.get(b"x-request-id")
    return SimpleRequest(
        line[1].decode(),
        line[2].decode("latin-1"),
        None if request_id is None else request_id.decode("latin-1"),
        connection == b"close",
    )


def _fields(lines: Sequence[bytes]) -> Mapping[bytes, bytes] | None:
    """The header fields by lower-case name; None if one is malformed, repeated, or makes the request not simple."""
    fields: dict[bytes, bytes] = {}
    for line in lines:
        match = _FIELD.fullmatch(line)
        name = match[1].lower() if match else b""
        if match is None or name in fields or name in _NOT_SIMPLE:
            return None
        fields[name] = match[2].rstrip(b" \t")
    return fields


def as_bytes(answer: Answer, *, close: bool) -> bytes:
    """The bytes of a whole response; `close` announces that the connection is closed after it."""
    status, headers, body = answer
    lines = [
        _STATUS_LINES[status],
        f"Date: {formatdate(time.time(), usegmt=True)}\r\n",
        f"Connection: {'close' if close else 'keep-alive'}\r\n",
        *(f"{name}: {value}\r\n" for name, value in headers),
        "\r\n",
    ]
    return "".join(lines).encode("latin-1") + body
