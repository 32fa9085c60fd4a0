"""Bytes to requests: an HTTP/1.1 parser (httptools, which wraps llhttp) with limits, and requests as WSGI has them."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable
from urllib.parse import unquote_to_bytes, urlsplit

import httptools
import msgspec

from app.web.request import MAX_DISCARDED_BYTES
from app.web.response import Environ
from app.web.server.messages import (
    BODIES_TOO_LARGE,
    BODY_TOO_LARGE,
    HEAD_TOO_LARGE,
    LINE_TOO_LONG,
    NO_REQUEST,
    OTHER_EXPECTATION,
    TWO_HOSTS,
    WRONG_CODING,
    WRONG_VERSION,
    Refusal,
)

_MOST_LINE_BYTES = 8190
_MOST_FIELDS = 100
_MOST_FIELD_BYTES = 8190
# A header is given to us as a whole only, so a head that never ends is stopped by its size.
_MOST_HEAD_BYTES = 64 * 1024
# The bodies of all connections that are kept at a time, in units of the largest body.
_MOST_BODIES = 16
_KNOWN_NAMES = 1024


class Bodies:
    """The memory that the bodies of all connections may take together, of which each has at most `most_bytes`."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._held_bytes = 0

    def hold(self, count: int) -> bool:
        """Count so many bytes more, or fewer; whether they are few enough."""
        self._held_bytes += count
        return self._held_bytes <= _MOST_BODIES * self.most_bytes


class Arrived(msgspec.Struct, frozen=True, gc=False):
    """A whole request, or the refusal of what is none; after the `last` one, nothing more is read.

    `known` is what had arrived of a request that is refused: its path says in whose shape errors are.
    """

    request: Environ | Refusal
    last: bool
    known: Environ = {}


class RequestReader:
    """Reads one connection's bytes. `expects` is called for a client that waits to be asked for its body.

    `arrived` has what has arrived as a whole and was not taken yet, in its order. `on_…` are the parser's callbacks.
    """

    def __init__(self, environ: Environ, bodies: Bodies, expects: Callable[[], None]) -> None:
        self._environ = environ
        self._bodies = bodies
        self._expects = expects
        self._parser = httptools.HttpRequestParser(self)
        self._head_bytes = self._fields = self._body_bytes = self._held_bytes = 0
        self._request = environ
        self._url = b""
        self._body: list[bytes] = []
        self._refusal: Refusal | None = None
        self.in_head = False
        self.in_request = False
        self.ended = False
        self.arrived: deque[Arrived] = deque()

    def feed(self, data: bytes) -> None:
        """Read `data`; nothing is read after a request that is the connection's last, or after a refusal."""
        if self.ended:
            return
        was_in_head = self.in_head
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # the request goes on as HTTP/1.1, as its connection's last: `on_message_complete` has seen to it
        except httptools.HttpParserError:
            if not self.ended:
                self.refuse(self._refusal or NO_REQUEST)
        else:
            if self.in_head and was_in_head:
                self._head_bytes += len(data)
                if self._head_bytes > _MOST_HEAD_BYTES:
                    self.refuse(HEAD_TOO_LARGE)

    def refuse(self, refusal: Refusal) -> None:
        """End the reading with an error, which comes after the requests before it."""
        known = self._request if self.in_request else {}
        if self.in_head and self._fields and self._url.startswith(b"/"):
            _set_target(known, self._url)
        self.ended = True
        self.in_head = self.in_request = False
        self._body = []
        self.arrived.append(Arrived(refusal, True, known))

    def release(self) -> None:
        """The bodies so far are no longer needed."""
        self._bodies.hold(-self._held_bytes)
        self._held_bytes = 0

    def close(self) -> None:
        """Read no more, and let go of the parser, which refers to this object."""
        self.ended = True
        self.arrived.clear()
        self._body = []
        self.release()
        del self._parser

    def on_message_begin(self) -> None:
        """A request begins."""
        self._request = self._environ.copy()
        self.in_head = self.in_request = True
        self._head_bytes = self._fields = self._body_bytes = 0
        self._url = b""
        self._body = []

    def on_url(self, url: bytes) -> None:
        """A part of the request's target."""
        self._url += url
        if len(self._url) > _MOST_LINE_BYTES:
            self._fail(LINE_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, as WSGI names it; of names with an underscore, which could pass for others, nothing is kept."""
        if not self.in_head:
            return  # a trailer, which no call of this service reads
        self._fields += 1
        if self._fields > _MOST_FIELDS or len(name) + len(value) > _MOST_FIELD_BYTES:
            self._fail(HEAD_TOO_LARGE)
        key = _KEYS.get(name) or _key_of(name)
        if not key:
            return
        text = value.decode("latin-1").strip(" \t")
        request = self._request
        if key in request and key.startswith("HTTP_"):
            text = f"{request[key]},{text}"
        request[key] = text

    def on_headers_complete(self) -> None:
        """The head has arrived."""
        self.in_head = False
        parser, request = self._parser, self._request
        version = parser.get_http_version()
        if version not in ("1.1", "1.0"):
            self._fail(WRONG_VERSION)
        request["SERVER_PROTOCOL"] = "HTTP/" + version
        request["REQUEST_METHOD"] = parser.get_method().decode("latin-1")
        _set_target(request, self._url)
        if "," in request.get("HTTP_HOST", ""):
            self._fail(TWO_HOSTS)
        # Also with HTTP/1.0, which has no codings: a proxy before us may have read such a body differently.
        if "HTTP_TRANSFER_ENCODING" in request and (
            version != "1.1" or request["HTTP_TRANSFER_ENCODING"].lower() != "chunked"
        ):
            self._fail(WRONG_CODING)
        if "HTTP_EXPECT" in request:
            self._meet(request["HTTP_EXPECT"], version)

    def on_body(self, data: bytes) -> None:
        """A part of the body; of one that is too large, one byte more than the limit is kept, which shows that."""
        most = self._bodies.most_bytes
        if self._body_bytes <= most:
            kept = data[: most + 1 - self._body_bytes]
            self._body.append(kept)
            self._held_bytes += len(kept)
            if not self._bodies.hold(len(kept)):
                self._fail(BODIES_TOO_LARGE)
        self._body_bytes += len(data)
        if self._body_bytes > most + MAX_DISCARDED_BYTES:
            self._fail(BODY_TOO_LARGE)

    def on_message_complete(self) -> None:
        """The request has arrived as a whole."""
        parser, request = self._parser, self._request
        request["wsgi.input"] = io.BytesIO(b"".join(self._body))
        self._body = []
        self.in_request = False
        self.ended = not parser.should_keep_alive() or parser.should_upgrade()
        self.arrived.append(Arrived(request, self.ended))

    def _fail(self, refusal: Refusal) -> None:
        """Stop the parser, from one of its callbacks."""
        self._refusal = refusal
        raise ValueError(refusal.code)

    def _meet(self, expectation: str, version: str) -> None:
        if expectation.lower() != "100-continue":
            self._fail(OTHER_EXPECTATION)
        if version == "1.1" and not self.arrived:
            self._expects()


def _set_target(request: Environ, url: bytes) -> None:
    """The target as WSGI has it; nearly all are a path with or without a query."""
    text = url.decode("latin-1")
    request["RAW_URI"] = text
    if url[:1] != b"/":
        split = urlsplit(text)
        text = split.path + (f"?{split.query}" if split.query else "")
    path, _, query = text.partition("#")[0].partition("?")
    request["PATH_INFO"] = unquote_to_bytes(path.encode("latin-1")).decode("latin-1") if "%" in path else path
    request["QUERY_STRING"] = query


_KEYS: dict[bytes, str] = {}


def _key_of(name: bytes) -> str:
    """The header's key in a WSGI environment, empty for one that is not kept; the first ones seen are remembered."""
    if b"_" in name:
        return ""
    upper = name.decode("latin-1").upper().replace("-", "_")
    key = upper if upper in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{upper}"
    if len(_KEYS) < _KNOWN_NAMES:
        _KEYS[name] = key
    return key
