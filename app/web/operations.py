"""A call of the API as one record: the OpenAPI document, the guard and the tests read the same list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from app.web.auth import Access

Schema = Mapping[str, object]


class Parameter(msgspec.Struct, frozen=True):
    """A parameter in the path, the query or a header."""

    name: str
    where: Literal["path", "query", "header"]
    description: str
    schema: Schema = msgspec.field(default_factory=lambda: {"type": "string"})
    example: object = None


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One call.

    `path` is OpenAPI's (`/models/{version}`). `answer` is the record of a 200 and `body` that of the request, or the
    name of a schema that is made from the feature contract; no `answer` where `media_type` is not JSON. `problems`
    are the statuses of errors beside 401, 403 and 500, which follow from `access`.
    """

    method: Literal["get", "post", "patch"]
    path: str
    tag: str
    summary: str
    answer: type[msgspec.Struct] | str | None
    description: str = ""
    access: Access = "reading"
    body: type[msgspec.Struct] | str | None = None
    parameters: tuple[Parameter, ...] = ()
    problems: tuple[int, ...] = ()
    media_type: str = "application/json"
    other_answers: Mapping[int, type[msgspec.Struct]] = msgspec.field(default_factory=dict)


def access_of(operations: tuple[Operation, ...]) -> dict[tuple[str, str], Access]:
    """The access of each call by its method and Flask's rule; HEAD is as free as its GET."""
    table: dict[tuple[str, str], Access] = {}
    for operation in operations:
        rule = operation.path.replace("{", "<").replace("}", ">")
        table[operation.method.upper(), rule] = operation.access
        if operation.method == "get":
            table["HEAD", rule] = operation.access
    return table
