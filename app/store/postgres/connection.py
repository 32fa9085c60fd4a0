"""A connection to PostgreSQL that gives up on a server which does not answer.

Locks of the server: a number of this program's own, and the schema in which its tables are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.types.string import StrDumperUnknown

from app.store.kinds import unavailable

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


_SCHEMA = "hashtext(current_schema())"
WRITERS = f"1111576389, {_SCHEMA}"
_NAMED: Mapping[str, str] = {
    "monitor.lock": f"1111576390, {_SCHEMA}",
    "rebuild.lock": f"1111576391, {_SCHEMA}",
}
_ANSWER_S = 3.0


class SessionLock:
    """The lock of that name, held by a connection of its own: it is free when that ends, however the holder died.

    `parameters` are those of libpq. Raises `KeyError` for a name that is not in the table.
    """

    def __init__(self, parameters: Mapping[str, Any], name: str) -> None:
        self._parameters = parameters
        self._key = _NAMED[name]
        self._connection: BoundedConnection | None = None

    def acquire(self) -> bool:
        """Whether the lock is ours now; does not wait. Raises `StoreUnavailable`."""
        try:
            if self._connection is None:
                self._connection = connect(_ANSWER_S, autocommit=True, **self._parameters)
            row = self._connection.execute(f"SELECT pg_try_advisory_lock({self._key})").fetchone()
        except psycopg.Error as error:
            self.release()
            raise unavailable("the store cannot be used", error) from error
        return bool(row and row[0])

    def held(self) -> bool:
        """Whether it still is ours: the connection that holds it answers."""
        if self._connection is None:
            return False
        try:
            self._connection.execute("SELECT 1")
        except psycopg.Error:
            self.release()
            return False
        return True

    def release(self) -> None:
        """Let another one have it; once more is harmless."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
