"""What a driver says, as our own error: in one line, and without its statement."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

from app.errors import StoreUnavailable


def unavailable(what: str, error: Exception) -> StoreUnavailable:
    """`what` cannot be done because of `error`; one that is our own already stays as it is."""
    if isinstance(error, StoreUnavailable):
        return error
    reason = str(error.orig if isinstance(error, DBAPIError) else error)
    return StoreUnavailable(f"{what}: {'; '.join(line.strip() for line in reason.splitlines() if line.strip())}")
