"""What stands in a query string, each name at most once: of two values, neither is surely the one that was meant."""

from __future__ import annotations

from werkzeug.datastructures import MultiDict

from app.errors import InvalidRequest

_MOST_DIGITS = 19


def one_text(query: MultiDict[str, str], name: str) -> str | None:
    """What `name` says; None where it is not there. Raises `InvalidRequest` where it is there more than once."""
    values = query.getlist(name)
    if len(values) > 1:
        raise InvalidRequest(f"{name} is given {len(values)} times: give it once", field=name)
    return values[0] if values else None


def whole_number(query: MultiDict[str, str], name: str, default: int, most: int) -> int:
    """The whole number from 1 to `most` called `name`. Raises `InvalidRequest` that names it."""
    text = one_text(query, name)
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS and 1 <= int(text) <= most:
        return int(text)
    raise InvalidRequest(f"{name} must be a whole number from 1 to {most}", field=name)
