"""Reads a request: its id, its query, and its body, which is either decoded or answered with a 4xx."""

from __future__ import annotations

import io
import json
import re
import time
import zlib
from random import getrandbits
from typing import IO, Any, TypeVar

import msgspec
from werkzeug.datastructures import MultiDict

from app.errors import InvalidRequest, MalformedJson, TooLarge, UnsupportedMedia
from app.services.pages import require_number

_KEY = "HTTP_X_REQUEST_ID"
_LONGEST = 128
# A string that does not end is one, too: to look for its end from each of its quotes would take time without bound.
_STRING_OR_NAN = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|NaN', re.DOTALL)
_AT_BYTE = re.compile(r"byte (\d+)")
_HALF_PAIR = re.compile(rb'(\\u[dD][89abAB][0-9a-fA-F]{2})"')


def request_id_of(environ: dict[str, Any]) -> str:
    """The request's id: the caller's `X-Request-Id` if it is at most 128 printable ASCII characters, or a new one.

    A new id is stored in `environ`, so that later calls return the same one.
    """
    given = environ.get(_KEY)
    if given and len(given) <= _LONGEST and given.isascii() and given.isprintable():
        return str(given)
    # os.urandom costs six times as much, and these ids protect nothing. `random` is seeded anew after a fork.
    # The time goes first: the log's index of these ids then grows at its end.
    new = environ[_KEY] = f"{time.time_ns() // 1000:014x}{getrandbits(72):018x}"
    return new


_MOST_DIGITS = 19


def one_text(query: MultiDict[str, str], name: str) -> str | None:
    """The value of a query parameter, None without it. Raises `InvalidRequest` if it is given more than once."""
    # Of two values, neither is surely the one that was meant.
    values = query.getlist(name)
    if len(values) > 1:
        raise InvalidRequest(f"{name} is given {len(values)} times: give it once", field=name)
    return values[0] if values else None


def whole_number(query: MultiDict[str, str], name: str, default: int, most: int) -> int:
    """The query parameter as a whole number from 1 to `most`. Raises `InvalidRequest` that names it."""
    text = one_text(query, name)
    if text is None:
        return default
    # Python refuses to convert thousands of digits, and none of them would be in the range; 0 is never in it.
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else 0
    require_number(name, number, most)
    return number


_LONG_TEXT = 60
MAX_DISCARDED_BYTES = 128 * 1024 * 1024
_CHUNK = 256 * 1024
_decode = msgspec.json.Decoder().decode


# zlib's numbers for the two formats (RFC 1952, RFC 1950).
_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


def read_body(environ: dict[str, Any], limit: int) -> bytes:
    """The whole body, decoded by its `Content-Encoding`; at most `limit` bytes, before and after.

    Raises `TooLarge`, `UnsupportedMedia` for an encoding that is not known, and `InvalidRequest` for a body that ends
    early, is wrongly framed or is not so encoded.
    """
    raw = _read_raw(environ, limit)
    environ["wsgi.input"] = io.BytesIO()  # a large body is to live no longer than its reader needs it
    encoding = environ.get("HTTP_CONTENT_ENCODING")
    return raw if encoding is None else _decompressed(raw, encoding.strip().lower(), limit)


def _decompressed(raw: bytes, encoding: str, limit: int) -> bytes:
    """The bytes behind the encoding: a few bytes can stand for gigabytes, so no more than `limit` are made."""
    if encoding in ("", "identity"):
        return raw
    bits = _WINDOW_BITS.get(encoding)
    if bits is None:
        raise UnsupportedMedia(f"Content-Encoding {encoding[:_LONG_TEXT]!r} is not known: send gzip, deflate or none")
    unpack = zlib.decompressobj(bits)
    try:
        body = unpack.decompress(raw, limit + 1)
    except zlib.error as error:
        raise InvalidRequest(f"the body is not {encoding}: {error}") from None
    if len(body) > limit:
        raise TooLarge(f"the decoded body is over the limit of {limit} bytes")
    if not unpack.eof or unpack.unused_data:
        raise InvalidRequest(
            f"the body is not whole: {encoding} {'ends early' if not unpack.eof else 'has more behind'}"
        )
    return body


def _read_raw(environ: dict[str, Any], limit: int) -> bytes:
    length = environ.get("CONTENT_LENGTH")
    stream = environ["wsgi.input"]
    if length:
        size = _size(length)
        if size <= limit:
            return _exactly(stream, size)
        # Read and drop the rest: a client that sends its whole body first would see a broken connection, not the 413.
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
    """The JSON object in `body`. Raises `MalformedJson` and `InvalidRequest`."""
    return object_of(decoded(body))


def object_of(value: Any) -> dict[str, Any]:
    """The value, if it is a JSON object. Raises `InvalidRequest`."""
    if type(value) is not dict:
        raise InvalidRequest("the body must be a JSON object")
    return value


def decoded(body: bytes) -> Any:
    """The JSON value in `body`, whatever its Content-Type. Raises `MalformedJson`."""
    try:
        return _decode(body)
    except RecursionError:
        raise MalformedJson("the JSON is nested too deeply") from None
    except UnicodeDecodeError:
        raise MalformedJson("the body is not valid UTF-8") from None
    except ValueError as error:  # msgspec's own errors, and those of int(), to which it leaves long numbers
        raise MalformedJson(_what_is_wrong(body, error)) from None


def nulls_for_nan(body: bytes) -> bytes:
    """The JSON with null for each NaN, as Python's json module writes a missing number; other text is as it was."""
    return (
        _STRING_OR_NAN.sub(lambda found: b"null" if found[0] == b"NaN" else found[0], body) if b"NaN" in body else body
    )


def decoded_with_nan(body: bytes) -> Any:
    """The JSON, in which NaN is null: the official clients of some protocols write it. Raises `MalformedJson`."""
    try:
        return decoded(body)
    except MalformedJson:
        if (with_nulls := nulls_for_nan(body)) == body:
            raise
        return decoded(with_nulls)


def _what_is_wrong(body: bytes, error: ValueError) -> str:
    if not body:
        return "the body is empty: send a JSON object"
    place = _AT_BYTE.search(str(error))
    if place is not None and body.startswith(b"NaN", int(place[1])):
        return f"NaN is not JSON (byte {place[1]}): send null for a missing value"
    # The decoder takes the quote behind half a pair for the pair's other half, and then runs out of text.
    half = _HALF_PAIR.search(body)
    if half is not None and "truncated" in str(error):
        return f"half of a surrogate pair is no character: {half[1].decode()} (byte {half.start()})"
    return str(error)


def _size(length: str) -> int:
    if not (length.isascii() and length.isdigit()):
        raise InvalidRequest("Content-Length is not a number of bytes")
    return int(length) if len(length) < 19 else 1 << 62  # above every limit; int() refuses thousands of digits


def _exactly(stream: IO[bytes], size: int) -> bytes:
    body = _read(stream, size)
    if len(body) < size:
        raise InvalidRequest("the body is shorter than its Content-Length")
    return body


def _read(stream: IO[bytes], size: int) -> bytes:
    """The next `size` bytes; fewer only at the end of the stream."""
    body = _read_some(stream, size)
    if not body or len(body) == size:
        return body
    parts, left = [body], size - len(body)
    while left > 0:  # a server may return less than it was asked for (PEP 3333 leaves that open)
        more = _read_some(stream, left)
        if not more:
            break
        parts.append(more)
        left -= len(more)
    return b"".join(parts)


def _read_some(stream: IO[bytes], size: int) -> bytes:
    try:
        return stream.read(size)
    except Exception as error:  # each server has errors of its own for malformed chunks
        raise InvalidRequest("the body could not be read to its end") from error


def _discard(stream: IO[bytes], size: int) -> None:
    left = min(size, MAX_DISCARDED_BYTES)
    while left > 0:
        dropped = len(_read_some(stream, min(_CHUNK, left)))
        if not dropped:
            return
        left -= dropped


_Record = TypeVar("_Record", bound=msgspec.Struct)
_PLACE = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_NAMED = re.compile(r"(?:unknown|required) field `(?P<name>[^`]*)`")


def body_as(kind: type[_Record], environ: dict[str, Any], limit: int) -> _Record:
    """The request's body as a record; its type is the check and the schema in the OpenAPI document.

    Raises `MalformedJson`, `InvalidRequest` (`field` is the key at fault) and `TooLarge`.
    """
    body = read_body(environ, limit)
    values = decoded_object(body)
    json.loads(body, object_pairs_hook=_each_once)  # where a key comes twice, a decoder keeps the last
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), kind) from None


def _each_once(pairs: list[tuple[str, Any]]) -> None:
    """Raise `InvalidRequest` for a key that comes twice: neither value is surely the one that was meant."""
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise InvalidRequest(f"{name[:60]!r} is given twice: give it once", field=name[:60])
        seen.add(name)


def _invalid(text: str, kind: type[msgspec.Struct]) -> InvalidRequest:
    # msgspec gives the field only within its message's text.
    named, place = _NAMED.search(text), _PLACE.search(text)
    if named:
        field, known = named["name"][:_LONG_TEXT], ", ".join(kind.__struct_fields__)
        what = "is missing" if "required" in text else f"is not a field of this call; the fields are {known}"
        return InvalidRequest(f"{field!r} {what}", field=field)
    field = re.split(r"[.\[]", place["path"])[0] if place else ""
    problem = _PLACE.sub("", text).replace("`", "")
    problem = problem[:1].lower() + problem[1:]
    return InvalidRequest(f"{field}: {problem}" if field else problem, field=field or None)
