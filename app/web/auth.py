"""Who may call what: open, reading (API_TOKEN, where one is set), administrative (ADMIN_TOKEN)."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any, Literal

from app.errors import AdminDisabled, Forbidden, Unauthorised
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
