"""The Open Inference Protocol, version 2, over REST, with Triton's binary tensors: what is below `/v2`."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from app.domain.layouts import Column, RequestColumns
from app.domain.prediction import is_own_key
from app.errors import InvalidRequest
from app.services.serving.predictor import ServedPrediction
from app.web.dependencies import Services
from app.web.operations import Operation, Parameter
from app.web.predict_body import option_user
from app.web.protocols import tensors
from app.web.protocols.asking import MODEL, Chosen, Question, answer, key_of, model_name
from app.web.protocols.contract import Protocol, Refusal
from app.web.protocols.kserve_v1 import VERSION
from app.web.protocols.oip_metadata import OPERATIONS as METADATA
from app.web.protocols.oip_metadata import TAG, InferenceError
from app.web.protocols.oip_outputs import (
    WantedOutput,
    needs_probabilities,
    output_of,
    outputs_of_a_row,
    require_outputs,
    wanted_of,
)
from app.web.protocols.tensors import InputTensor, OutputTensor, Parameters
from app.web.request import decoded_with_nan, nulls_for_nan
from app.web.response import REQUEST_ID, Answer, Environ, Problem, encode, whole
from app.web.routes.predictions import OPTIONS

_HEADER = "Inference-Header-Content-Length"
_ENVIRON_HEADER = "HTTP_INFERENCE_HEADER_CONTENT_LENGTH"
_LONG_TEXT = 60


class InferRequest(msgspec.Struct, frozen=True):
    """The JSON of a request; further keys are ignored, because KServe's client sends some."""

    inputs: list[InputTensor]
    outputs: list[WantedOutput] | None = None
    id: str | None = None
    parameters: Parameters | None = None


class InferAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON of an answer. Prediction ids are an output; that of a row alone is among the parameters, too."""

    model_name: str
    model_version: str
    id: str | UnsetType = UNSET
    parameters: dict[str, str]
    outputs: list[OutputTensor]


_decode = msgspec.json.Decoder(InferRequest).decode


def refusal(problem: Problem) -> Refusal:
    """The error in the protocol's shape."""
    return Refusal(problem.status, InferenceError(problem.detail.message))


def infer(services: Services, environ: Environ, **path: str) -> Answer:
    """The answer to tensors; a version in the path forces it."""
    call = _Call(services)
    chosen = Chosen(model=path["model"], version=path.get("version"))
    return answer(PROTOCOL, services, environ, chosen, call.read, call.write)


class _Call:
    """One request, between its reading and the writing of its answer."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._request = InferRequest([])

    def read(self, body: bytes, columns: RequestColumns, environ: Environ) -> Question:
        """The question. Raises `InvalidRequest` and `MalformedJson`."""
        size = _header_size(environ, len(body))
        request = self._request = _decoded(body if size is None else body[:size])
        if request.outputs or request.parameters:
            require_outputs(request.outputs, request.parameters, columns)
        given = tensors.tensors_of(request.inputs, b"" if size is None else body[size:])
        if len(given[0].shape) == 1 and len(given) == len(columns.array_names) == 1:
            given = [msgspec.structs.replace(given[0], shape=[given[0].rows, 1])]  # of one column, each value is a row
        count, rows = tensors.rows_of(given, columns)
        table = None if rows is not None else _table(tensors.columns_of(given, columns), columns)
        if count == 1 and isinstance(table, dict):
            rows, table = [{name: _value(values) for name, values in table.items()}], None
        user = option_user(dict(request.parameters)) if request.parameters else None
        return Question(
            rows=rows or [],
            table=table,
            count=count,
            user_id=user,
            keys=self._keys(environ, count),
            needs_probabilities=needs_probabilities(request.outputs),
        )

    def _keys(self, environ: Environ, count: int) -> tuple[str, ...]:
        """The own key: of the header, else the request's id, which names its only row."""
        keys = key_of(environ, count)
        name = self._request.id
        return (name,) if not keys and count == 1 and name is not None and is_own_key(name) else keys

    def write(self, served: ServedPrediction, request_id: str) -> Answer:
        """The whole answer, with JSON or raw tensors as was asked for."""
        request, exposure = self._request, served.exposure
        outputs, raw = [], []
        if len(exposure) == 1 and not request.outputs and not request.parameters:
            outputs = outputs_of_a_row(served)
        else:
            for wanted in wanted_of(request.outputs, request.parameters, served):
                output, data = output_of(wanted, served)
                outputs.append(output)
                raw += [data] if wanted.binary else []
        parameters: dict[str, str] = {"assignment": exposure.assignment}
        if len(exposure) == 1:
            parameters["prediction_id"] = exposure.prediction_ids[0]
        record = InferAnswer(
            model_name=model_name(self._services, self._services.live.state),
            model_version=exposure.version,
            id=UNSET if request.id is None else request.id,
            parameters=parameters,
            outputs=outputs,
        )
        version = ("X-Model-Version", exposure.version)
        return _with_raw(record, raw, request_id, version) if raw else whole(200, record, request_id, [version])


def _header_size(environ: Environ, length: int) -> int | None:
    """The length of the JSON before raw tensors; None where there are none. Raises `InvalidRequest`."""
    given = environ.get(_ENVIRON_HEADER)
    if given is None:
        return None
    if not (given.isascii() and given.isdecimal() and len(given) < 19 and int(given) <= length):
        raise InvalidRequest(f"{_HEADER} is {given[:_LONG_TEXT]!r}, and the body has {length} bytes", field=_HEADER)
    return int(given)


def _decoded(body: bytes) -> InferRequest:
    try:
        return _decode(body)
    except msgspec.ValidationError as error:
        raise InvalidRequest(str(error).replace("`", "")) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        decoded_with_nan(body)  # says what is wrong with the JSON
        if (with_nulls := nulls_for_nan(body)) == body:
            raise
        return _decoded(with_nulls)


def _table(table: dict[str, Column] | list[Column], columns: RequestColumns) -> dict[str, Column] | list[Column]:
    """The columns, with missing values where a raw text is empty: raw tensors have no null."""
    if isinstance(table, list):
        return table
    for name, values in table.items():
        feature = columns.feature(name)
        if feature is not None and feature.kind == "categorical" and isinstance(values, list) and "" in values:
            missing = feature.nullable and "" not in feature.categories
            table[name] = [value or None for value in values] if missing else values
    return table


def _value(values: Column) -> Any:
    """The only value of a column, as JSON has it."""
    value = values[0] if isinstance(values, list) else values.tolist()[0]
    return None if value != value else value


def _with_raw(record: InferAnswer, raw: list[bytes], request_id: str, version: tuple[str, str]) -> Answer:
    head = encode(record)
    body = b"".join((head, *raw))
    headers = [
        ("Content-Type", "application/octet-stream"),
        ("Content-Length", str(len(body))),
        (_HEADER, str(len(head))),
        (REQUEST_ID, request_id),
        version,
    ]
    return 200, headers, body


def _inferring(path: str, summary: str, *parameters: Parameter) -> Operation:
    return Operation(
        method="post",
        path=path,
        tag=TAG,
        summary=summary,
        description="One tensor with all columns, or a tensor a feature, in JSON or as raw bytes behind the JSON.",
        access="predict",
        body="InferRequest",
        answer=InferAnswer,
        parameters=(MODEL, *parameters, *OPTIONS),
        problems=(400, 404, 413, 415, 503),
        error=InferenceError,
        fast=infer,
    )


PROTOCOL = Protocol(
    name="oip_v2",
    owns=("/v2",),
    refusal=refusal,
    operations=(
        *METADATA,
        _inferring("/v2/models/{model}/infer", "Predict the rows of tensors"),
        _inferring(
            "/v2/models/{model}/versions/{version}/infer", "Predict the rows of tensors with a version", VERSION
        ),
    ),
)
