"""What the webhook has been told: kept with the monitor's state, and not touched by a rebuild of it."""

from __future__ import annotations

from sqlalchemy import text

from app.store.access import READING, RECORDING
from app.store.engine import Database
from app.store.statements import statements


class NoticeState:
    """One JSON text. Every call raises `StoreUnavailable` where the store cannot be used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def told(self) -> str | None:
        """The text last put, None where there was none."""
        with self._database.begin(READING) as connection:
            body = connection.execute(text(statements("notices")["told"])).scalar()
        return None if body is None else str(body)

    def put_told(self, body: str) -> None:
        """Keep a text."""
        with self._database.begin(RECORDING) as connection:
            connection.execute(text(statements("notices")["put_told"]), {"body": body})
