"""Reads what was served, newest first, with the outcomes that are known."""

from __future__ import annotations

from sqlalchemy import text

from app.services.history import LoggedAnswer, Place
from app.store.access import READING
from app.store.engine import Database
from app.store.statements import statements


class PredictionHistory:
    """The log of predictions for people. Every call raises `StoreUnavailable` where the store cannot be read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, limit: int, version: str | None = None, before: Place | None = None) -> list[LoggedAnswer]:
        """Up to `limit` rows, newest first: of one version, and older than `before`, where these are given."""
        conditions = ["TRUE"]
        parameters: dict[str, object] = {"limit": limit}
        if version is not None:
            conditions.append("p.version = :version")
            parameters["version"] = version
        if before is not None:
            conditions.append("p.served_at_us <= :before_us AND p.prediction_id < :before_id")
            parameters |= {"before_us": before.served_at_us, "before_id": before.prediction_id}
        # Ids sort by the time of serving, `seq` only by that of writing. Each order has an index.
        order = "p.prediction_id DESC" if version is None else "p.served_at_us DESC, p.prediction_id DESC"
        query = f"{statements('predictions')['page']} WHERE {' AND '.join(conditions)} ORDER BY {order} LIMIT :limit"
        with self._database.begin(READING) as connection:
            rows = connection.execute(text(query), parameters).all()
        return [LoggedAnswer(*row) for row in rows]

    def place(self, prediction_id: str) -> Place | None:
        """Where a prediction stands in the log; None where it is not in it."""
        query = text(statements("predictions")["served_at"])
        with self._database.begin(READING) as connection:
            served_at_us = connection.execute(query, {"prediction_id": prediction_id}).scalar()
        return None if served_at_us is None else Place(prediction_id, served_at_us)

    def has_version(self, version: str) -> bool:
        """Whether `version` ever answered."""
        with self._database.begin(READING) as connection:
            found = connection.execute(text(statements("predictions")["has_version"]), {"version": version})
            return found.first() is not None
