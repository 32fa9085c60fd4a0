"""Who may call what: open, reading (API_TOKEN, where one is set), administrative (ADMIN_TOKEN).

A call of the API as one record: the OpenAPI document, the guard and the tests read the same list.

Who decides, as they call themselves: the token says that they may, the header who it was.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from app.domain.decision import MONITOR
from app.errors import AdminDisabled, Forbidden, InvalidRequest, Unauthorised
from app.settings import Settings

Access = Literal["open", "reading", "administrative"]


def require_reader(settings: Settings, environ: dict[str, Any]) -> None:
    """Nothing for a caller who may predict and read. Raises `Unauthorised` and `Forbidden`.

    Without API_TOKEN everyone may; ADMIN_TOKEN opens this too, since a call carries one token.
    """
    if settings.api_token is not None:
        _require(environ, tuple(token for token in (settings.api_token, settings.admin_token) if token is not None))


def require_admin(settings: Settings, environ: dict[str, Any]) -> None:
    """Nothing for an administrator. Raises `AdminDisabled`, `Unauthorised` and `Forbidden`."""
    if settings.admin_token is None:
        raise AdminDisabled("administration is switched off: set ADMIN_TOKEN and restart the api")
    _require(environ, (settings.admin_token,))


def anyone(_settings: Settings, _environ: dict[str, Any]) -> None:
    """Nothing, for everyone."""


GUARDS: dict[Access, Callable[[Settings, dict[str, Any]], None]] = {
    "open": anyone,
    "reading": require_reader,
    "administrative": require_admin,
}


def _require(environ: dict[str, Any], tokens: tuple[str, ...]) -> None:
    scheme, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() != "bearer" or not given.strip():
        raise Unauthorised("this call needs the header Authorization: Bearer <token>")
    sent = given.strip().encode("latin-1", "replace")  # WSGI hands header bytes out as Latin-1
    if not any(hmac.compare_digest(sent, token.encode()) for token in tokens):
        raise Forbidden("the token is not the right one")


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


ACTOR = Parameter(
    "X-Actor",
    "header",
    "Who decides, for the audit log: 1 to 64 printable characters. Without it: admin.",
    {"type": "string", "minLength": 1, "maxLength": 64, "pattern": rf"^(?!{MONITOR}$)[!-~]([ -~]*[!-~])?$"},
)
_UNNAMED = "admin"
_LONGEST = 64


def actor_of(environ: dict[str, Any]) -> str:
    """The name in X-Actor. Raises `InvalidRequest` for one that is too long, unprintable, or the monitor's own."""
    given: str | None = environ.get("HTTP_X_ACTOR")
    if given is None:
        return _UNNAMED
    try:
        name = given.encode("latin-1").decode("utf-8").strip()  # WSGI hands header bytes out as Latin-1
    except UnicodeError:
        name = ""
    if not (1 <= len(name) <= _LONGEST and name.isprintable()):
        raise InvalidRequest(f"X-Actor must be 1 to {_LONGEST} printable characters", field="X-Actor")
    if name == MONITOR:
        raise InvalidRequest(f"{MONITOR!r} is what decides by itself; call yourself something else", field="X-Actor")
    return name
