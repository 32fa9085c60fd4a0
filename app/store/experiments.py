"""Reads the experiments, with the last report that the monitor made of each."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import text

from app.domain.experiment import ExperimentTerms
from app.domain.report import ExperimentReport
from app.services.experiment_views import ExperimentRecord
from app.store.access import READING
from app.store.engine import Database
from app.store.monitor_names import REPORTS
from app.store.statements import statements


class _Body(msgspec.Struct):
    terms: ExperimentTerms
    versions: tuple[str, ...] = ()
    champion: str | None = None


class ExperimentTable:
    """The table `experiments`. Every call raises `StoreUnavailable` where the store cannot be read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest(self, limit: int) -> list[ExperimentRecord]:
        """The newest `limit` experiments, newest first."""
        return self._select("newest", limit=limit)

    def find(self, experiment_id: str) -> ExperimentRecord | None:
        """The experiment of that id, None where there never was one."""
        found = self._select("of_id", id=experiment_id)
        return found[0] if found else None

    def _select(self, which: str, **parameters: object) -> list[ExperimentRecord]:
        named = statements("experiments")
        query = text(f"{named['experiments']} {named[which]}")
        with self._database.begin(READING) as connection:
            rows = connection.execute(query, {"reports": REPORTS, **parameters}).all()
        return [_record(row) for row in rows]


def _record(row: Any) -> ExperimentRecord:
    body = msgspec.json.decode(row.body, type=_Body)
    return ExperimentRecord(
        id=row.id,
        ordinal=row.ordinal,
        started_at_us=row.started_at_us,
        ended_at_us=row.ended_at_us,
        ended_by=row.ended_by,
        terms=body.terms,
        versions=body.versions,
        champion=body.champion,
        report=msgspec.json.decode(row.report, type=ExperimentReport) if row.report else None,
    )
