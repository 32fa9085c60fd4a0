"""KServe's first protocol, which TensorFlow Serving and Vertex AI share: `/v1/models`, `/v1/models/{model}:predict`."""

from __future__ import annotations

import msgspec

from app.domain.contract import VERSION_NAME
from app.web.dependencies import Services, require_ready
from app.web.operations import Operation, Parameter
from app.web.protocols.asking import MODEL, Chosen, answer, model_name, require_model
from app.web.protocols.contract import Protocol, Refusal
from app.web.protocols.row_bodies import RowAnswers, read_json, write_rows
from app.web.request import request_id_of
from app.web.response import Answer, Environ, Problem, whole
from app.web.routes.predictions import OPTIONS

_TAG = "KServe v1 and TensorFlow Serving"
VERSION = Parameter(
    "version", "path", "The version to force.", {"type": "string", "pattern": f"^{VERSION_NAME.pattern}$"}, "v1"
)
_LABEL = Parameter("label", "path", "An alias of the version to force.", example="champion")


class V1Error(msgspec.Struct, frozen=True):
    """An error as KServe says it."""

    error: str


class V1Models(msgspec.Struct, frozen=True):
    """The names of the served models: one, with all its versions."""

    models: list[str]


class V1Model(msgspec.Struct, frozen=True):
    """A served model."""

    name: str
    ready: bool


def refusal(problem: Problem) -> Refusal:
    """The error in KServe's shape."""
    return Refusal(problem.status, V1Error(problem.detail.message))


def models(services: Services, environ: Environ) -> Answer:
    """The served models; none while no version is loaded."""
    state = services.live.state
    names = [model_name(services, state)] if state.loaded_models.versions else []
    return whole(200, V1Models(names), request_id_of(environ))


def model(services: Services, environ: Environ, model: str) -> Answer:
    """One model, if it can answer. Raises `UnknownModel`, `Draining` and `NotReady`."""
    require_model(services, services.live.state, model)
    require_ready(services)
    return whole(200, V1Model(model, ready=True), request_id_of(environ))


def predict(services: Services, environ: Environ, **path: str) -> Answer:
    """The answer to rows; a version or a label in the path forces a version."""
    chosen = Chosen(model=path["model"], version=path.get("version"), alias=path.get("label"))
    return answer(PROTOCOL, services, environ, chosen, read_json, write_rows)


def _predicting(path: str, summary: str, *parameters: Parameter) -> Operation:
    return Operation(
        method="post",
        path=path,
        tag=_TAG,
        summary=summary,
        access="predict",
        body="RowsRequest",
        answer=RowAnswers,
        parameters=(MODEL, *parameters, *OPTIONS),
        problems=(400, 404, 413, 415, 503),
        error=V1Error,
        fast=predict,
    )


OPERATIONS = (
    Operation(
        method="get",
        path="/v1/models",
        tag=_TAG,
        summary="The name of the served model",
        access="predict",
        answer=V1Models,
        error=V1Error,
        fast=models,
    ),
    Operation(
        method="get",
        path="/v1/models/{model}",
        tag=_TAG,
        summary="Whether the model can answer",
        access="predict",
        answer=V1Model,
        parameters=(MODEL,),
        problems=(404, 503),
        error=V1Error,
        fast=model,
    ),
    _predicting("/v1/models/{model}:predict", "Predict rows"),
    _predicting("/v1/models/{model}/versions/{version}:predict", "Predict rows with a version", VERSION),
    _predicting("/v1/models/{model}/labels/{label}:predict", "Predict rows with the version of an alias", _LABEL),
)
PROTOCOL = Protocol(name="kserve_v1", owns=("/v1",), refusal=refusal, operations=OPERATIONS)
