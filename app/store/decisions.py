"""The audit log: each decision in one transaction with the configuration that it brought."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from app.domain.decision import AuditEntry, Change, Checked, Decided, Ruling
from app.domain.experiment import Configuration
from app.domain.report import ExperimentReport
from app.domain.timestamps import iso_utc
from app.errors import NotReady
from app.store.access import DURABLE, READING
from app.store.configs import append_to, latest_of
from app.store.engine import Database
from app.store.statements import statements

_BEYOND_ALL = 1 << 62


class DecisionTable:
    """The table `decisions`, appended to only. Every call raises `StoreUnavailable` where the store is unusable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def decide(self, judge: Callable[[Configuration | None], Ruling | None]) -> Decided:
        """Write what `judge` rules after it has seen the configuration in force (None: change nothing).

        One transaction under the write lock, durable when it returns: the configuration, the end of one experiment
        and the beginning of the next, and the entry are there together or not at all. Raises what `judge` raises, and
        `NotReady` where there is neither a configuration nor a ruling.
        """
        with self._database.begin(DURABLE) as connection:
            latest = latest_of(connection)
            ruling = judge(latest)
            if ruling is not None:
                configuration = append_to(connection, ruling.configuration, latest)
                return Decided(configuration, _append(connection, ruling, configuration.epoch))
        if latest is None:
            raise NotReady("there is no configuration yet")
        return Decided(latest, None)

    def add_check(self, seq: int, checked: Checked) -> None:
        """Say whether the version that the decision brought back answers."""
        parameters = {"seq": seq, "checked": _json(checked)}
        with self._database.begin(DURABLE) as connection:
            connection.execute(text(statements("decisions")["add_check"]), parameters)

    def page(self, limit: int, before: int | None = None) -> list[AuditEntry]:
        """Up to `limit` entries, newest first, older than the entry numbered `before`."""
        parameters = {"limit": limit, "before": _BEYOND_ALL if before is None else before}
        with self._database.begin(READING) as connection:
            rows = connection.execute(text(statements("decisions")["page"]), parameters).all()
        return [_entry(row) for row in rows]

    def of_experiment(self, experiment_id: str) -> list[AuditEntry]:
        """The decisions on one experiment, newest first, without their evidence."""
        query = text(statements("decisions")["of_experiment"])
        with self._database.begin(READING) as connection:
            rows = connection.execute(query, {"experiment_id": experiment_id}).all()
        return [_entry(row) for row in rows]


def _append(connection: Connection, ruling: Ruling, epoch: int) -> AuditEntry:
    at_us = ruling.configuration.created_at_us
    seq = connection.execute(
        text(statements("decisions")["append"]),
        {
            "at_us": at_us,
            "actor": ruling.actor,
            "action": ruling.action,
            "version": ruling.version,
            "note": ruling.note,
            "experiment_id": ruling.experiment_id,
            "epoch": epoch,
            "changes": _json(ruling.changes),
            "evidence": None if ruling.evidence is None else _json(ruling.evidence),
        },
    ).scalar_one()
    return AuditEntry(
        seq=seq,
        at=iso_utc(at_us),
        actor=ruling.actor,
        action=ruling.action,
        version=ruling.version,
        note=ruling.note,
        experiment_id=ruling.experiment_id,
        epoch=epoch,
        changes=ruling.changes,
        evidence=ruling.evidence,
    )


def _entry(row: Any) -> AuditEntry:
    return AuditEntry(
        seq=row.seq,
        at=iso_utc(row.at_us),
        actor=row.actor,
        action=row.action,
        version=row.version,
        note=row.note,
        experiment_id=row.experiment_id,
        epoch=row.epoch,
        changes=msgspec.json.decode(row.changes, type=dict[str, Change]) if row.changes else {},
        evidence=_report(row.evidence),
        checked=msgspec.json.decode(row.checked, type=Checked) if row.checked else None,
    )


def _report(body: str | None) -> ExperimentReport | None:
    """The evidence; None too where an older release wrote what cannot be read any more, so that the entry can be."""
    if body is None:
        return None
    try:
        return msgspec.json.decode(body, type=ExperimentReport)
    except msgspec.MsgspecError:
        return None


def _json(record: object) -> str:
    return msgspec.json.encode(record).decode()
