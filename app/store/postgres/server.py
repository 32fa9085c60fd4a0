"""Look at a PostgreSQL server from outside: can it be the store, and what do its settings risk.

PostgreSQL as the store: writers take turns by one lock, so that the order of numbers is that of the commits.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, ProgrammingError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.errors import SettingError
from app.store.kinds import COPYING, READING, REBUILDING, Access, StoreFacts, unavailable
from app.store.postgres import transfer
from app.store.postgres.connection import WRITERS, SessionLock, connect
from app.store.statements import HEARTBEAT, statements

_RISKS = {
    "fsync": "fsync is off: a crash of its host can damage the store",
    "full_page_writes": "full_page_writes is off: a crash of its host can damage the store",
}


def examine(engine: Engine, place: str) -> StoreFacts:
    """The facts about the server of `engine`. Raises `StoreUnavailable` where it does not answer."""
    try:
        with engine.begin() as connection:
            there = inspect(connection).has_table("schema_version")
            return StoreFacts(
                complaint=_complaint(connection),
                server=f"PostgreSQL {_said(connection, 'SHOW server_version')}",
                risks=tuple(risk for name, risk in _RISKS.items() if _said(connection, f"SHOW {name}") == "off"),
                newest_prediction_us=_figure(connection, "newest_prediction") if there else None,
                heartbeat_us=_figure(connection, "beaten_at") if there else None,
            )
    except (SQLAlchemyError, psycopg.Error) as error:
        raise unavailable(place, error) from error
    finally:
        engine.dispose()


def _complaint(connection: Connection) -> str | None:
    if _said(connection, "SELECT pg_is_in_recovery()"):
        return "the server is a standby, which takes no writes"
    encoding = _said(connection, "SHOW server_encoding")
    if encoding != "UTF8":
        return f"the database's encoding is {encoding}: it has to be UTF8"
    if not _said(connection, "SELECT has_schema_privilege(current_schema(), 'CREATE')"):
        return "its user may not make tables there: let it own the database"
    return None


def _said(connection: Connection, question: str) -> object:
    return connection.execute(text(question)).scalar()


def _figure(connection: Connection, name: str) -> int | None:
    found: int | None = connection.execute(text(statements("checkup")[name]), {"name": HEARTBEAT}).scalar()
    return found


# Whoever writes to the store's tables holds it until the commit.
_TAKE_TURN = f"SELECT pg_advisory_xact_lock({WRITERS})"
# The program refused by permission, or the tables are not there (another database took this one's place): for whoever
# runs the server to mend, and not by a restart of ours.
_OF_THE_SERVER = {"42501", "42P01", "3F000"}
_DEFAULTS = {
    "connect_timeout": "2",  # s; the least that libpq knows
    "tcp_user_timeout": "5000",  # ms
    "keepalives_idle": "10",  # s
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "application_name": "bakeoff",
}


class PostgreSQL:
    """The kind of a `postgresql:` URL. Raises `SettingError` where that names no database, or an unknown option."""

    failures = (psycopg.Error,)
    pause_s = 0.5
    is_fair = True
    file = None

    def __init__(self, url: URL) -> None:
        if not url.database:
            raise SettingError("DATABASE_URL", "it names no database: postgresql://user:password@host:5432/name")
        if "@" in (url.host or ""):
            raise SettingError("DATABASE_URL", "write an @ in the password as %40")
        if not all(isinstance(value, str) for value in url.query.values()):
            raise SettingError("DATABASE_URL", "it names an option twice")
        self._url = url.set(drivername="postgresql+psycopg")
        self.place = f"{url.host or 'the local socket'}:{url.port or 5432}/{url.database}"
        try:
            make_conninfo(**self.parameters())
        except psycopg.Error:
            raise SettingError("DATABASE_URL", "it has an option that PostgreSQL's client does not know") from None

    def parameters(self, access: Access | None = None) -> dict[str, Any]:
        """What libpq is told, the password among it; with the limits of a way to use the store."""
        given: dict[str, Any] = dict(self._url.query)
        named = self._url.translate_connect_args(username="user", database="dbname")
        settings = " ".join(f"-c {name}={value}" for name, value in _limits(access).items())
        options = " ".join(filter(None, (given.pop("options", ""), settings)))
        return {**_DEFAULTS, **named, **given, "client_encoding": "utf8", "options": options}

    def make_room(self) -> None:
        """The database has to be there: making one is for whoever runs the server."""

    def mark(self) -> None:
        """Nothing: a server that is replaced ends its connections."""

    def engine(self, access: Access) -> Engine:
        """Writers take their turn at the beginning of a transaction."""
        engine = create_engine(
            self._url,
            pool_size=1 if access.writes else 2,
            max_overflow=2 if access.writes else 6,  # writers wait for their turn anyway
            pool_timeout=access.busy_s,
            pool_pre_ping=True,
        )

        @event.listens_for(engine, "do_connect")
        def _connect(_dialect: object, _record: object, _args: object, _parameters: object) -> object:
            return connect(access.answer_s, **self.parameters(access))

        if access.writes:

            @event.listens_for(engine, "begin")
            def _begin(connection: Connection) -> None:
                connection.exec_driver_sql(_TAKE_TURN)

        return engine

    def is_our_fault(self, error: Exception) -> bool:
        """A constraint, or a statement that makes no sense; not a connection that was lost while it was carried out."""
        if not isinstance(error, DBAPIError) or error.connection_invalidated:
            return False
        if isinstance(error, IntegrityError | InterfaceError):
            return True
        return isinstance(error, ProgrammingError) and getattr(error.orig, "sqlstate", None) not in _OF_THE_SERVER

    def is_still_open(self, error: Exception) -> bool:
        """Where the server itself has said what was wrong, such as that another held the lock too long."""
        if isinstance(error, PoolTimeout):
            return True
        if not isinstance(error, DBAPIError) or error.connection_invalidated:
            return False
        state = getattr(error.orig, "sqlstate", None)
        return state is not None and state not in _OF_THE_SERVER

    def examine(self, _within_s: float) -> StoreFacts:
        """Of a server: whether it can be the store, and what its settings risk."""
        return examine(self.engine(READING), self.place)

    def snapshot(self, copy: Path) -> bool:
        """By reading all tables in one transaction."""
        return transfer.copy_out(self.engine(COPYING), copy)

    def lock(self, name: str) -> SessionLock:
        """An advisory lock of a session of its own."""
        return SessionLock(self.parameters(READING), name)

    def is_there(self) -> bool:
        """Whether any process has made its tables."""
        return transfer.is_there(self.engine(READING))

    def taking_in(self, backup: Path, aside: str) -> AbstractContextManager[Callable[[], None]]:
        """In one transaction; what was there goes into a schema of that name."""
        return transfer.taking_in(self.engine(REBUILDING), backup, aside)


def _limits(access: Access | None) -> dict[str, str]:
    """Settings of the server for the sessions of one way to use the store; said at connecting, so that they cost no
    round trip. A space is written as an escaped one."""
    if access is None:
        return {}
    limits = {
        "lock_timeout": f"{access.busy_s * 1000:.0f}",
        "statement_timeout": f"{access.answer_s * 1000:.0f}",
        "idle_in_transaction_session_timeout": "60000",
        # A host that vanished must not keep its locks for two hours.
        "tcp_keepalives_idle": "10",
        "tcp_keepalives_interval": "5",
        "tcp_keepalives_count": "3",
        "synchronous_commit": "on" if access.durable else "off",
    }
    # Whatever the server's defaults are. A writer must see all that was committed before its turn came; a reader has
    # one snapshot for all its statements, as SQLite gives it.
    if access.writes:
        return limits | {"default_transaction_isolation": "read\\ committed", "default_transaction_read_only": "off"}
    return limits | {"default_transaction_isolation": "repeatable\\ read", "default_transaction_read_only": "on"}
