"""Why the api gave no result, as types that a page can put into words."""

from __future__ import annotations


class NoResult(Exception):
    """The api gave no result; `message` says why in a sentence for people."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ApiDown(NoResult):
    """Nothing answers at the api's address, or not in time."""


class NotThere(NoResult):
    """The api answers and does not have this part (yet)."""


class NotNow(NoResult):
    """The api has the part and cannot serve it at the moment."""


class Refused(NoResult):
    """The api refused the call. `code` is stable; `field` and `index` (of a row) say what is at fault."""

    def __init__(
        self, status: int, code: str, message: str, field: str | None = None, index: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.field = field
        self.index = index


class NotUnderstood(NoResult):
    """The api answered something that is not in its contract."""
