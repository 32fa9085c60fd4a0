"""PostgreSQL as the store: writers exclude each other by one lock, so that row numbers rise in commit order."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, ProgrammingError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.errors import SettingError
from app.store.archive.marks import last_mark
from app.store.kinds import COPYING, READING, REBUILDING, Access, StoreFacts, unavailable
from app.store.logged import newest_served_at_us
from app.store.postgres import transfer
from app.store.postgres.connection import WRITERS, SessionLock, connect
from app.store.statements import HEARTBEAT, statements

_RISKS = {
    "fsync": "fsync is off: a crash of its host can damage the store",
    "full_page_writes": "full_page_writes is off: a crash of its host can damage the store",
}
# Held by every writer until its commit. Without it a row with a lower number could be committed after a higher one, and
# a cursor that has passed the higher one would never see it.
_LOCK_WRITERS = f"SELECT pg_advisory_xact_lock({WRITERS})"
# Permission denied, or the tables are missing because another database took this one's place: the server's operator
# mends these, and the program goes on trying until then.
_OF_THE_SERVER = {"42501", "42P01", "3F000"}
# Tables from which an erasure deletes, or in which it replaces something.
_VACUUM = (
    "VACUUM predictions, log, feedback, corrections, disagreements, decisions, monitor_state, monitor_users, "
    "monitor_units, monitor_windows"
)
_DEFAULTS = {
    "connect_timeout": "2",  # s; the least that libpq knows
    "tcp_user_timeout": "5000",  # ms
    "keepalives_idle": "10",  # s
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "application_name": "bakeoff",
}


_IDLE_S = 60.0  # in a transaction
# Sent with the connection request. A host that vanished must not keep its locks for two hours.
_SESSION = (
    f"-c idle_in_transaction_session_timeout={_IDLE_S * 1000:.0f} "
    "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3 -c tcp_user_timeout=25000"
)
_CONNECTIONS, _MOST, _KEPT = "connections", 8, 2
_WAIT_S = 5.0  # for a connection, where all are in use


def examine(engine: Engine, place: str) -> StoreFacts:
    """The condition of the server of `engine`, which is disposed of; `place` names it in errors.

    Raises `StoreUnavailable` where it does not answer.
    """
    try:
        with engine.begin() as connection:
            has_tables = inspect(connection).has_table("schema_version")
            return StoreFacts(
                complaint=_complaint(connection),
                server=f"PostgreSQL {_value(connection, 'SHOW server_version')}",
                risks=tuple(risk for name, risk in _RISKS.items() if _value(connection, f"SHOW {name}") == "off"),
                newest_prediction_us=_newest_prediction(connection) if has_tables else None,
                heartbeat_us=_figure(connection, "heartbeat") if has_tables else None,
                archive=last_mark(connection) if inspect(connection).has_table("archive_marks") else None,
                open_erasure_us=_first(connection, "erasures", statements("erasing")["first_open"]),
                key=_first(connection, "deployment_keys", statements("deployment")["fingerprint"]),
            )
    except (SQLAlchemyError, psycopg.Error) as error:
        raise unavailable(place, error) from error
    finally:
        engine.dispose()


def _first(connection: Connection, table: str, question: str) -> Any:
    """What the question finds first; None where the store of an earlier release has no such table."""
    return connection.execute(text(question)).scalar() if inspect(connection).has_table(table) else None


def _complaint(connection: Connection) -> str | None:
    if _value(connection, "SELECT pg_is_in_recovery()"):
        return "the server is a standby, which accepts no writes: use the primary's address"
    encoding = _value(connection, "SHOW server_encoding")
    if encoding != "UTF8":
        return f"the database's encoding is {encoding}: create it with encoding UTF8"
    if not _value(connection, "SELECT has_schema_privilege(current_schema(), 'CREATE')"):
        return "its user may not create tables: make it the owner of the database"
    return None


def _value(connection: Connection, question: str) -> object:
    return connection.execute(text(question)).scalar()


def _newest_prediction(connection: Connection) -> int | None:
    has_log = inspect(connection).has_table("log")  # a store of an earlier release has none
    return newest_served_at_us(connection) if has_log else None


def _figure(connection: Connection, name: str) -> int | None:
    found: int | None = connection.execute(text(statements("checkup")[name]), {"name": HEARTBEAT}).scalar()
    return found


class PostgreSQL:
    """The kind of a `postgresql:` URL. Raises `SettingError` where it names no database, or an unknown option.

    `?connections=N` in the URL: how many connections a process may open at once.
    """

    failures = (psycopg.Error,)
    retry_after_s = (
        0.5  # finding out that a server is down takes `connect_timeout`: not every request must wait for that
    )
    is_fair = True  # advisory locks are granted in order
    file = None

    def __init__(self, url: URL) -> None:
        if not url.database:
            raise SettingError("DATABASE_URL", "it names no database: postgresql://user:password@host:5432/name")
        if "@" in (url.host or ""):
            raise SettingError("DATABASE_URL", "write an @ in the password as %40")
        if not all(isinstance(value, str) for value in url.query.values()):
            raise SettingError("DATABASE_URL", "it names an option twice")
        most = str(url.query.get(_CONNECTIONS, _MOST))
        if not most.isdecimal() or not int(most):
            raise SettingError("DATABASE_URL", f"{_CONNECTIONS} must be a whole number of at least 1")
        self._most = int(most)
        self._url = url.set(drivername="postgresql+psycopg").difference_update_query([_CONNECTIONS])
        self.place = f"{url.host or 'the local socket'}:{url.port or 5432}/{url.database}"
        try:
            make_conninfo(**self.parameters())
        except psycopg.Error:
            raise SettingError("DATABASE_URL", "it has an option that PostgreSQL's client does not know") from None

    @property
    def server(self) -> PostgreSQL:
        """This kind, which is a server."""
        return self

    def parameters(self) -> dict[str, Any]:
        """Parameters for libpq, the password among them."""
        given: dict[str, Any] = dict(self._url.query)
        named = self._url.translate_connect_args(username="user", database="dbname")
        options = " ".join(filter(None, (given.pop("options", ""), _SESSION)))
        return {**_DEFAULTS, **named, **given, "client_encoding": "utf8", "options": options}

    def make_folder(self) -> None:
        """Does nothing: the operator of the server creates the database."""

    def identity(self) -> None:
        """None: a server that is replaced ends its connections."""

    def engine(self, access: Access) -> Engine:
        """A pool of its own for one way to use the store."""
        return self.engines()(access)

    def engines(self) -> Callable[[Access], Engine]:
        """Engines that share one pool; each begins its transactions with the limits of its way to use the store."""
        kept = min(_KEPT, self._most)
        shared = create_engine(
            self._url, pool_size=kept, max_overflow=self._most - kept, pool_timeout=_WAIT_S, pool_pre_ping=True
        )

        @event.listens_for(shared, "do_connect")
        def _connect(_dialect: object, _record: object, _args: object, _parameters: object) -> object:
            # Autocommit: `_begin` begins, in the same message that sets what holds for this transaction only.
            return connect(READING.answer_s, autocommit=True, **self.parameters())

        def of(access: Access) -> Engine:
            engine, beginning = shared.execution_options(), _beginning(access)

            @event.listens_for(engine, "begin")
            def _begin(connection: Connection) -> None:
                driver: Any = connection.connection.driver_connection
                driver.answer_s = access.answer_s
                try:
                    driver.execute(beginning, prepare=False)  # several statements cannot be prepared
                except psycopg.Error as error:
                    raise DBAPIError.instance(beginning, None, error, psycopg.Error, dialect=engine.dialect) from error

            return engine

        return of

    def is_program_error(self, error: Exception) -> bool:
        """Whether `error` is a violated constraint or an invalid statement, and not a connection lost meanwhile."""
        if not isinstance(error, DBAPIError) or error.connection_invalidated:
            return False
        if isinstance(error, IntegrityError | InterfaceError):
            return True
        return isinstance(error, ProgrammingError) and getattr(error.orig, "sqlstate", None) not in _OF_THE_SERVER

    def keeps_connections(self, error: Exception) -> bool:
        """Whether the server itself reported the error, such as a lock that was not free in time."""
        if isinstance(error, PoolTimeout):
            return True
        if not isinstance(error, DBAPIError) or error.connection_invalidated:
            return False
        state = getattr(error.orig, "sqlstate", None)
        return state is not None and state not in _OF_THE_SERVER

    def examine(self, _within_s: float) -> StoreFacts:
        """Whether the server can be the store, and what its settings risk."""
        return examine(self.engine(READING), self.place)

    def snapshot(self, copy: Path) -> bool:
        """Copy all tables in one transaction."""
        return transfer.copy_out(self.engine(COPYING), copy)

    def scrub(self, _texts: Collection[str]) -> str:
        """Free the room of deleted rows, so that others take it."""
        try:
            with contextlib.closing(connect(REBUILDING.answer_s, autocommit=True, **self.parameters())) as own:
                own.execute(_VACUUM)
        except psycopg.Error as error:
            raise unavailable("the room of deleted rows cannot be freed", error) from error
        return (
            "PostgreSQL has freed the room of the erased rows, and overwrites it when it is used again. VACUUM FULL "
            "does so at once, while the service is stopped. Its archived write-ahead log still has them."
        )

    def lock(self, name: str) -> SessionLock:
        """An advisory lock, held by a session of its own."""
        return SessionLock(self.parameters(), name)

    def has_store(self) -> bool:
        """Whether any process has created the tables."""
        return transfer.has_store(self.engine(READING))

    def live_hosts(self) -> list[str]:
        """The hosts on which an API uses this database."""
        return transfer.live_hosts(self.engine(READING))

    def restoring(self, backup: Path, aside: str) -> AbstractContextManager[Callable[[], None]]:
        """Replace all tables in one transaction."""
        return transfer.restoring(self.engine(REBUILDING), backup, aside)


def _beginning(access: Access) -> str:
    """The statements that begin a transaction of one way to use the store, sent as one message."""
    # Set whatever the server's defaults are. A writer must see everything that was committed before it got the lock; a
    # reader has one snapshot for all its statements, as with SQLite.
    mode = "READ COMMITTED READ WRITE" if access.writes else "REPEATABLE READ READ ONLY"
    statements = [
        f"BEGIN ISOLATION LEVEL {mode}",
        f"SET LOCAL lock_timeout = {access.busy_s * 1000:.0f}",
        f"SET LOCAL statement_timeout = {access.answer_s * 1000:.0f}",
        f"SET LOCAL synchronous_commit = {'on' if access.durable else 'off'}",
    ]
    if not access.writes:
        return "; ".join(statements)
    # A host that the network cut off has the lock of all writers until its transaction is ended for it.
    idle_s = min(access.answer_s, _IDLE_S)
    return "; ".join(
        [*statements, f"SET LOCAL idle_in_transaction_session_timeout = {idle_s * 1000:.0f}", _LOCK_WRITERS]
    )
