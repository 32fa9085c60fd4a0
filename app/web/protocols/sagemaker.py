"""SageMaker's runtime: `POST /endpoints/{model}/invocations`, as boto3's client sends and reads it.

What SageMaker asks of a container, `/ping` and `/invocations`, is in `mlflow.py`: both have the same bodies there.
"""

from __future__ import annotations

import uuid
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from app.domain.layouts import RequestColumns
from app.errors import ModelFailed
from app.services.serving.predictor import ServedPrediction
from app.web.dependencies import Services
from app.web.operations import Operation, Parameter
from app.web.predict_body import key_in_header, user_in_header
from app.web.protocols.asking import MODEL, Chosen, Question, answer, key_of
from app.web.protocols.contract import Protocol, Refusal
from app.web.protocols.row_bodies import CSV, RowAnswers, csv_of, predictions_of, read_rows, write_rows
from app.web.response import JSON, REQUEST_ID, Answer, Environ, Problem
from app.web.routes.predictions import OPTIONS

_PREFIX = "X-Amzn-SageMaker-"
_VARIANT, _KEY, _SESSION = f"{_PREFIX}Target-Variant", f"{_PREFIX}Inference-Id", f"{_PREFIX}Session-Id"
_ATTRIBUTES, _NEW_SESSION = f"{_PREFIX}Custom-Attributes", f"{_PREFIX}New-Session-Id"
_INVOKED, _ERROR_TYPE = "x-Amzn-Invoked-Production-Variant", "x-amzn-errortype"
_WANTS_SESSION = "NEW_SESSION"
_LONGEST_ATTRIBUTES = 1024
# The codes that botocore has exceptions for; what the caller can mend is a ValidationError.
_CODES = {401: "AccessDeniedException", 403: "AccessDeniedException", 500: "InternalFailure", 503: "ServiceUnavailable"}
_MODEL_ERROR = 424


class SageMakerError(msgspec.Struct, frozen=True):
    """An error as botocore reads it; the original ones are those of a version that failed."""

    code: str
    message: str
    OriginalStatusCode: int | UnsetType = UNSET
    OriginalMessage: str | UnsetType = UNSET


def refusal(problem: Problem) -> Refusal:
    """The error in SageMaker's shape: a wrong endpoint or variant is 400 there, and a failed model 424."""
    message = problem.detail.message
    if problem.detail.code == ModelFailed.code:
        body = SageMakerError("ModelError", message, problem.status, message)
        return Refusal(_MODEL_ERROR, body, ((_ERROR_TYPE, body.code),))
    code = _CODES.get(problem.status, "ValidationError")
    unknown = problem.detail.code in ("unknown_model", "unknown_version")
    return Refusal(400 if unknown else problem.status, SageMakerError(code, message), ((_ERROR_TYPE, code),))


def invoke(services: Services, environ: Environ, model: str) -> Answer:
    """The answer to rows; the target variant forces a version."""
    call, chosen = _Call(environ), Chosen(model=model, version=_header(environ, _VARIANT))
    return answer(PROTOCOL, services, environ, chosen, call.read, call.write)


def _header(environ: Environ, name: str) -> str | None:
    value: str | None = environ.get(f"HTTP_{name.upper().replace('-', '_')}")
    return value or None


class _Call:
    """One request, between its reading and the writing of its answer."""

    def __init__(self, environ: Environ) -> None:
        self._environ = environ
        self._new_session: str | None = None

    def read(self, body: bytes, columns: RequestColumns, environ: Environ) -> Question:
        """The question. Raises `InvalidRequest`, `MalformedJson` and `UnsupportedMedia`."""
        question = read_rows(body, columns, environ, bare=True)
        changes: dict[str, Any] = {"user_id": question.user_id or self._user(environ)}
        key = _header(environ, _KEY)
        if key is not None and not question.keys and not key_of(environ, question.count):
            named = key_in_header(key, _KEY)
            changes["keys"] = (named,) if question.count == 1 else ()
        return msgspec.structs.replace(question, **changes)

    def _user(self, environ: Environ) -> str | None:
        session = _header(environ, _SESSION)
        if session == _WANTS_SESSION:
            session = self._new_session = uuid.uuid4().hex
        return None if session is None else user_in_header(session, _SESSION)

    def write(self, served: ServedPrediction, request_id: str) -> Answer:
        """The whole answer, as JSON or, if the client accepts that alone, as CSV."""
        version = served.exposure.version
        headers = [(_INVOKED, version)]
        if self._new_session is not None:
            headers.append((_NEW_SESSION, self._new_session))
        attributes = _header(self._environ, _ATTRIBUTES)
        if attributes and len(attributes) <= _LONGEST_ATTRIBUTES and attributes.isascii() and attributes.isprintable():
            headers.append((_ATTRIBUTES, attributes))
        if not _wants_csv(_header(self._environ, "Accept")):
            status, own, body = write_rows(served, request_id)
            return status, [*own, *headers], body
        body = csv_of(zip(predictions_of(served), served.exposure.prediction_ids, strict=True))
        own = [("Content-Type", CSV), ("Content-Length", str(len(body))), (REQUEST_ID, request_id)]
        return 200, [*own, ("X-Model-Version", version), *headers], body


def _wants_csv(accept: str | None) -> bool:
    """Whether the client accepts CSV rather than JSON, which it gets otherwise."""
    if accept is None or CSV not in accept.lower():
        return False
    best = parse_accept_header(accept, MIMEAccept).best_match((JSON, CSV, f"{CSV}; charset=utf-8"))
    return best is not None and best != JSON


def _optional(name: str, description: str, longest: int) -> Parameter:
    return Parameter(name, "header", description, {"type": "string", "minLength": 1, "maxLength": longest})


PROTOCOL = Protocol(
    name="sagemaker",
    owns=("/endpoints",),
    refusal=refusal,
    operations=(
        Operation(
            method="post",
            path="/endpoints/{model}/invocations",
            tag="SageMaker",
            summary="Predict rows, as SageMaker's runtime does",
            description="JSON as for `/invocations`, an array of rows, or CSV. "
            "`Accept: text/csv` asks for lines of prediction and id.",
            access="predict",
            body="InvocationRequest",
            text_bodies={CSV: "5.1,3.5,1.4,0.2\n"},
            answer=RowAnswers,
            parameters=(
                MODEL,
                _optional(_VARIANT, "The version to force.", 64),
                _optional(_KEY, "The caller's own key, for one row.", 64),
                _optional(_SESSION, "A user for a sticky assignment; `NEW_SESSION` begins a new one.", 256),
                _optional(_ATTRIBUTES, "Comes back in the answer.", _LONGEST_ATTRIBUTES),
                *OPTIONS,
            ),
            problems=(400, 413, 415, 424, 503),
            error=SageMakerError,
            fast=invoke,
        ),
    ),
)
