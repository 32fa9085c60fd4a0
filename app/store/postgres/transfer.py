"""The whole store between PostgreSQL and a SQLite file: a backup is such a file, whichever database it is of."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import psycopg
from sqlalchemy import Connection, Engine, create_engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from app.errors import BackupRefused, StoreUnavailable
from app.store.kinds import unavailable
from app.store.logged import last_number
from app.store.postgres.weeks import WEEK_PREFIX, make_week, week_of
from app.store.schema import applied, build, known
from app.store.statements import statements

_ROWS_AT_ONCE = 2000
LOG = "log"
# Tables to which migrations add rows.
_FILLED = {"schema_version", "log_marks"}
# Tables besides that of predictions whose last rows may have been erased.
_ERASABLE = {"feedback", "corrections"}
_FAILURES = (SQLAlchemyError, psycopg.Error, sqlite3.Error)


def has_store(engine: Engine) -> bool:
    """Whether any process has created the store's tables. Raises `StoreUnavailable`."""
    with _own_errors(), _closing(engine), engine.begin() as connection:
        return bool(applied(connection))


def live_hosts(engine: Engine) -> list[str]:
    """The hosts with a worker of the API that was seen within 15 s. Raises `StoreUnavailable`."""
    with _own_errors(), _closing(engine), engine.begin() as connection:
        if not inspect(connection).has_table("workers"):  # a new database, or one of an earlier release
            return []
        found = connection.execute(text(statements("deployment", "postgresql")["live_hosts"]))
        return [row.host for row in found]


def copy_out(engine: Engine, copy: Path) -> bool:
    """Write all tables, as they are in one snapshot, to a new SQLite file; False where there are none yet.

    Raises `StoreUnavailable`.
    """
    target = create_engine(f"sqlite:///{copy}")
    with _own_errors(), _closing(engine), _closing(target), engine.begin() as source:
        numbers = applied(source)
        if not numbers:
            return False
        if not numbers <= known():
            raise StoreUnavailable("the store was migrated by a later release: make the backup with that release")
        with target.begin() as connection:
            _build_empty(connection, numbers)
            for table, columns in _columns(connection).items():
                _read_table(source, connection, table, columns)
            _keep_sequences(source, connection)
    return True


@contextlib.contextmanager
def restoring(engine: Engine, backup: Path, aside: str) -> Iterator[Callable[[], None]]:
    """Replace all tables by those of the SQLite file `backup`, in one transaction under the write lock.

    The block gets a function that commits; without it everything is rolled back. The former tables go into the schema
    `aside`. Raises `BackupRefused` for a file of a later release, and `StoreUnavailable`.
    """
    with _own_errors(), _closing(engine), contextlib.closing(sqlite3.connect(backup)) as source:
        numbers = {row[0] for row in source.execute("SELECT version FROM schema_version")}
        if not numbers <= known():
            raise BackupRefused("its log was written by a later release: restore it with that release")
        # Closing a transaction rolls it back unless it was committed.
        with engine.connect() as connection, contextlib.closing(connection.begin()) as transaction:
            _move_aside(connection, aside)
            _build_empty(connection, numbers)
            if LOG in (tables := _columns_of_file(source)):
                for week in {week_of(key) for (key,) in source.execute("SELECT id FROM log")}:
                    make_week(connection, week)
            for table, columns in tables.items():
                _write_table(source, connection, table, columns)
            _continue_sequences(source, connection)
            yield transaction.commit


def _build_empty(connection: Connection, numbers: Collection[int]) -> None:
    """Make the tables without the rows that migrations write."""
    build(connection, numbers)
    for table in _FILLED & set(inspect(connection).get_table_names()):
        connection.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608 # nosec B608 - our own names


def _read_table(source: Connection, target: Connection, table: str, columns: Sequence[str]) -> None:
    named = ", ".join(columns)
    insert = f"INSERT INTO {table} ({named}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608 # nosec B608 - our own names
    # Streamed in batches: the log may be larger than memory.
    streaming = source.execution_options(stream_results=True)
    rows = streaming.exec_driver_sql(f"SELECT {named} FROM {table} ORDER BY 1")  # noqa: S608 # nosec B608 - our own names
    while some := rows.fetchmany(_ROWS_AT_ONCE):
        target.exec_driver_sql(insert, [tuple(row) for row in some])


def _write_table(source: sqlite3.Connection, target: Connection, table: str, columns: Sequence[str]) -> None:
    named = ", ".join(columns)
    driver = target.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    with driver.cursor() as cursor, cursor.copy(f"COPY {table} ({named}) FROM STDIN") as copy:
        for row in source.execute(f"SELECT {named} FROM {table} ORDER BY 1"):  # noqa: S608 # nosec B608 - our own names
            copy.write_row(row)


def _move_aside(connection: Connection, schema: str) -> None:
    own = _tables()
    tables = {name for name in inspect(connection).get_table_names() if name in own or name.startswith(WEEK_PREFIX)}
    if not tables:
        return
    connection.exec_driver_sql(f'CREATE SCHEMA "{schema}"')
    for table in sorted(tables):
        connection.exec_driver_sql(f'ALTER TABLE {table} SET SCHEMA "{schema}"')


def _continue_sequences(source: sqlite3.Connection, target: Connection) -> None:
    """Set the sequences to where SQLite's were."""
    # A number is never given twice, or a cursor could meet a new row under an old number.
    last = dict(source.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
    # Both tables of predictions share one run of numbers.
    last["predictions"] = max(last.get("predictions", 0), last.pop(LOG, 0))
    for table, number in last.items():
        [column] = [row[1] for row in source.execute(f"PRAGMA table_info({table})") if row[5]]
        if number:
            target.exec_driver_sql(f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'), {int(number)})")


def _keep_sequences(source: Connection, target: Connection) -> None:
    """Set SQLite's sequences to where the server's were: the last rows may be gone."""
    last = {"predictions": last_number(source)}
    for table in _ERASABLE & set(inspect(source).get_table_names()):
        found = f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {table}_seq_seq"  # noqa: S608 # nosec B608 - our own names
        last[table] = int(source.exec_driver_sql(found).scalar_one())
    for table, number in last.items():
        if number:
            target.exec_driver_sql(f"DELETE FROM sqlite_sequence WHERE name = '{table}'")  # noqa: S608 # nosec B608 - our own names
            target.exec_driver_sql(f"INSERT INTO sqlite_sequence (name, seq) VALUES ('{table}', {number})")  # noqa: S608 # nosec B608 - our own names


def _tables() -> set[str]:
    """The tables of this release, found by running its migrations in memory."""
    engine = create_engine("sqlite://")
    with _closing(engine), engine.begin() as connection:
        build(connection, known())
        return set(inspect(connection).get_table_names())


def _columns(connection: Connection) -> Mapping[str, list[str]]:
    schema = inspect(connection)
    return {table: [column["name"] for column in schema.get_columns(table)] for table in schema.get_table_names()}


def _columns_of_file(source: sqlite3.Connection) -> Mapping[str, list[str]]:
    engine = create_engine("sqlite://", creator=lambda: source)
    with engine.connect() as connection:
        return _columns(connection)


@contextlib.contextmanager
def _own_errors() -> Iterator[None]:
    try:
        yield
    except _FAILURES as error:
        raise unavailable("the store cannot be copied", error) from error


@contextlib.contextmanager
def _closing(engine: Engine) -> Iterator[None]:
    try:
        yield
    finally:
        engine.dispose()
