"""Connections to the store: which database it is, opened on first use, never carried over a fork, errors as our own."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from os import getpid
from typing import Any, NamedTuple

from sqlalchemy import URL, Connection, Engine, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.errors import SettingError, StoreUnavailable
from app.store.kinds import PROBING, READING, REBUILDING, Access, Kind, unavailable
from app.store.schema import migrate, pending
from app.store.sqlite import BEGIN_WRITING, SQLite
from app.store.statements import statements

_USE = "the store cannot be used"
_ALL_IN_USE = f"{_USE}: all connections that this process may open are in use; DATABASE_CONNECTIONS says how many"

_SUPPORTED = (
    "use postgresql://user:password@host:5432/name or sqlite:////path/to/file, or leave it empty for SQLite in DATA_DIR"
)


# A refused commit speaks for the store for this long, unless one of its kind succeeds. One may be another writer's long
# commit.
_REFUSED_FOR_S = 10.0
_REFUSED_TWICE = 2


class Driven(NamedTuple):
    """A connection of SQLite's driver, and the engine by which it was made."""

    connection: sqlite3.Connection
    engine: Engine


class Database:
    """The store behind a URL. Thread-safe. Making one touches nothing; the first use migrates the schema.

    Every failure to use the store is `StoreUnavailable`, and the next use tries again. Raises `SettingError` for
    `DATABASE_URL` where the URL is of a kind that is not supported.
    """

    def __init__(self, url: str) -> None:
        self.kind: Kind = kind_of(url)
        self._failures: tuple[type[Exception], ...] = (SQLAlchemyError, OSError, *self.kind.failures)
        self._lock = threading.RLock()
        self._make: Callable[[Access], Engine] = self.kind.engine
        self._engines: dict[Access, Engine] = {}
        self._pid = getpid()
        self._inherited: list[tuple[dict[Access, Engine], Driven | None]] = []
        self._driven: Driven | None = None
        self._driving: Driven | None = None
        self._opened_before = False
        self._identity: object = None
        self._writing = threading.local()  # `connection`: of this thread's own transaction
        self._refusal: tuple[float, str] | None = None
        # For each kind of writer how many commits in a row were refused, until when that counts, and why.
        self._refused: dict[Access, tuple[int, float, str]] = {}

    @contextmanager
    def begin(self, access: Access) -> Iterator[Connection]:
        """A transaction: committed at the end of the block, rolled back where it raises.

        A reader sees the store as it is at one moment. A writer sees everything committed before, and nobody else
        writes meanwhile; what its block reads by this `Database`, it reads by the same connection.
        """
        with self._told(access):
            held: Connection | None = getattr(self._writing, "connection", None)
            if held is not None and not access.writes:
                # A second one would be waited for under everybody's lock, and in vain where a process has but one.
                # After a savepoint, since a server would roll back the whole for a query that fails.
                with held.begin_nested():
                    yield held
                return
            with self._engine(access).begin() as connection:
                if not access.writes:
                    yield connection
                    return
                self._writing.connection = connection
                try:
                    yield connection
                finally:
                    self._writing.connection = held
            self._refused.pop(access, None)

    @contextmanager
    def driven(self, access: Access) -> Iterator[Driven]:
        """As `begin` for a writer of a file, by a connection of the driver itself; for one thread.

        SQLAlchemy's transaction costs as much as inserting ten rows.
        """
        with self._told(access):
            with self._lock:
                engine = self._engine(access)
                if self._driven is None or self._driven.engine is not engine:
                    self._driven = _detached(engine)
                kept = self._driving = self._driven
            driver, changes = kept.connection, kept.connection.total_changes
            try:
                driver.execute(BEGIN_WRITING)
                yield kept
                # Not commit(), which does nothing where there is no transaction any more.
                driver.execute("COMMIT")
                # What writes nothing is taken on a full disk, too.
                if driver.total_changes != changes:
                    self._refused.pop(access, None)
            except BaseException:
                driver.rollback()
                raise
            finally:
                with self._lock:
                    self._driving = None
                    if self._driven is not kept:
                        driver.close()

    @contextmanager
    def _told(self, access: Access) -> Iterator[None]:
        """Tell errors as our own, and note that a commit was refused."""
        try:
            yield
        except self._failures as error:
            if self.kind.is_program_error(error):
                raise
            if not self.kind.keeps_connections(error):
                self.close()  # the next use opens another connection
            # A wait for one of this process's own connections says nothing of the store.
            own = isinstance(error, PoolTimeout)
            refusal = StoreUnavailable(_ALL_IN_USE) if own else unavailable(_USE, error)
            if access.writes and access is not PROBING and not own:
                times = self._refused.get(access, (0, 0.0, ""))[0] + 1
                self._refused[access] = times, time.monotonic() + _REFUSED_FOR_S, refusal.message
            raise refusal from error

    def probe(self) -> None:
        """Write something that changes nothing. Raises `StoreUnavailable` where the store cannot be written.

        It cannot be where the last commits of this process were refused: on a full disk, so small a write as this one
        may still find room in a log that has been enlarged before.
        """
        with self.begin(PROBING) as connection:
            connection.execute(text(statements("schema")["touch"]))
        for times, until, message in tuple(self._refused.values()):
            if times >= _REFUSED_TWICE and time.monotonic() < until:
                raise StoreUnavailable(message)

    def close(self) -> None:
        """Close this process's connections; the next use opens new ones. Call before a fork and at the end."""
        with self._lock:
            self._forget_inherited()
            engines, self._engines = self._engines, {}
            driven, self._driven, self._identity = self._driven, None, None
            # Its thread may be in a transaction, and closes it afterwards. Left alone, it would wait for the collector.
            if driven is not None and driven is not self._driving:
                driven.connection.close()
        for engine in engines.values():
            engine.dispose()

    def _engine(self, access: Access) -> Engine:
        with self._lock:
            self._forget_inherited()
            if self._engines and self.kind.identity() != self._identity:
                self.close()  # the file was replaced: writing on would go to one that nobody can see
            if not self._engines:
                self._open_first()
            if access not in self._engines:
                self._engines[access] = self._make(access)
            return self._engines[access]

    def _open_first(self) -> None:
        """Open the store and migrate its schema. Raises one of the kind's failures."""
        # The threads that wait for the lock would all wait for the same refusal, one after another: for a moment it is
        # repeated without asking.
        if self._refusal is not None and time.monotonic() < self._refusal[0]:
            raise StoreUnavailable(self._refusal[1])
        try:
            self._engines, self._identity = self._opened()
        except self._failures as error:
            if self.kind.retry_after_s:
                self._refusal = time.monotonic() + self.kind.retry_after_s, unavailable(_USE, error).message
            raise

    def _opened(self) -> tuple[dict[Access, Engine], object]:
        if not self._opened_before:
            self.kind.make_folder()
            self._opened_before = True
        # Checked without the write lock first: a store that is only busy opens at once.
        self._make = self.kind.engines()
        reader, writer = self._make(READING), self._make(REBUILDING)
        try:
            if pending(reader):
                migrate(writer)
            return {READING: reader}, self.kind.identity()
        except BaseException:
            reader.dispose()
            raise
        finally:
            writer.dispose()

    def _forget_inherited(self) -> None:
        # Connections must not cross a fork, not even to be closed there: they are kept, untouched and unused.
        if self._pid != getpid():
            self._inherited.append((self._engines, self._driven))
            self._engines, self._driven, self._identity, self._pid = {}, None, None, getpid()


def _detached(engine: Engine) -> Driven:
    pooled = engine.raw_connection()
    connection: Any = pooled.driver_connection
    pooled.detach()
    return Driven(connection, engine)


def kind_of(url: str) -> Kind:
    """The kind of database that a URL names. Raises `SettingError` for `DATABASE_URL`."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Neither the URL nor SQLAlchemy's error goes into the message: both hold the password.
        raise SettingError("DATABASE_URL", f"that is not a URL: {_SUPPORTED}") from None
    make = _KINDS.get(parsed.drivername)
    if make is None:
        raise SettingError("DATABASE_URL", f"{parsed.drivername} is not supported: {_SUPPORTED}")
    return make(parsed)


def _sqlite(url: URL) -> Kind:
    return SQLite(url)


def _postgres(url: URL) -> Kind:
    from app.store.postgres.server import PostgreSQL  # here: psycopg is loaded only where it is used

    return PostgreSQL(url)


_KINDS: Mapping[str, Callable[[URL], Kind]] = {
    "sqlite": _sqlite,
    "sqlite+pysqlite": _sqlite,
    "postgresql": _postgres,
    "postgresql+psycopg": _postgres,
}
