"""The Open Inference Protocol, version 2, over REST: what is below `/v2`."""

from __future__ import annotations

import msgspec

from app.web.protocols.contract import Protocol, Refusal
from app.web.response import Problem


class InferenceError(msgspec.Struct, frozen=True):
    """An error of the Open Inference Protocol (its REST specification: `{"error": <string>}`)."""

    error: str


def refusal(problem: Problem) -> Refusal:
    """The error in the protocol's shape."""
    return Refusal(problem.status, InferenceError(problem.detail.message))


PROTOCOL = Protocol(name="oip_v2", owns=("/v2",), refusal=refusal, operations=())
