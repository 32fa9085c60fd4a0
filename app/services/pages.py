"""The limits of what one call lists, checked in one place."""

from __future__ import annotations

from app.errors import InvalidRequest

LARGEST_PAGE = 1000


def require_number(name: str, value: int, most: int) -> None:
    """Raise `InvalidRequest` that names the parameter unless `value` is from 1 to `most`."""
    if not 1 <= value <= most:
        raise InvalidRequest(f"{name} must be a whole number from 1 to {most}", field=name)
