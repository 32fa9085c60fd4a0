"""The calls of the API as records, and who may make them.

The OpenAPI document, the token check, the fast lane and the tests read the same list of operations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import msgspec

from app.domain.decision import MONITOR
from app.errors import AdminDisabled, Forbidden, InvalidRequest, NotOffered, Unauthorised
from app.settings import Settings
from app.tokens import ADMIN, LONGEST_NAME, SCOPES, Scope
from app.web.response import Answer

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
    the name of a schema that is made from the feature contract; no `answer` if `media_type` is not JSON, no
    `media_type` if nobody reads the answer's body. `other_answers` are by status, None without a body. `text_bodies`
    has an example of each other type that the body may have. `problems`
    are the statuses of errors besides 401, 403 and 500, which follow from `access`.

    `error` is the record of its errors (None: `ErrorBody`). `fast` answers the call from a WSGI environment: it takes
    the services, the environment and the parameters of its path by name, and returns status, headers and body. That of
    a POST for whoever may predict is called without Flask, checks the token itself and never raises; it waits for
    nothing, neither disk nor lock, because it may run on the server's event loop. `always` answers the call, and all
    paths that begin like its path, under overload too: for what checks the service or reduces its load. `predicts` is
    false for a `fast` call that asks for no prediction: it goes through Flask, so that the fast lane counts predictions
    alone. `public` says whether the public listener offers it where administration has one of its own (ADMIN_BIND);
    None: by its `access`, all but reading and administration. One call of `access` read has it true, because clients
    of the Open Inference Protocol ask for the versions before they predict.
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
    other_answers: Mapping[int, type[msgspec.Struct] | None] = msgspec.field(default_factory=dict)
    error: type[msgspec.Struct] | None = None
    fast: Callable[..., Answer] | None = None
    always: bool = False
    predicts: bool = True
    public: bool | None = None


def rule_of(path: str) -> str:
    """Flask's rule for a path of OpenAPI. A model's name ends at a colon, behind which some protocols have a verb."""
    return path.replace("{model}", "<name:model>").replace("{", "<").replace("}", ">")


def by_rule(operations: tuple[Operation, ...]) -> dict[tuple[str, str], Operation]:
    """The calls by their method and Flask's rule; HEAD is its GET."""
    table: dict[tuple[str, str], Operation] = {}
    for operation in operations:
        rule = rule_of(operation.path)
        table[operation.method.upper(), rule] = operation
        if operation.method == "get":
            table["HEAD", rule] = operation
    return table


# Set by a proxy that has two listeners in front of this one. It can only take calls away, so that whoever sends it
# without being the proxy gains nothing.
LISTENER = "HTTP_X_LISTENER"


def is_public_listener(settings: Settings, environ: dict[str, Any]) -> bool:
    """Whether the request came by the listener that lacks administration; false where one listener has all calls."""
    own = settings.admin_bind
    return environ.get(LISTENER) == "public" or (own is not None and environ.get("SERVER_PORT") != str(own[1]))


def is_offered(operation: Operation, settings: Settings, environ: dict[str, Any]) -> bool:
    """Whether the listener by which the request came has this call."""
    public = operation.public
    if public is None:
        public = operation.access not in ("read", "administrative")
    return public or not is_public_listener(settings, environ)


def require_offered(operation: Operation, settings: Settings, environ: dict[str, Any]) -> None:
    """Check that the listener by which the request came has this call. Raises `NotOffered`."""
    if not is_offered(operation, settings, environ):
        raise _not_offered()


def _not_offered() -> NotOffered:
    return NotOffered(
        "the public listener has predictions, outcomes, health and /docs alone: reading, administration and metrics "
        "are at the address of ADMIN_BIND, or where that is not set without the header X-Listener"
    )


def require_scope(scope: Scope, settings: Settings, environ: dict[str, Any]) -> None:
    """Check that the caller may predict, read or report outcomes. Raises `Unauthorised` and `Forbidden`."""
    tokens = settings.tokens
    if tokens.is_open(scope):
        return
    needed = f"this call needs the scope {scope}"
    sent = _sent(environ)
    if sent is None:
        raise Unauthorised(f"{needed}: send the header Authorization: Bearer <token> with {tokens.needed(scope)}")
    if not tokens.opens(scope, sent):
        wrong = "the token is of another scope" if tokens.known(sent) else "the token is wrong"
        raise Forbidden(f"{wrong}: {needed}, which {tokens.needed(scope)} opens")


def shows_whole_ids(settings: Settings, environ: dict[str, Any]) -> bool:
    """Whether the caller, who may read, may see what feedback is accepted by: whole prediction ids and own keys."""
    if not settings.tokens.ids_are_secret:
        return True
    sent = _sent(environ)
    return sent is not None and settings.tokens.administrator(sent) is not None


def require_admin(settings: Settings, environ: dict[str, Any]) -> None:
    """Check that the caller is an administrator, and came by the listener for them.

    Raises `NotOffered`, `AdminDisabled`, `Unauthorised` and `Forbidden`.
    """
    if is_public_listener(settings, environ):
        raise _not_offered()
    if not settings.tokens.can_administer:
        raise AdminDisabled("administration is disabled: set ADMIN_TOKEN and restart the api")
    sent = _sent(environ)
    if sent is None:
        raise Unauthorised("this call needs the header Authorization: Bearer <token> with ADMIN_TOKEN")
    if settings.tokens.administrator(sent) is None:
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
    """The token that the request carries: of `Authorization: Bearer`, otherwise of `X-API-Key`; None without one."""
    scheme, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() != "bearer" or not given.strip():
        # Some clients need Authorization for a signature of their own.
        given = environ.get("HTTP_X_API_KEY", "")
    if not given.strip():
        return None
    return str(given).strip().encode("latin-1", "replace")  # WSGI hands header bytes out as Latin-1


ACTOR = Parameter(
    "X-Actor",
    "header",
    "Who decides, for the audit log: 1 to 64 printable characters. Without it: admin. Not read where ADMIN_TOKENS_FILE "
    "is set: then it is the name of the token.",
    {"type": "string", "minLength": 1, "maxLength": 64, "pattern": rf"^(?!{MONITOR}$)[!-~]([ -~]*[!-~])?$"},
)


def actor_of(settings: Settings, environ: dict[str, Any]) -> str:
    """The name for the audit log of the administrator who calls.

    With several administrators it is the name of the token. With `ADMIN_TOKEN` alone it is the one in X-Actor: the
    token proves the right to decide, the header says who did. Raises `InvalidRequest` for a name that is too long or
    unprintable, or that is the monitor's.
    """
    if settings.tokens.administrators:
        sent = _sent(environ)
        name = settings.tokens.administrator(sent) if sent is not None else None
        if name is None:
            raise Forbidden("the token is wrong for this call: it needs an administrator's")
        return name
    given: str | None = environ.get("HTTP_X_ACTOR")
    if given is None:
        return ADMIN
    try:
        name = given.encode("latin-1").decode("utf-8").strip()  # WSGI hands header bytes out as Latin-1
    except UnicodeError:
        name = ""
    if not (1 <= len(name) <= LONGEST_NAME and name.isprintable()):
        raise InvalidRequest(f"X-Actor must be 1 to {LONGEST_NAME} printable characters", field="X-Actor")
    if name == MONITOR:
        # The audit log tells automatic decisions from people's by this name.
        raise InvalidRequest(f"{MONITOR!r} is the name of automatic decisions; give another", field="X-Actor")
    return name
