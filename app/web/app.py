"""The Flask application: blueprints, the guard before them, and one shape of error behind them."""

from __future__ import annotations

from itertools import chain

from flask import Flask, Response, request

from app.observe.logs import REQUEST_ID
from app.web.dependencies import Services
from app.web.operations import GUARDS, Operation, access_of
from app.web.request import request_id_of
from app.web.response import JSON, body_of, problem_of
from app.web.routes import (
    audit,
    configuration,
    documentation,
    drift,
    experiment,
    feedback,
    health,
    metrics,
    models,
    predictions,
    reload,
    start,
)

_CONCERNS = (start, predictions, feedback, experiment, audit, drift, health, models, reload, configuration, metrics)
OPERATIONS: tuple[Operation, ...] = (
    *chain.from_iterable(concern.OPERATIONS for concern in _CONCERNS),
    *documentation.OPERATIONS,
)


def create_flask(services: Services) -> Flask:
    """The application; it owns nothing, starts nothing and may be made before a fork."""
    app = Flask("bakeoff", static_folder=None)
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    for concern in _CONCERNS:
        app.register_blueprint(concern.blueprint(services))
    app.register_blueprint(documentation.blueprint(services, OPERATIONS))
    _tell_the_log(app)
    _guard(app, services)
    app.register_error_handler(Exception, _error_response)
    app.after_request(_finish)
    return app


def _tell_the_log(app: Flask) -> None:
    """What is logged in the course of a request carries its id; the thread's next request must not inherit it."""

    @app.before_request
    def enter() -> None:
        REQUEST_ID.set(request_id_of(request.environ))

    @app.teardown_request
    def leave(_error: BaseException | None) -> None:
        REQUEST_ID.set(None)


def _guard(app: Flask, services: Services) -> None:
    access = access_of(OPERATIONS)

    @app.before_request
    def check() -> None:
        """Refuses whoever may not call this; a route that is missing in OPERATIONS is only for administrators."""
        if request.url_rule is not None and request.method != "OPTIONS":
            needed = access.get((request.method, request.url_rule.rule), "administrative")
            GUARDS[needed](services.settings, request.environ)


def _error_response(error: Exception) -> Response:
    problem = problem_of(error, request.environ)
    return Response(
        body_of(problem.detail, request.path), problem.status, headers=list(problem.headers), content_type=JSON
    )


def _finish(response: Response) -> Response:
    """Every answer carries the request's id; nothing here may be cached."""
    headers = response.headers
    headers.setdefault("X-Request-Id", request_id_of(request.environ))
    headers.setdefault("Cache-Control", "no-store")
    if request.method == "OPTIONS" and response.status_code == 200:
        response.status_code = 204
        headers.pop("Content-Type", None)
        headers.pop("Content-Length", None)
    return response
