"""POST /predict and /predict/batch from a WSGI environment to bytes, without Flask: its dispatch costs more than both.

Every microsecond of `answer_predict` is paid by each request: nothing is built here that could be built before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from app.errors import TooLarge
from app.services.predict import Request, Served
from app.web.answers import answer_to_batch, answer_to_one
from app.web.auth import require_reader
from app.web.bodies import decoded_object, read_body
from app.web.errors import body_of, problem_of
from app.web.json_answers import JSON, encode
from app.web.prediction_bodies import batch_rows, single_row
from app.web.request_ids import request_id_of
from app.web.services import Services

_LOG = logging.getLogger(__name__)
_CONTENT_TYPE = ("Content-Type", JSON)

Environ = dict[str, Any]
Answer = tuple[int, list[tuple[str, str]], bytes]


def answer_predict(services: Services, environ: Environ) -> Answer:
    """Status, headers and body for one row. Never raises."""
    return _answer(services, environ, _one)


def answer_predict_batch(services: Services, environ: Environ) -> Answer:
    """Status, headers and body for many rows; one bad row refuses all. Never raises."""
    return _answer(services, environ, _many)


def _answer(services: Services, environ: Environ, ask: Callable[[Services, Environ, str], tuple[str, bytes]]) -> Answer:
    request_id = request_id_of(environ)
    try:
        version, body = ask(services, environ, request_id)
    except Exception as error:  # noqa: BLE001 - the server must go on; problem_of logs what nobody foresaw
        return _refusal(services, environ, error, request_id)
    headers = [
        _CONTENT_TYPE,
        ("Content-Length", str(len(body))),
        ("X-Request-Id", request_id),
        ("X-Model-Version", version),
    ]
    return 200, headers, body


def _one(services: Services, environ: Environ, request_id: str) -> tuple[str, bytes]:
    body = _checked_body(services, environ)
    forced = environ.get("HTTP_X_MODEL_VERSION")
    predictor = services.predictor
    serving = predictor.serving()
    parser = serving.parser(forced)
    features, user_id = single_row(body, parser.names, environ)
    row = parser.row(features)
    served = predictor.predict(Request(row, request_id, forced, user_id, _synthetic(environ), serving))
    return served.version.name, encode(answer_to_one(served))


def _many(services: Services, environ: Environ, request_id: str) -> tuple[str, bytes]:
    body = _checked_body(services, environ)
    forced = environ.get("HTTP_X_MODEL_VERSION")
    serving = services.predictor.serving()
    parser = serving.parser(forced)
    rows, user_id = batch_rows(body, environ)
    limit = services.settings.max_batch_rows
    if len(rows) > limit:
        raise TooLarge(f"the batch has {len(rows)} rows; the limit is {limit}", field="instances")
    request = Request(parser.rows(rows), request_id, forced, user_id, _synthetic(environ), serving)
    served: Served = services.predictor.predict(request)
    return served.version.name, encode(answer_to_batch(served))


def _checked_body(services: Services, environ: Environ) -> dict[str, Any]:
    settings = services.settings
    raw = read_body(environ, settings.max_body_bytes)  # first, so that a refused client can still read why
    if settings.api_token is not None:
        require_reader(settings, environ)
    return decoded_object(raw)


def _synthetic(environ: Environ) -> bool:
    return environ.get("HTTP_X_TRAFFIC_KIND") == "synthetic"


def _refusal(services: Services, environ: Environ, error: Exception, request_id: str) -> Answer:
    problem = problem_of(error, environ)
    services.metrics.refused(problem.detail.code)
    _LOG.debug("request_refused", extra={"request_id": request_id, "event_fields": {"code": problem.detail.code}})
    body = body_of(problem.detail, environ.get("PATH_INFO", ""))
    headers = [
        _CONTENT_TYPE,
        ("Content-Length", str(len(body))),
        ("X-Request-Id", request_id),
        *problem.headers,
    ]
    return problem.status, headers, body
