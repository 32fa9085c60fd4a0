"""Who decides, as they call themselves: the token says that they may, the header who it was."""

from __future__ import annotations

from typing import Any

from app.domain.decision import MONITOR
from app.errors import InvalidRequest
from app.web.operations import Parameter

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
