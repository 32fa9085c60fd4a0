"""Responses: records as JSON, and the only map from errors to statuses, for Flask's routes and the fast lane alike."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
from flask import Response
from werkzeug.exceptions import HTTPException

from app import errors
from app.errors import BakeoffError
from app.web.request import request_id_of

JSON = "application/json"
REQUEST_ID = "X-Request-Id"
# The status as WSGI and HTTP write it: `200 OK`.
STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
Environ = dict[str, Any]
# A generator makes a large body while it is sent; it is closed in any case.
Body = bytes | Generator[bytes]
# Status, headers and body.
Answer = tuple[int, list[tuple[str, str]], Body]
encode = msgspec.json.Encoder().encode


def json_answer(record: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response; NaN and infinity, which JSON cannot express, become null."""
    return Response(encode(record), status, headers=headers, content_type=JSON)


_LOG = logging.getLogger(__name__)

STATUS: dict[type[BakeoffError], int] = {
    errors.InvalidRequest: 400,
    errors.Unauthorised: 401,
    errors.Forbidden: 403,
    errors.UnknownVersion: 404,
    errors.UnknownModel: 404,
    errors.UnknownExperiment: 404,
    errors.UnknownPrediction: 404,
    errors.Draining: 404,
    errors.NotOffered: 404,
    errors.Contradiction: 409,
    errors.RegistryConflict: 409,
    errors.ArtefactRefused: 409,
    errors.TooLarge: 413,
    errors.UnsupportedMedia: 415,
    errors.Misdirected: 421,
    errors.ModelFailed: 503,
    errors.Unavailable: 503,
}
_CODES = {
    400: errors.InvalidRequest.code,
    404: "not_found",
    405: "method_not_allowed",
    413: errors.TooLarge.code,
}
_LONG_TEXT = 200
_INTERNAL = "internal error; the server's log has the details under this response's X-Request-Id"


class ErrorDetail(msgspec.Struct, frozen=True, omit_defaults=True):
    """`code` is stable, `message` is for people; `field` and `index` (a row of a batch) name what is at fault."""

    code: str
    message: str
    field: str | None = None
    index: int | None = None


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every error, except on the paths of `app.web.protocols`."""

    error: ErrorDetail


class Problem(NamedTuple):
    """The response in place of a result."""

    status: int
    detail: ErrorDetail
    headers: tuple[tuple[str, str], ...] = ()


def problem_of(error: Exception, environ: dict[str, Any]) -> Problem:
    """The response for an error; an unexpected one is logged with its traceback, which the client never sees."""
    if isinstance(error, BakeoffError):
        status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)
        if status != 500:
            detail = ErrorDetail(error.code, error.message, error.field, error.index)
            return Problem(status, detail, _headers(error, status))
    elif isinstance(error, HTTPException) and error.code is not None and error.code < 500:
        return _http_problem(error, error.code, environ)
    _LOG.error(
        "request_failed",
        exc_info=error,
        extra={"request_id": request_id_of(environ), "event_fields": {"path": environ.get("PATH_INFO", "")}},
    )
    return Problem(500, ErrorDetail(BakeoffError.code, _INTERNAL))


def body_of(detail: ErrorDetail) -> bytes:
    """The error as JSON, in the shape of this service's own calls."""
    return encode(ErrorBody(detail))


def whole(status: int, record: object, request_id: str, headers: Iterable[tuple[str, str]] = ()) -> Answer:
    """A whole JSON answer, for what is answered without Flask."""
    body = encode(record)
    return (
        status,
        [("Content-Type", JSON), ("Content-Length", str(len(body))), (REQUEST_ID, request_id), *headers],
        body,
    )


def _headers(error: BakeoffError, status: int) -> tuple[tuple[str, str], ...]:
    if status == 503:
        return (("Retry-After", str(getattr(error, "retry_after_s", 1))),)
    if status == 401:
        return (("WWW-Authenticate", "Bearer"),)
    return ()


def _http_problem(error: HTTPException, status: int, environ: dict[str, Any]) -> Problem:
    code = _CODES.get(status) or error.name.lower().replace(" ", "_")
    allow = tuple((name, value) for name, value in error.get_headers() if name == "Allow")
    return Problem(status, ErrorDetail(code, _message(error, status, environ)), allow)


def _message(error: HTTPException, status: int, environ: dict[str, Any]) -> str:
    path = environ.get("PATH_INFO", "").encode("latin-1", "replace").decode("utf-8", "replace")[:_LONG_TEXT]
    if status == 404:
        return f"there is no call {path!r}; GET /openapi.json lists all"
    if status == 405:
        return f"{environ.get('REQUEST_METHOD', '')[:_LONG_TEXT]} is not allowed on {path!r}"
    return error.description or error.name
