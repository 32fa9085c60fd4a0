"""Numbers in a query string."""

from __future__ import annotations

from collections.abc import Mapping

from app.errors import InvalidRequest

_MOST_DIGITS = 19


def whole_number(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    """The whole number from 1 to `most` called `name`. Raises `InvalidRequest` that names it."""
    text = query.get(name)
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS and 1 <= int(text) <= most:
        return int(text)
    raise InvalidRequest(f"{name} must be a whole number from 1 to {most}", field=name)
