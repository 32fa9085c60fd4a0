"""Connections to the store: opened on first use in each process, never carried over a fork, errors as our own."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from os import getpid
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, InterfaceError, ProgrammingError, SQLAlchemyError

from app.errors import SettingError, StoreUnavailable
from app.store.access import DURABLE, READING, RECORDING, Access
from app.store.migrating import migrate, pending
from app.store.statements import statements

# Misuse on our side: not something that waiting could mend.
_OUR_FAULT = (IntegrityError, ProgrammingError, InterfaceError)
_WAL_LIMIT_BYTES = 64 * 1024 * 1024


class Database:
    """The store behind a URL. Safe in threads; every failure to use it is `StoreUnavailable`, and the next use tries
    anew. The schema is brought up to date on first use. Making one touches nothing.

    Raises `SettingError` for `DATABASE_URL` where the URL is of a kind that is not supported.
    """

    def __init__(self, url: str) -> None:
        self._url = _supported(url)
        self._path = Path(str(self._url.database))
        self._lock = threading.RLock()
        self._engines: dict[Access, Engine] = {}
        self._pid = getpid()
        self._inherited: list[dict[Access, Engine]] = []
        self._opened_before = False
        self._inode: int | None = None

    @contextmanager
    def begin(self, access: Access) -> Iterator[Connection]:
        """A transaction: committed at the end of the block, rolled back where it raises."""
        try:
            with self._engine(access).begin() as connection:
                yield connection
        except _OUR_FAULT:
            raise
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            self.close()  # what broke may be the connection: the next use opens another
            raise StoreUnavailable(f"the store cannot be used: {_reason(error)}") from error

    def probe(self) -> None:
        """Prove that the store takes a write. Raises `StoreUnavailable`."""
        with self.begin(RECORDING) as connection:
            connection.execute(text(statements("schema")["touch"]))

    def close(self) -> None:
        """Close what this process has open; the next use opens it again. Call before a fork and at the end."""
        with self._lock:
            self._forget_inherited()
            engines, self._engines = self._engines, {}
            self._inode = None
        for engine in engines.values():
            engine.dispose()

    def _engine(self, access: Access) -> Engine:
        with self._lock:
            self._forget_inherited()
            if self._inode is not None and self._path.stat().st_ino != self._inode:
                self.close()  # the file was replaced: writing on would go to one that nobody can see
            if not self._engines:
                self._open_first()
            if access not in self._engines:
                self._engines[access] = _sqlite_engine(self._url, access)
            return self._engines[access]

    def _open_first(self) -> None:
        """Bring the schema up to date. The folder is made at start only: one that vanishes later is a lost disk."""
        if not self._opened_before:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._opened_before = True
        # Looked at without the write lock first: a store that is merely busy opens at once.
        reader, writer = _sqlite_engine(self._url, READING), _sqlite_engine(self._url, DURABLE)
        try:
            if pending(reader):
                migrate(writer)
            self._inode = self._path.stat().st_ino
        except BaseException:
            reader.dispose()
            writer.dispose()
            raise
        self._engines = {READING: reader, DURABLE: writer}

    def _forget_inherited(self) -> None:
        # SQLite's connections must not cross a fork, not even to be closed there: keep them, untouched.
        if self._pid != getpid():
            self._inherited.append(self._engines)
            self._engines, self._inode, self._pid = {}, None, getpid()


def _supported(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise SettingError("DATABASE_URL", "that is not a URL such as sqlite:////var/lib/bakeoff.sqlite") from None
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise SettingError(
            "DATABASE_URL",
            f"{parsed.drivername} is not supported: use sqlite:////path/to/file, or leave it empty for DATA_DIR",
        )
    if parsed.database in (None, "", ":memory:") or str(parsed.database).startswith("file:"):
        raise SettingError("DATABASE_URL", "the store must be a file that all processes share: sqlite:////path/to/file")
    return parsed


def _sqlite_engine(url: URL, access: Access) -> Engine:
    engine = create_engine(url, connect_args={"timeout": access.busy_s})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves: the driver would begin without the write lock
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if access.durable else 'NORMAL'}")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if access.writes else "BEGIN")

    return engine


def _reason(error: Exception) -> str:
    return str(error.orig if isinstance(error, DBAPIError) else error)
