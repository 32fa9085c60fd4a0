"""The Flask application: the blueprints of all concerns, the token check before them and one error shape behind them.

One more concern is a module in `routes` and its name in `_CONCERNS`, one more protocol a module in `protocols` and its
line in `table.py`: routes, access, the fast lane, the OpenAPI document and the tests read its `OPERATIONS`.
"""

from __future__ import annotations

from functools import partial
from itertools import chain

from flask import Flask, Response, request
from werkzeug.routing import BaseConverter

from app.observe.logs import REQUEST_ID
from app.web.dependencies import Services
from app.web.front import FastLane
from app.web.operations import GUARDS, Operation, by_rule, require_offered
from app.web.protocols import table as protocols
from app.web.request import request_id_of
from app.web.response import problem_of
from app.web.routes import (
    breakdown,
    configuration,
    disagreements,
    documentation,
    drift,
    experiment,
    exposures,
    feedback,
    models,
    predictions,
    status,
)

_CONCERNS = (
    *(status, predictions, exposures, feedback),
    *(experiment, breakdown, disagreements, drift, models, configuration),
)
OPERATIONS: tuple[Operation, ...] = (
    *chain.from_iterable(concern.OPERATIONS for concern in _CONCERNS),
    *protocols.OPERATIONS,
    *documentation.OPERATIONS,
)
# The start of the paths that are answered under overload too; see `Operation.always`.
ALWAYS_ANSWERED = tuple(operation.path for operation in OPERATIONS if operation.always)


class _Name(BaseConverter):
    """A name in a path: one segment, up to a colon."""

    regex = "[^/:]+"


def create_flask(services: Services) -> Flask:
    """The application; it owns nothing, starts nothing and may be made before a fork."""
    app = Flask("bakeoff", static_folder=None)
    app.url_map.converters["name"] = _Name
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    for concern in _CONCERNS:
        app.register_blueprint(concern.blueprint(services))
    app.register_blueprint(protocols.blueprint(services))
    app.register_blueprint(documentation.blueprint(services, OPERATIONS))
    _set_request_id(app)
    _guard(app, services)
    app.register_error_handler(Exception, _error_response)
    app.after_request(_finish)
    return app


def fast_lane(services: Services) -> FastLane:
    """The POST calls that are answered without Flask, by path."""
    return FastLane(
        {
            operation.path: partial(operation.fast, services)
            for operation in OPERATIONS
            if operation.fast is not None
            and operation.predicts
            and (operation.method, operation.access) == ("post", "predict")
        }
    )


def _set_request_id(app: Flask) -> None:
    """Let everything that is logged during a request carry its id."""

    @app.before_request
    def enter() -> None:
        REQUEST_ID.set(request_id_of(request.environ))

    @app.teardown_request
    def leave(_error: BaseException | None) -> None:
        # The thread serves another request next, and a log line between the two must not carry this id.
        REQUEST_ID.set(None)


def _guard(app: Flask, services: Services) -> None:
    operations = by_rule(OPERATIONS)

    @app.before_request
    def check() -> None:
        """Refuses a caller on the wrong listener or without the right token."""
        if request.url_rule is not None and request.method != "OPTIONS":
            operation = operations.get((request.method, request.url_rule.rule))
            if operation is not None:
                require_offered(operation, services.settings, request.environ)
            # A route that somebody forgot to list must not be open: it is for administrators only.
            needed = operation.access if operation is not None else "administrative"
            guard = partial(GUARDS[needed], services.settings, request.environ)
            services.wrong_tokens.check(guard, request.environ)


def _error_response(error: Exception) -> Response:
    status, headers, body = protocols.refused(problem_of(error, request.environ), request.environ)
    return Response(body, status, headers)


def _finish(response: Response) -> Response:
    """Give every response the request's id, and forbid caching: all of them are about this moment."""
    headers = response.headers
    headers.setdefault("X-Request-Id", request_id_of(request.environ))
    headers.setdefault("Cache-Control", "no-store")
    if request.method == "OPTIONS" and response.status_code == 200:
        response.status_code = 204
        headers.pop("Content-Type", None)
        headers.pop("Content-Length", None)
    return response
