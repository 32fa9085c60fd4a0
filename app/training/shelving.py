"""Names and aliases of new versions on the shelf."""

from __future__ import annotations

from app.errors import ArtefactRefused, InvalidRequest
from app.inference.shelf import Shelf

CHAMPION, CHALLENGER = "champion", "challenger"


def require_free(shelf: Shelf, version: str) -> None:
    """Raise `InvalidRequest` where that cannot name a version, `ShelfConflict` where it is taken."""
    if version in (CHAMPION, CHALLENGER):
        raise InvalidRequest(f"{version!r} is an alias and cannot name a version", field="version")
    shelf.reserve(version)


def introduce(shelf: Shelf, version: str) -> str | None:
    """Give a new version the alias that is still free: `champion`, then `challenger`; None where both are taken."""
    try:
        taken = shelf.aliases()
    except ArtefactRefused:
        taken = {}  # a broken table says nothing; pointing writes a new one
    alias = next((alias for alias in (CHAMPION, CHALLENGER) if alias not in taken), None)
    if alias is not None:
        shelf.point(alias, version)
    return alias
