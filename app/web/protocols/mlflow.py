"""MLflow's scoring server (also what SageMaker asks of a container): `/invocations`, `/ping` and `/version`."""

from __future__ import annotations

import msgspec

from app import __version__
from app.web.dependencies import Services, require_ready
from app.web.operations import Operation
from app.web.protocols.asking import Chosen, answer
from app.web.protocols.contract import Protocol, Refusal
from app.web.protocols.row_bodies import CSV, RowAnswers, read_rows, write_rows
from app.web.request import request_id_of
from app.web.response import JSON, REQUEST_ID, Answer, Environ, Problem
from app.web.routes.predictions import OPTIONS

_TAG = "MLflow"
_CODES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
}


class MlflowError(msgspec.Struct, frozen=True):
    """An error as MLflow says it."""

    error_code: str
    message: str


def refusal(problem: Problem) -> Refusal:
    """The error in MLflow's shape."""
    return Refusal(problem.status, MlflowError(_CODES.get(problem.status, "BAD_REQUEST"), problem.detail.message))


def invocations(services: Services, environ: Environ) -> Answer:
    """The answer to rows."""
    return answer(PROTOCOL, services, environ, Chosen(), read_rows, write_rows)


def ping(services: Services, environ: Environ) -> Answer:
    """A line, if this process should get predictions. Raises `Draining` and `NotReady`."""
    require_ready(services)
    return 200, [("Content-Type", JSON), (REQUEST_ID, request_id_of(environ))], b"\n"


def version(_services: Services, environ: Environ) -> Answer:
    """The version of this service."""
    return 200, [("Content-Type", "text/plain"), (REQUEST_ID, request_id_of(environ))], __version__.encode()


OPERATIONS = (
    Operation(
        method="post",
        path="/invocations",
        tag=_TAG,
        summary="Predict rows, as MLflow's scoring server does",
        description="JSON with one of `dataframe_split`, `dataframe_records`, `instances` and `inputs`, or CSV.",
        access="predict",
        body="RowsRequest",
        text_bodies={CSV: "sepal_length,sepal_width,petal_length,petal_width\n5.1,3.5,1.4,0.2\n"},
        answer=RowAnswers,
        parameters=OPTIONS,
        problems=(400, 404, 413, 415, 503),
        error=MlflowError,
        fast=invocations,
    ),
    Operation(
        method="get",
        path="/ping",
        tag=_TAG,
        summary="Whether this process answers predictions",
        access="open",
        answer=None,
        media_type="",
        problems=(404, 503),
        error=MlflowError,
        fast=ping,
        always=True,
    ),
    Operation(
        method="get",
        path="/version",
        tag=_TAG,
        summary="The version of this service",
        access="open",
        answer=None,
        media_type="text/plain",
        error=MlflowError,
        fast=version,
    ),
)
PROTOCOL = Protocol(name="mlflow", owns=("/invocations", "/ping", "/version"), refusal=refusal, operations=OPERATIONS)
