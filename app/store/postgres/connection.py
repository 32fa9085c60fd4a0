"""A connection to PostgreSQL that gives up on a server which does not answer."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.types.string import StrDumperUnknown

# Beyond the server's own limit on a statement: what takes longer is not a slow statement but a server that is gone.
_GRACE_S = 2.0


class BoundedConnection(psycopg.Connection[Any]):
    """As psycopg's, but no wait is longer than `answer_s` and a grace: a frozen server, or one behind a dead line,
    holds nobody for ever. The connection is closed then."""

    answer_s: float | None = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """What the server answers. Raises `psycopg.OperationalError` where it does not."""
        if timeout is None and self.answer_s is not None:
            timeout = self.answer_s + _GRACE_S
        try:
            return super().wait(gen, interval, timeout)
        except psycopg.errors._WaitTimeout:
            self.pgconn.finish()
            raise psycopg.OperationalError(f"the server did not answer within {timeout} s") from None


class TextDumper(StrDumperUnknown):
    """Text as PostgreSQL can hold it: without NUL, which SQLite takes. The sign for the unreadable stands for it."""

    def dump(self, obj: str) -> Any:
        """The text's bytes."""
        return super().dump(obj.replace("\0", "\ufffd"))


def connect(answer_s: float, **parameters: Any) -> BoundedConnection:
    """A connection to what `parameters` of libpq describe. Raises `psycopg.Error`."""
    connection = BoundedConnection.connect(**parameters)
    connection.answer_s = answer_s
    connection.adapters.register_dumper(str, TextDumper)
    return connection
