"""Locks of the server: a number of this program's own, and the schema in which its tables are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg

from app.store.failures import unavailable
from app.store.postgres.connection import BoundedConnection, connect

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
