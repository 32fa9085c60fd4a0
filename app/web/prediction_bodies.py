"""What a predict request asks for: its rows and its user, in every form that the contract of the API allows."""

from __future__ import annotations

from typing import Any

from app.errors import InvalidRequest

LONGEST_USER_ID = 256
_LONG_TEXT = 60
_SINGLE_KEYS = frozenset(("features", "user_id"))
_BATCH_KEYS = frozenset(("instances", "features", "user_id"))


def single_row(body: dict[str, Any], names: tuple[str, ...], environ: dict[str, Any]) -> tuple[object, str | None]:
    """The one row (array or object, not checked yet) and the user id of `{"features": …}` or of a flat object.

    An array or object under `features` is the nested form: no feature has such a value. In the flat form a feature
    that is itself called `user_id` wins over the option, which may still be given as a header.
    """
    features = body.get("features")
    kind = type(features)
    if kind is list or kind is dict:
        if len(body) == 1:
            return features, header_user(environ) if "HTTP_X_USER_ID" in environ else None
        _refuse_unknown(body, _SINGLE_KEYS)
        return features, _user(body, environ)
    if "features" in body and "features" not in names:
        raise InvalidRequest("features must be an array or an object by feature name", field="features")
    if "user_id" in names or "user_id" not in body:
        return body, header_user(environ)
    return {key: value for key, value in body.items() if key != "user_id"}, _user(body, environ)


def batch_rows(body: dict[str, Any], environ: dict[str, Any]) -> tuple[list[Any], str | None]:
    """The rows (not checked yet) and the user id of `{"instances": [...]}`, also under the name `features`."""
    _refuse_unknown(body, _BATCH_KEYS)
    key = "instances" if "instances" in body else "features"
    if key not in body:
        raise InvalidRequest("instances is missing: give an array of rows", field="instances")
    if key == "instances" and "features" in body:
        raise InvalidRequest("give the rows as instances or as features, not as both", field="features")
    rows = body[key]
    if type(rows) is not list:
        raise InvalidRequest(f"{key} must be an array of rows", field=key)
    return rows, _user(body, environ)


def header_user(environ: dict[str, Any]) -> str | None:
    """The user id in `X-User-Id`, None where there is none. Raises `InvalidRequest` for one that is not 1–256 long."""
    text = environ.get("HTTP_X_USER_ID")
    if text is None:
        return None
    if not text.isascii():
        text = _utf8(text)
    return _checked(text, "X-User-Id")


def _user(body: dict[str, Any], environ: dict[str, Any]) -> str | None:
    """The body's user id, which goes before the header's; that one must be a user id all the same."""
    by_header = header_user(environ) if "HTTP_X_USER_ID" in environ else None
    return _checked(body["user_id"], "user_id") if "user_id" in body else by_header


def _checked(user_id: object, field: str) -> str:
    if type(user_id) is not str or not 0 < len(user_id) <= LONGEST_USER_ID:
        raise InvalidRequest(f"{field} must be a string of 1 to {LONGEST_USER_ID} characters", field=field)
    return user_id


def _utf8(text: str) -> str:
    """WSGI hands header bytes out as Latin-1; the same user named in a body came as UTF-8."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def _refuse_unknown(body: dict[str, Any], known: frozenset[str]) -> None:
    for key in body:
        if key not in known:
            shown = key[:_LONG_TEXT]
            raise InvalidRequest(f"unknown key {shown!r}; known are {', '.join(sorted(known))}", field=shown)
