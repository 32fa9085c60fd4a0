"""What clients of the Open Inference Protocol ask before they predict: server, health, models, repository."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from app import __version__
from app.domain.classes import boolean_values
from app.domain.contract import Feature, FeatureContract
from app.domain.layouts import RequestColumns
from app.errors import InvalidRequest
from app.services.serving.reload import ReloadReport
from app.web.dependencies import Services, require_ready
from app.web.operations import Operation, Parameter
from app.web.protocols.asking import MODEL, Chosen, forced_version, model_name, require_model
from app.web.protocols.kserve_v1 import VERSION
from app.web.request import decoded_object, read_body, request_id_of
from app.web.response import Answer, Environ, whole

TAG = "Open Inference Protocol"


class InferenceError(msgspec.Struct, frozen=True):
    """An error of the Open Inference Protocol (its REST specification: `{"error": <string>}`)."""

    error: str


class ServerMetadata(msgspec.Struct, frozen=True):
    """The server, and what it can beyond the protocol."""

    name: str
    version: str
    extensions: list[str]


class ServerLive(msgspec.Struct, frozen=True):
    """The process responds."""

    live: bool = True


class ServerReady(msgspec.Struct, frozen=True):
    """The process accepts requests; the specification names `live` here, and clients read `ready`."""

    ready: bool = True
    live: bool = True


class OipModels(msgspec.Struct, frozen=True):
    """The names of the served models: one, with all its versions."""

    models: list[str]


class TensorMetadata(msgspec.Struct, frozen=True):
    """An input or output; -1 in the shape stands for the number of rows."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(msgspec.Struct, frozen=True):
    """What a request for the model has, and what an answer has."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ModelReady(msgspec.Struct, frozen=True):
    """The model can answer."""

    name: str
    ready: bool = True


class IndexEntry(msgspec.Struct, frozen=True):
    """A version in the model registry; `reason` says why it is not served."""

    name: str
    version: str
    state: str
    reason: str = ""


_SERVER = ServerMetadata("bakeoff", __version__, ["binary_tensor_data", "classification", "model_repository"])


def server(_services: Services, environ: Environ) -> Answer:
    """The server."""
    return whole(200, _SERVER, request_id_of(environ))


def live(_services: Services, environ: Environ) -> Answer:
    """That the process responds."""
    return whole(200, ServerLive(), request_id_of(environ))


def ready(services: Services, environ: Environ) -> Answer:
    """That this process should get predictions. Raises `Draining` and `NotReady`."""
    require_ready(services)
    return whole(200, ServerReady(), request_id_of(environ))


def models(services: Services, environ: Environ) -> Answer:
    """The served models; none while no version is loaded."""
    state = services.live.state
    return whole(
        200, OipModels([model_name(services, state)] if state.loaded_models.versions else []), request_id_of(environ)
    )


def metadata(services: Services, environ: Environ, model: str, version: str | None = None) -> Answer:
    """The tensors of a request and of an answer. Raises `UnknownModel`, `UnknownVersion` and `NotReady`."""
    state = services.live.state
    require_model(services, state, model)
    forced, versions = forced_version(services, state, Chosen(version=version), {}), state.loaded_models.versions
    columns = state.columns(forced)
    # Without a version, chance may choose any of them.
    scored = all(each.gives_probabilities for each in ([versions[forced]] if forced else versions.values()))
    inputs, outputs = inputs_of(columns), outputs_of(columns.contract, scored)
    record = ModelMetadata(model, [*versions], "bakeoff", inputs, outputs)
    return whole(200, record, request_id_of(environ))


def model_ready(services: Services, environ: Environ, model: str, version: str | None = None) -> Answer:
    """That the model, or a version of it, can answer. Raises as `metadata` and `ready` do."""
    state = services.live.state
    require_model(services, state, model)
    state.columns(forced_version(services, state, Chosen(version=version), {}))
    require_ready(services)
    return whole(200, ModelReady(model), request_id_of(environ))


def index(services: Services, environ: Environ) -> Answer:
    """The versions that are loaded and, unless the body asks for those that are ready, the ones that were refused."""
    body = read_body(environ, services.settings.max_body_bytes)
    only_ready = bool(body) and _only_ready(decoded_object(body))
    state = services.live.state
    name = model_name(services, state)
    loaded = [IndexEntry(name, version, "READY") for version in state.loaded_models.versions]
    refused = [IndexEntry(name, each.name, "UNAVAILABLE", each.reason) for each in state.loaded_models.refused]
    return whole(200, loaded if only_ready else [*loaded, *refused], request_id_of(environ))


def _only_ready(wanted: dict[str, Any]) -> bool:
    ready = wanted.get("ready", False)
    if type(ready) is not bool:
        raise InvalidRequest("ready must be true or false", field="ready")
    return ready


def reload(services: Services, environ: Environ, model: str) -> Answer:
    """Look at the model registry again, as `POST /models/reload` does."""
    read_body(environ, services.settings.max_body_bytes)
    require_model(services, services.live.state, model)
    return whole(200, services.reload.now(), request_id_of(environ))


def inputs_of(columns: RequestColumns) -> list[TensorMetadata]:
    """One tensor where a row may be an array of numbers; otherwise a tensor a feature."""
    in_arrays = [columns.feature(name) for name in columns.array_names]
    if columns.arrays_are_rows and all(each is not None and each.kind == "numeric" for each in in_arrays):
        return [TensorMetadata("input", "FP64", [-1, len(in_arrays)])]
    return [TensorMetadata(feature.name, _datatype(feature), [-1]) for feature in columns.contract.features]


def _datatype(feature: Feature) -> str:
    if boolean_values(feature) is not None and not feature.nullable:
        return "BOOL"
    return "FP64" if feature.kind == "numeric" else "BYTES"


def outputs_of(contract: FeatureContract, scored: bool) -> list[TensorMetadata]:
    """The outputs; `scored`: there are probabilities."""
    if contract.task == "regression":
        answers = [TensorMetadata("predict", "FP64", [-1])]
    else:
        scores = [TensorMetadata("predict_proba", "FP64", [-1, len(contract.classes)])] if scored else []
        answers = [TensorMetadata("predict", "BYTES", [-1]), *scores, TensorMetadata("class_id", "INT64", [-1])]
    return [*answers, TensorMetadata("prediction_id", "BYTES", [-1])]


def _reading(
    path: str,
    summary: str,
    record: type[msgspec.Struct],
    fast: Callable[..., Answer],
    *parameters: Parameter,
    health: bool = False,
) -> Operation:
    return Operation(
        method="get",
        path=path,
        tag=TAG,
        summary=summary,
        access="open" if health else "predict",
        answer=record,
        parameters=parameters,
        problems=() if record in (ServerMetadata, ServerLive, OipModels) else (404, 503),
        error=InferenceError,
        fast=fast,
        always=path.startswith("/v2/health/"),  # all paths that begin so are answered under overload
    )


def _reloading(verb: str) -> Operation:
    return Operation(
        method="post",
        path=f"/v2/repository/models/{{model}}/{verb}",
        tag=TAG,
        summary="Load what has changed in the model registry",
        description="The same as `POST /models/reload`: versions that were published are loaded, retired ones dropped.",
        access="administrative",
        answer=ReloadReport,
        parameters=(MODEL,),
        problems=(404, 409, 413, 415, 503),
        error=InferenceError,
        fast=reload,
    )


OPERATIONS = (
    _reading("/v2", "The server and its extensions", ServerMetadata, server, health=True),
    _reading("/v2/health/live", "Whether the process responds", ServerLive, live, health=True),
    _reading("/v2/health/ready", "Whether this process answers predictions", ServerReady, ready, health=True),
    _reading("/v2/models", "The name of the served model", OipModels, models),
    _reading("/v2/models/{model}", "The tensors of the model", ModelMetadata, metadata, MODEL),
    _reading(
        "/v2/models/{model}/versions/{version}", "The tensors of a version", ModelMetadata, metadata, MODEL, VERSION
    ),
    _reading("/v2/models/{model}/ready", "Whether the model can answer", ModelReady, model_ready, MODEL),
    _reading(
        "/v2/models/{model}/versions/{version}/ready",
        "Whether a version can answer",
        ModelReady,
        model_ready,
        MODEL,
        VERSION,
    ),
    Operation(
        method="post",
        path="/v2/repository/index",
        tag=TAG,
        summary="The versions, and whether they are served",
        description='The body may be empty; `{"ready": true}` asks for the versions that are served alone.',
        answer="RepositoryIndex",
        problems=(400, 413, 415),
        error=InferenceError,
        fast=index,
        public=True,
    ),
    _reloading("load"),
    _reloading("unload"),
)
