"""OpenFeature Remote Evaluation Protocol 0.3: the version that a user gets, as a flag for clients of OpenFeature.

There is one flag, named like the model. Its value is the version that `/predict` gives the user; asking counts nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Literal

import msgspec

from app.errors import InvalidRequest, UnknownModel
from app.services.serving.assignments import AssignedVersion
from app.web.dependencies import Services
from app.web.operations import Operation, Parameter
from app.web.predict_body import LONGEST_USER_ID
from app.web.prediction import checked_body
from app.web.protocols.asking import model_name, require_model
from app.web.protocols.contract import Protocol, Refusal
from app.web.request import decoded_object, request_id_of
from app.web.response import Answer, Environ, Problem, encode, problem_of, whole

_TAG = "OpenFeature"
_TARGETING_KEY = "targetingKey"
ErrorCode = Literal["PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT", "FLAG_NOT_FOUND", "GENERAL"]


class OfrepContext(msgspec.Struct, frozen=True):
    """Whom the flag is evaluated for; other attributes change nothing."""

    targetingKey: str  # noqa: N815 - the protocol's own name


class OfrepRequest(msgspec.Struct, frozen=True):
    """The context of an evaluation."""

    context: OfrepContext


class OfrepMetadata(msgspec.Struct, frozen=True):
    """The experiment and its config revision, and the probability with which users get the value."""

    experiment: str
    epoch: int
    propensity: float


class OfrepFlag(msgspec.Struct, frozen=True):
    """The flag for one user. `reason` is STATIC where every user gets this version, else SPLIT."""

    key: str
    value: str
    variant: str
    reason: Literal["STATIC", "SPLIT"]
    metadata: OfrepMetadata


class OfrepFlags(msgspec.Struct, frozen=True):
    """All flags for one user: one."""

    flags: list[OfrepFlag]


class OfrepError(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error as the protocol says it; `key` is the flag that was asked for, if one was."""

    errorCode: ErrorCode  # noqa: N815 - the protocol's own name
    errorDetails: str  # noqa: N815 - the protocol's own name
    key: str | None = None


class _Refused(InvalidRequest):
    """What the protocol has a code of its own for."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.of_protocol: ErrorCode = code


def refusal(problem: Problem) -> Refusal:
    """The error in the protocol's shape."""
    return Refusal(problem.status, OfrepError("GENERAL", problem.detail.message))


def flag(services: Services, environ: Environ, key: str) -> Answer:
    """The flag `key` for the user of the context. Never raises."""
    return _answered(services, environ, key, lambda user: (_flag_of(services, user, key), ()))


def flags(services: Services, environ: Environ) -> Answer:
    """All flags for the user of the context, with an ETag; 304 where the caller has them. Never raises."""

    def evaluate(user: str) -> tuple[OfrepFlags, tuple[tuple[str, str], ...]]:
        found = OfrepFlags([_flag_of(services, user, None)])
        return found, (("ETag", f'"{blake2b(encode(found), digest_size=12).hexdigest()}"'),)

    status, headers, body = _answered(services, environ, None, evaluate)
    known = [each.strip().removeprefix("W/") for each in environ.get("HTTP_IF_NONE_MATCH", "").split(",")]
    if status == 200 and ("*" in known or dict(headers)["ETag"] in known):
        return 304, [each for each in headers if not each[0].startswith("Content-")], b""
    return status, headers, body


_Evaluate = Callable[[str], tuple[msgspec.Struct, tuple[tuple[str, str], ...]]]


def _answered(services: Services, environ: Environ, key: str | None, evaluate: _Evaluate) -> Answer:
    request_id = request_id_of(environ)
    try:
        body = checked_body(services, environ)
        require_model(services, services.live.state, key)
        found, headers = evaluate(_targeting_key(body))
        return whole(200, found, request_id, headers)
    except Exception as error:  # noqa: BLE001 - nothing above catches it; logged if unexpected
        problem = problem_of(error, environ)
        code: ErrorCode = "FLAG_NOT_FOUND" if isinstance(error, UnknownModel) else "GENERAL"
        code = error.of_protocol if isinstance(error, _Refused) else code
        return whole(problem.status, OfrepError(code, problem.detail.message, key), request_id, problem.headers)


def _targeting_key(body: bytes) -> str:
    """The user of the context."""
    try:
        given = decoded_object(body)
    except InvalidRequest as error:
        raise _Refused("PARSE_ERROR", error.message) from None
    context: Any = given.get("context")
    if type(context) is not dict:
        raise _Refused("INVALID_CONTEXT", 'context must be an object, such as {"targetingKey": "u-17"}')
    user = context.get(_TARGETING_KEY)
    if user is None or user == "":
        raise _Refused("TARGETING_KEY_MISSING", "give targetingKey, the user's id: the version follows from it")
    if type(user) is not str or len(user) > LONGEST_USER_ID:
        message = f"targetingKey must be a string of 1 to {LONGEST_USER_ID} characters"
        raise _Refused("INVALID_CONTEXT", message)
    return user


def _flag_of(services: Services, user: str, key: str | None) -> OfrepFlag:
    assigned: AssignedVersion = services.assignments.of(user)
    return OfrepFlag(
        key=key or model_name(services, services.live.state),
        value=assigned.version,
        variant=assigned.version,
        reason="STATIC" if assigned.propensity == 1 else "SPLIT",
        metadata=OfrepMetadata(assigned.experiment_id, assigned.epoch, assigned.propensity),
    )


OPERATIONS = (
    Operation(
        method="post",
        path="/ofrep/v1/evaluate/flags/{key}",
        tag=_TAG,
        summary="The version that a user gets, as a flag",
        description="The value is the version that `/predict` gives the user. Asking counts nothing.",
        access="predict",
        body=OfrepRequest,
        answer=OfrepFlag,
        parameters=(Parameter("key", "path", "The flag: the name of the served model (MODEL_NAME)."),),
        problems=(400, 404, 413, 415, 503),
        error=OfrepError,
        predicts=False,
        fast=flag,
    ),
    Operation(
        method="post",
        path="/ofrep/v1/evaluate/flags",
        tag=_TAG,
        summary="All flags for a user: one",
        description="The ETag changes when the answer does; with it as `If-None-Match` an unchanged answer is 304.",
        access="predict",
        body=OfrepRequest,
        answer=OfrepFlags,
        parameters=(Parameter("If-None-Match", "header", "The ETag of an earlier answer: 304 if it is the same."),),
        other_answers={304: None},
        problems=(400, 413, 415, 503),
        error=OfrepError,
        predicts=False,
        fast=flags,
    ),
)
PROTOCOL = Protocol(name="ofrep", owns=("/ofrep",), refusal=refusal, operations=OPERATIONS, predicts=False)
