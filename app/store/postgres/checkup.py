"""Look at a PostgreSQL server from outside: can it be the store, and what do its settings risk."""

from __future__ import annotations

import psycopg
from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from app.store.facts import StoreFacts
from app.store.failures import unavailable
from app.store.monitor_names import HEARTBEAT
from app.store.statements import statements

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
