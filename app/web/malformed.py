"""What is answered to bytes that the server could not read as a request: they never reach the application."""

from __future__ import annotations

from gunicorn.http.errors import (
    ExpectationFailed,
    InvalidHTTPVersion,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)

from app.errors import InvalidRequest
from app.web.errors import ErrorDetail, body_of
from app.web.json_answers import JSON
from app.web.plain_http import as_bytes
from app.web.request_ids import request_id_of

_PROBLEMS: tuple[tuple[type[ParseException], int, str, str], ...] = (
    (LimitRequestLine, 414, "uri_too_long", "the request's first line is longer than this server reads"),
    (LimitRequestHeaders, 431, "headers_too_large", "the request has more or longer headers than this server reads"),
    (ExpectationFailed, 417, "expectation_failed", "the only expectation that this server meets is 100-continue"),
    (InvalidHTTPVersion, 400, InvalidRequest.code, "this server speaks HTTP/1.1"),
    (UnsupportedTransferCoding, 400, InvalidRequest.code, "the only transfer coding that this server reads is chunked"),
)
_OTHERWISE = (400, InvalidRequest.code, "that is not an HTTP request as RFC 9112 has it")


def answer_to(error: ParseException) -> bytes:
    """The whole answer; the connection ends with it, since nobody knows where the next request would begin."""
    found = next((problem[1:] for problem in _PROBLEMS if isinstance(error, problem[0])), _OTHERWISE)
    status, code, message = found
    body = body_of(ErrorDetail(code, message), "")
    headers = (("Content-Type", JSON), ("Content-Length", str(len(body))), ("X-Request-Id", request_id_of({})))
    return as_bytes((status, headers, body), close=True)
