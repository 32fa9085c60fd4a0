"""Read a request's body within its limit and decode it, so that whatever was sent ends in an object or a 4xx."""

from __future__ import annotations

from typing import IO, Any

import msgspec

from app.errors import InvalidRequest, MalformedJson, TooLarge

MAX_DISCARDED_BYTES = 128 * 1024 * 1024
_CHUNK = 256 * 1024
_decode = msgspec.json.Decoder().decode


def read_body(environ: dict[str, Any], limit: int) -> bytes:
    """The whole body, of at most `limit` bytes.

    Raises `TooLarge` after reading and dropping the rest (up to 128 MiB): a client that sends its whole body before
    it looks for an answer would otherwise see a broken connection. Raises `InvalidRequest` for a body that ends
    early or is wrongly framed.
    """
    length = environ.get("CONTENT_LENGTH")
    stream = environ["wsgi.input"]
    if length:
        size = _size(length)
        if size <= limit:
            return _exactly(stream, size)
        _discard(stream, size)
    elif environ.get("wsgi.input_terminated"):
        body = _read(stream, limit + 1)
        if len(body) <= limit:
            return body
        _discard(stream, MAX_DISCARDED_BYTES)
    else:
        return b""
    raise TooLarge(f"the body is over the limit of {limit} bytes")


def decoded_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`, whatever its Content-Type said. Raises `MalformedJson` and `InvalidRequest`."""
    try:
        value = _decode(body)
    except RecursionError:
        raise MalformedJson("the JSON is nested too deep") from None
    except UnicodeDecodeError:
        raise MalformedJson("the body is not valid UTF-8") from None
    except ValueError as error:  # msgspec's own errors are among these, and so are those of numbers it leaves to int()
        raise MalformedJson(str(error) if body else "the body is empty: send a JSON object") from None
    if type(value) is not dict:
        raise InvalidRequest("the body must be a JSON object")
    return value


def _size(length: str) -> int:
    if not (length.isascii() and length.isdigit()):
        raise InvalidRequest("Content-Length is not a number of bytes")
    return int(length) if len(length) < 19 else 1 << 62


def _exactly(stream: IO[bytes], size: int) -> bytes:
    body = _read(stream, size)
    if len(body) < size:
        raise InvalidRequest("the body is shorter than its Content-Length")
    return body


def _read(stream: IO[bytes], size: int) -> bytes:
    """Up to `size` bytes; fewer only at the end of the stream."""
    body = _read_some(stream, size)
    if not body or len(body) == size:
        return body
    parts, left = [body], size - len(body)
    while left > 0:  # a server may hand out what it has so far
        more = _read_some(stream, left)
        if not more:
            break
        parts.append(more)
        left -= len(more)
    return b"".join(parts)


def _read_some(stream: IO[bytes], size: int) -> bytes:
    try:
        return stream.read(size)
    except Exception as error:  # each server has its own errors for chunks that are wrongly framed
        raise InvalidRequest("the body could not be read to its end") from error


def _discard(stream: IO[bytes], size: int) -> None:
    left = min(size, MAX_DISCARDED_BYTES)
    while left > 0:
        dropped = len(_read_some(stream, min(_CHUNK, left)))
        if not dropped:
            return
        left -= dropped
