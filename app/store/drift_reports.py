"""Drift in the store: the monitor's newest report and timeline of a version, and acknowledgements of its alarms."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from sqlalchemy import Connection, text

from app.drift.report_types import DriftReport
from app.services.queries.drift_records import (
    ACKNOWLEDGE,
    NAME,
    Acknowledgement,
    DriftTimelinePoint,
    DriftTimelineState,
    PendingAcknowledgement,
    WatchedReport,
    report_key,
    standing,
    timeline_key,
)
from app.store.engine import Database
from app.store.kinds import DURABLE, READING
from app.store.reports import thinned
from app.store.statements import statements


class DriftTable:
    """Drift reports and acknowledgements. Every call raises `StoreUnavailable` where the store cannot be used.

    `admit` raises it where the store is that of another deployment.
    """

    def __init__(self, database: Database, admit: Callable[[], object] = lambda: None) -> None:
        self._database = database
        self._admit = admit

    def standing(self, version: str) -> DriftReport | None:
        """The newest report of a version, with every acknowledgement applied; None before the first."""
        with self._database.begin(READING) as connection:
            return _standing(connection, version)

    def timeline(self, version: str, points: int) -> list[DriftTimelinePoint]:
        """Up to `points` points of a version's timeline, evenly spaced, with the first and the last of it."""
        with self._database.begin(READING) as connection:
            body = _state(connection, timeline_key(version))
        try:
            timeline = (
                msgspec.json.decode(body, type=DriftTimelineState) if body is not None else DriftTimelineState("")
            )
        except msgspec.MsgspecError:  # another release wrote it
            return []
        return thinned(timeline.points, points)

    def acknowledgements(self, version: str, after: int) -> list[Acknowledgement]:
        """The acknowledgements of a version with numbers above `after`, in order."""
        with self._database.begin(READING) as connection:
            return _acknowledgements(connection, version, after)

    def acknowledge(self, version: str, propose: Callable[[DriftReport | None], PendingAcknowledgement]) -> DriftReport:
        """Commit the acknowledgement that `propose` returns for the present report; returns the report after it.

        The acknowledgement and its audit entry are one transaction, durable on return. Raises what `propose` raises,
        which must be an error where there is no report (None).
        """
        self._admit()
        # Under the write lock, so that the place in the log that the acknowledgement gets is exact.
        with self._database.begin(DURABLE) as connection:
            pending = propose(_standing(connection, version))
            _append(connection, version, pending)
            after = _standing(connection, version)
        assert after is not None, version
        return after


def _standing(connection: Connection, version: str) -> DriftReport | None:
    body = _state(connection, report_key(version))
    if body is None:
        return None
    try:
        watched = msgspec.json.decode(body, type=WatchedReport)
    except msgspec.MsgspecError:  # another release wrote it; the monitor replaces it with the next request
        return None
    return standing(watched, _acknowledgements(connection, version, watched.acknowledged_seq))


def _state(connection: Connection, key: str) -> str | None:
    """The JSON that the drift projection keeps under `key`; None where there is none."""
    body: str | None = connection.execute(text(statements("drift")["state"]), {"name": f"{NAME}/{key}"}).scalar()
    return body


def _acknowledgements(connection: Connection, version: str, after: int) -> list[Acknowledgement]:
    parameters = {"version": version, "after": after}
    rows = connection.execute(text(statements("drift")["acknowledgements"]), parameters).all()
    return [Acknowledgement(*row) for row in rows]


def _append(connection: Connection, version: str, pending: PendingAcknowledgement) -> None:
    """Write the audit entry, and the acknowledgement under the same number."""
    entry = {
        "at_us": pending.at_us,
        "actor": pending.actor,
        "action": ACKNOWLEDGE,
        "version": version,
        "note": pending.note,
        "experiment_id": pending.experiment_id,
        "epoch": pending.epoch,
        "changes": msgspec.json.encode(pending.changes).decode(),
        "evidence": None,
    }
    seq = connection.execute(text(statements("decisions")["append"]), entry).scalar_one()
    values = {"seq": seq, "version": version, "at_us": pending.at_us}
    connection.execute(text(statements("drift", connection.dialect.name)["acknowledge"]), values)
