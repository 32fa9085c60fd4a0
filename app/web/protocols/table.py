"""The protocols, and what follows from the list: routes, operations, and whose shape an error has."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

from flask import Blueprint, Response, request

from app.domain.prediction import OWN_PROTOCOL
from app.web.dependencies import Services
from app.web.operations import Operation, rule_of
from app.web.protocols import kserve_v1, mlflow, ofrep, oip, sagemaker
from app.web.protocols.contract import Protocol
from app.web.request import request_id_of
from app.web.response import Answer, Environ, ErrorBody, Problem, whole

PROTOCOLS: tuple[Protocol, ...] = (
    mlflow.PROTOCOL,
    kserve_v1.PROTOCOL,
    oip.PROTOCOL,
    sagemaker.PROTOCOL,
    ofrep.PROTOCOL,
)
OPERATIONS: tuple[Operation, ...] = tuple(chain.from_iterable(protocol.operations for protocol in PROTOCOLS))


def protocol_of(path: str) -> Protocol | None:
    """The protocol that owns the path; None for this service's own calls."""
    return next((protocol for protocol in PROTOCOLS if protocol.owns_path(path)), None)


def label_of(path: str) -> str | None:
    """The label of the path's protocol among predict requests; None if the protocol does not predict."""
    protocol = protocol_of(path)
    if protocol is None:
        return OWN_PROTOCOL
    return protocol.name if protocol.predicts else None


def refused(problem: Problem, environ: Environ) -> Answer:
    """The whole answer for a problem, in the shape of the protocol that the path belongs to."""
    protocol, request_id = protocol_of(environ.get("PATH_INFO", "")), request_id_of(environ)
    if protocol is None:
        return whole(problem.status, ErrorBody(problem.detail), request_id, problem.headers)
    return protocol.refused(problem, request_id)


def blueprint(services: Services) -> Blueprint:
    """The routes of all protocols."""
    routes = Blueprint("protocols", __name__)
    for operation in OPERATIONS:
        assert operation.fast is not None
        routes.add_url_rule(
            rule_of(operation.path),
            endpoint=f"{operation.method} {operation.path}".replace(".", "_"),
            view_func=_view(services, operation.fast),
            methods=[operation.method.upper()],
        )
    return routes


def _view(services: Services, answering: Callable[..., Answer]) -> Callable[..., Response]:
    def view(**parameters: Any) -> Response:
        status, headers, body = answering(services, request.environ, **parameters)
        return Response(body, status, headers)

    return view
