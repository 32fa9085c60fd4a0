"""The calls of the API as records, and who may make them.

The OpenAPI document, the token check, the fast lane and the tests read the same list of operations.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import msgspec

from app.domain.decision import MONITOR
from app.errors import AdminDisabled, Forbidden, InvalidRequest, Unauthorised
from app.settings import Settings
from app.tokens import SCOPES, Scope

# Open to all; or to whom a scope is open (`app.tokens`); or to administrators, who hold ADMIN_TOKEN.
Access = Literal["open", "predict", "read", "feedback", "administrative"]
Schema = Mapping[str, object]


class Parameter(msgspec.Struct, frozen=True):
    """A parameter in the path, the query or a header."""

    name: str
    where: Literal["path", "query", "header"]
    description: str
    schema: Schema = msgspec.field(default_factory=lambda: {"type": "string"})
    example: object = None


def number_parameter(name: str, description: str, default: int, most: int, example: object = None) -> Parameter:
    """A query parameter that is a whole number from 1 to `most`; `app.web.request.whole_number` reads it."""
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    return Parameter(name, "query", description, schema, example)


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One call of the API.

    `path` is as in OpenAPI (`/models/{version}`). `answer` is the record of a 200 and `body` that of the request, or
    the name of a schema that is made from the feature contract; no `answer` if `media_type` is not JSON. `text_bodies`
    has an example of each other type that the body may have. `problems`
    are the statuses of errors besides 401, 403 and 500, which follow from `access`.

    `fast` answers the call without Flask: it takes the services and a WSGI environment, checks the token itself,
    returns status, headers and body, and never raises. Its path is exact, without parameters. `always` answers the
    call under overload too: for what checks the service or reduces its load.
    """

    method: Literal["get", "post", "patch"]
    path: str
    tag: str
    summary: str
    answer: type[msgspec.Struct] | str | None
    description: str = ""
    access: Access = "read"
    body: type[msgspec.Struct] | str | None = None
    text_bodies: Mapping[str, str] = msgspec.field(default_factory=dict)
    parameters: tuple[Parameter, ...] = ()
    problems: tuple[int, ...] = ()
    media_type: str = "application/json"
    other_answers: Mapping[int, type[msgspec.Struct]] = msgspec.field(default_factory=dict)
    fast: Callable[[Any, dict[str, Any]], tuple[int, list[tuple[str, str]], bytes]] | None = None
    always: bool = False


def access_of(operations: tuple[Operation, ...]) -> dict[tuple[str, str], Access]:
    """The access of each call by its method and Flask's rule; HEAD has the access of its GET."""
    table: dict[tuple[str, str], Access] = {}
    for operation in operations:
        rule = operation.path.replace("{", "<").replace("}", ">")
        table[operation.method.upper(), rule] = operation.access
        if operation.method == "get":
            table["HEAD", rule] = operation.access
    return table


def require_scope(scope: Scope, settings: Settings, environ: dict[str, Any]) -> None:
    """Check that the caller may predict, read or report outcomes. Raises `Unauthorised` and `Forbidden`."""
    tokens = settings.tokens
    accepted = tokens.accepted(scope)
    if not accepted:
        return
    needed = f"this call needs the scope {scope}"
    sent = _sent(environ)
    if sent is None:
        raise Unauthorised(f"{needed}: send the header Authorization: Bearer <token> with {tokens.needed(scope)}")
    if not _is_one_of(sent, accepted):
        known = _is_one_of(sent, tuple(tokens.given().values()))
        wrong = "the token is of another scope" if known else "the token is wrong"
        raise Forbidden(f"{wrong}: {needed}, which {tokens.needed(scope)} opens")


def shows_whole_ids(settings: Settings, environ: dict[str, Any]) -> bool:
    """Whether the caller, who may read, may see what feedback is accepted by: whole prediction ids and own keys."""
    if not settings.tokens.ids_are_secret:
        return True
    sent = _sent(environ)
    return sent is not None and settings.admin_token is not None and _is_one_of(sent, (settings.admin_token,))


def require_admin(settings: Settings, environ: dict[str, Any]) -> None:
    """Check that the caller is an administrator. Raises `AdminDisabled`, `Unauthorised` and `Forbidden`."""
    if settings.admin_token is None:
        raise AdminDisabled("administration is disabled: set ADMIN_TOKEN and restart the api")
    sent = _sent(environ)
    if sent is None:
        raise Unauthorised("this call needs the header Authorization: Bearer <token> with ADMIN_TOKEN")
    if not _is_one_of(sent, (settings.admin_token,)):
        raise Forbidden("the token is wrong for this call: it needs ADMIN_TOKEN")


def require_admin_to(what: str, settings: Settings, environ: dict[str, Any]) -> None:
    """The same for a part of a call that others may make: the refusal says which."""
    try:
        require_admin(settings, environ)
    except (Unauthorised, Forbidden) as error:
        raise type(error)(f"{what} needs ADMIN_TOKEN: {error.message}", field=error.field) from error


def allow_anyone(_settings: Settings, _environ: dict[str, Any]) -> None:
    """Accept every caller."""


GUARDS: dict[Access, Callable[[Settings, dict[str, Any]], None]] = {
    "open": allow_anyone,
    **{scope: partial(require_scope, scope) for scope in SCOPES},
    "administrative": require_admin,
}


def _sent(environ: dict[str, Any]) -> bytes | None:
    """The token that the request carries; None without one."""
    scheme, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() != "bearer" or not given.strip():
        return None
    return str(given).strip().encode("latin-1", "replace")  # WSGI hands header bytes out as Latin-1


def _is_one_of(sent: bytes, tokens: tuple[str, ...]) -> bool:
    # In constant time: how long the comparison takes must not tell how much of a guess is right.
    return any(hmac.compare_digest(sent, token.encode()) for token in tokens)


ACTOR = Parameter(
    "X-Actor",
    "header",
    "Who decides, for the audit log: 1 to 64 printable characters. Without it: admin.",
    {"type": "string", "minLength": 1, "maxLength": 64, "pattern": rf"^(?!{MONITOR}$)[!-~]([ -~]*[!-~])?$"},
)
_DEFAULT_ACTOR = "admin"
_LONGEST_ACTOR = 64


def actor_of(environ: dict[str, Any]) -> str:
    """The name in X-Actor: the token proves the right to decide, this header says who did.

    Raises `InvalidRequest` for a name that is too long or unprintable, or that is the monitor's.
    """
    given: str | None = environ.get("HTTP_X_ACTOR")
    if given is None:
        return _DEFAULT_ACTOR
    try:
        name = given.encode("latin-1").decode("utf-8").strip()  # WSGI hands header bytes out as Latin-1
    except UnicodeError:
        name = ""
    if not (1 <= len(name) <= _LONGEST_ACTOR and name.isprintable()):
        raise InvalidRequest(f"X-Actor must be 1 to {_LONGEST_ACTOR} printable characters", field="X-Actor")
    if name == MONITOR:
        # The audit log tells automatic decisions from people's by this name.
        raise InvalidRequest(f"{MONITOR!r} is the name of automatic decisions; give another", field="X-Actor")
    return name
