"""What a protocol is: the paths that it owns, its calls, and the shape of its errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from app.web.operations import Operation
from app.web.response import Answer, Problem, whole


class Refusal(NamedTuple):
    """An error as a protocol says it: the status, the record of the body, and headers beside the problem's own."""

    status: int
    body: msgspec.Struct
    headers: tuple[tuple[str, str], ...] = ()


class Protocol(msgspec.Struct, frozen=True, kw_only=True):
    """One protocol. `name` is its label in metrics.

    `owns` are paths: everything at and below them is refused in the protocol's shape, unknown paths too. `predicts`:
    its calls are predict requests in metrics.
    """

    name: str
    owns: tuple[str, ...]
    refusal: Callable[[Problem], Refusal]
    operations: tuple[Operation, ...]
    predicts: bool = True

    def owns_path(self, path: str) -> bool:
        """Whether errors of this path have the protocol's shape."""
        return any(path.startswith(own) and path[len(own) : len(own) + 1] in ("", "/") for own in self.owns)

    def refused(self, problem: Problem, request_id: str) -> Answer:
        """The whole answer that a client of this protocol reads in place of a result."""
        status, body, headers = self.refusal(problem)
        return whole(status, body, request_id, (*problem.headers, *headers))
