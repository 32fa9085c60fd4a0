"""Connections to PostgreSQL that give up on a server which does not answer, and locks that the server keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.types.string import StrDumperUnknown

from app.store.kinds import unavailable

# Added to the server's own limit on a statement: what takes longer is not a slow statement but a server that is gone.
_GRACE_S = 2.0


class BoundedConnection(psycopg.Connection[Any]):
    """A psycopg connection that waits at most `answer_s` seconds and a grace for an answer, and is closed after that.

    Without this a frozen server, or one behind a dead line, would block a thread for ever.
    """

    answer_s: float | None = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """The server's answer. Raises `psycopg.OperationalError` where it does not come in time."""
        if timeout is None and self.answer_s is not None:
            timeout = self.answer_s + _GRACE_S
        try:
            return super().wait(gen, interval, timeout)
        except psycopg.errors._WaitTimeout:
            self.pgconn.finish()
            raise psycopg.OperationalError(f"the server did not answer within {timeout} s") from None


class TextDumper(StrDumperUnknown):
    """Text without NUL, which SQLite can store and PostgreSQL cannot: U+FFFD (replacement character) stands for it."""

    def dump(self, obj: str) -> Any:
        """The text as bytes for the server."""
        return super().dump(obj.replace("\0", "\ufffd"))


def connect(answer_s: float, **parameters: Any) -> BoundedConnection:
    """A connection by `parameters` of libpq, with a limit of `answer_s` seconds. Raises `psycopg.Error`."""
    connection = BoundedConnection.connect(**parameters)
    connection.answer_s = answer_s
    connection.adapters.register_dumper(str, TextDumper)
    return connection


# Advisory locks are two integers, and all programs on a database share them: a number of this program's own, and the
# schema of its tables, because two deployments may have their schemas in one database.
_SCHEMA = "hashtext(current_schema())"
WRITERS = f"1111576389, {_SCHEMA}"
_NAMED: Mapping[str, str] = {
    "monitor.lock": f"1111576390, {_SCHEMA}",
    "rebuild.lock": f"1111576391, {_SCHEMA}",
    "archive.lock": f"1111576392, {_SCHEMA}",
}
_ANSWER_S = 3.0
# The server ends a session whose host has vanished after about 6 s, so that another monitor leads within 10. Both are
# needed: keepalives ask only while nothing is on its way.
_VANISHED = "-c tcp_keepalives_idle=2 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=2 -c tcp_user_timeout=6000"


class SessionLock:
    """A named lock, held by a connection of its own: it is free when that ends, however the holder ended.

    `parameters` are those of libpq. Raises `KeyError` for an unknown name.
    """

    def __init__(self, parameters: Mapping[str, Any], name: str) -> None:
        self._parameters = {**parameters, "options": f"{parameters.get('options', '')} {_VANISHED}".strip()}
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
        """Whether it still is ours: whether the connection that holds it answers."""
        if self._connection is None:
            return False
        try:
            self._connection.execute("SELECT 1")
        except psycopg.Error:
            self.release()
            return False
        return True

    def release(self) -> None:
        """Free the lock. Harmless when repeated."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
