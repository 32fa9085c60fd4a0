"""The configurations with their experiments, and the audit log: a decision and its configuration are one commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from app.domain.decision import CONFIGURE, RAMP, AuditEntry, AuditNote, Change, Decided, PendingDecision, ProbeResult
from app.domain.experiment import Configuration, Ramp
from app.domain.report import ExperimentReport
from app.domain.timestamps import iso_utc
from app.errors import NotReady
from app.services.control.transitions import changes_between
from app.store.engine import Database
from app.store.kinds import DURABLE, READING
from app.store.statements import statements


class ConfigurationLog:
    """The append-only table `config`. Every call raises `StoreUnavailable` where the store cannot be used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def latest(self) -> Configuration | None:
        """The configuration in force; None before the first."""
        with self._database.begin(READING) as connection:
            return latest_of(connection)

    def newer_than(self, known: Configuration) -> Configuration | None:
        """The configuration in force if it is newer than `known`, or says otherwise why the ramp waits; else None.

        Cheap enough to poll.
        """
        with self._database.begin(READING) as connection:
            newest = connection.execute(text(statements("config")["newest_epoch"])).scalar()
            if newest is None or newest < known.epoch or (newest == known.epoch and known.ramp is None):
                return None
            latest = latest_of(connection)
            return None if latest == known else latest

    def settle(self, decide: Callable[[Configuration | None], Configuration | None]) -> Configuration | None:
        """Append the configuration that `decide` returns for the latest (None: no change); returns the one in force.

        Durable on return. The store numbers the revision, whatever `epoch` says in it.
        """
        # One transaction under the write lock: of several processes that start at once, each decides on the result of
        # the one before.
        with self._database.begin(DURABLE) as connection:
            latest = latest_of(connection)
            wanted = decide(latest)
            if wanted is None:
                return latest
            settled = append_to(connection, wanted, latest)
            if latest is not None:
                _note(connection, latest, settled)
            return settled


def latest_of(connection: Connection) -> Configuration | None:
    """The configuration in force, as this transaction sees it."""
    row = connection.execute(text(statements("config")["latest"])).one_or_none()
    if row is None:
        return None
    latest = msgspec.json.decode(row.body, type=Configuration)
    if latest.terms.unit is None:
        # Perhaps a release without some of the terms has written this row, after a downgrade. They are fixed while an
        # experiment runs, so its first row has them.
        first = connection.execute(text(statements("config")["first"]), {"experiment_id": latest.experiment_id}).one()
        latest = msgspec.structs.replace(latest, terms=msgspec.json.decode(first.body, type=Configuration).terms)
    latest = msgspec.structs.replace(latest, epoch=row.epoch)
    return latest if latest.ramp is None else _waiting(connection, latest, latest.ramp)


class _RampAfter(msgspec.Struct, frozen=True):
    after: Ramp | None = None


class _RampChange(msgspec.Struct, frozen=True):
    ramp: _RampAfter = _RampAfter()


def _waiting(connection: Connection, latest: Configuration, ramp: Ramp) -> Configuration:
    """The configuration with what the monitor last noted of its ramp: a note makes no revision."""
    parameters = {"experiment_id": latest.experiment_id, "epoch": latest.epoch}
    changes = connection.execute(text(statements("decisions")["newest_of_ramp"]), parameters).scalar()
    noted = None if changes is None else msgspec.json.decode(changes, type=_RampChange).ramp.after
    if noted is None:
        return latest
    return msgspec.structs.replace(latest, ramp=msgspec.structs.replace(ramp, held=noted.held))


def append_to(connection: Connection, wanted: Configuration, latest: Configuration | None) -> Configuration:
    """Append `wanted` and return it with its revision; begins its experiment if `latest` belongs to another one."""
    if latest is None or latest.experiment_id != wanted.experiment_id:
        _begin_experiment(connection, wanted)
    epoch = connection.execute(
        text(statements("config")["append"]),
        {
            "created_at_us": wanted.created_at_us,
            "experiment_id": wanted.experiment_id,
            "source": wanted.source,
            "body": msgspec.json.encode(wanted).decode(),
        },
    ).scalar_one()
    return msgspec.structs.replace(wanted, epoch=epoch)


def _begin_experiment(connection: Connection, configuration: Configuration) -> None:
    """End the running experiment and begin the configuration's."""
    at_us = configuration.created_at_us
    connection.execute(
        text(statements("config")["end_experiments"]), {"at_us": at_us, "ended_by": configuration.source}
    )
    body = {
        "terms": configuration.terms,
        "versions": list(configuration.weights),
        "champion": configuration.champion,
    }
    connection.execute(
        text(statements("config")["begin_experiment"]),
        {"id": configuration.experiment_id, "at_us": at_us, "body": msgspec.json.encode(body).decode()},
    )


def _note(connection: Connection, latest: Configuration, settled: Configuration) -> None:
    """Write the audit entry of a start or a reload that ended a ramp, for which a person had asked, or that gave the
    traffic to others."""
    ramp = latest.ramp if settled.ramp is None else None
    if ramp is None and _with_traffic(latest) == _with_traffic(settled):
        return
    changes = changes_between(latest, settled)
    if ramp is not None:
        changes = {"ramp": Change(ramp, None), "weights": Change(latest.weights, settled.weights)}
    connection.execute(
        text(statements("decisions")["append"]),
        {
            "at_us": settled.created_at_us,
            "actor": settled.source,
            "action": CONFIGURE if ramp is None else RAMP,
            "version": None if ramp is None else ramp.version,
            "note": f"{'the split has changed' if ramp is None else 'the ramp has ended'}: the server started, or "
            "reloaded, with another split or other versions",
            "experiment_id": latest.experiment_id,
            "epoch": settled.epoch,
            "changes": msgspec.json.encode(changes).decode(),
            "evidence": None,
        },
    )


def _with_traffic(configuration: Configuration) -> dict[str, float]:
    return {version: weight for version, weight in configuration.weights.items() if weight > 0}


_BEYOND_ALL = 1 << 62  # above every entry number


class DecisionTable:
    """The audit log, `decisions`. Every call raises `StoreUnavailable` where the store cannot be used.

    `admit` raises it where the store is that of another deployment.
    """

    def __init__(self, database: Database, admit: Callable[[], object] = lambda: None) -> None:
        self._database = database
        self._admit = admit

    def commit(self, propose: Callable[[Configuration | None], PendingDecision | None]) -> Decided:
        """Commit the decision that `propose` returns for the configuration in force (None: change nothing).

        The configuration, the end of one experiment and the start of the next, and the audit entry are one transaction,
        durable on return. Raises what `propose` raises, and `NotReady` where there is no configuration and no decision.
        """
        self._admit()
        # Decided under the write lock: nobody can change the configuration between the decision and its commit.
        with self._database.begin(DURABLE) as connection:
            latest = latest_of(connection)
            pending = propose(latest)
            if pending is not None and (pending.revision or latest is None):
                configuration = append_to(connection, pending.configuration, latest)
                return Decided(configuration, _append(connection, pending, configuration.epoch))
            if pending is not None and latest is not None:
                entry = _append(connection, pending, latest.epoch)
                return Decided(latest_of(connection) or latest, entry)
        if latest is None:
            raise NotReady("there is no configuration yet: the api makes one within a second of loading a version")
        return Decided(latest, None)

    def record(self, act: Callable[[Configuration | None], Sequence[AuditNote]], at_us: int) -> None:
        """Call `act` with the configuration in force, which nobody can change meanwhile, and write its entries.

        `at_us` is µs since 1970. Raises what `act` raises, and then writes nothing. No host can write meanwhile, so
        `act` must be short, and an `OSError` of it would be taken for one of the store.
        """
        with self._database.begin(DURABLE) as connection:
            for note in act(latest_of(connection)):
                row = {**msgspec.structs.asdict(note), "at_us": at_us, "experiment_id": None, "epoch": None}
                connection.execute(text(statements("decisions")["append"]), {**row, "changes": None, "evidence": None})

    def add_check(self, seq: int, checked: ProbeResult) -> None:
        """Add to an entry whether the version that it brought back answered its health probe."""
        parameters = {"seq": seq, "checked": _json(checked)}
        with self._database.begin(DURABLE) as connection:
            connection.execute(text(statements("decisions")["add_check"]), parameters)

    def page(self, limit: int, before: int | None = None, experiment_id: str | None = None) -> list[AuditEntry]:
        """Up to `limit` entries, newest first; if given, those with a number below `before`, or of one experiment."""
        parameters: dict[str, object] = {"limit": limit, "before": _BEYOND_ALL if before is None else before}
        which = "page"
        if experiment_id is not None:
            which, parameters["experiment_id"] = "page_of_experiment", experiment_id
        with self._database.begin(READING) as connection:
            rows = connection.execute(text(statements("decisions")[which]), parameters).all()
        return [_entry(row) for row in rows]

    def of_experiment(self, experiment_id: str) -> list[AuditEntry]:
        """The decisions on one experiment, newest first, without their evidence (a whole report each)."""
        query = text(statements("decisions")["of_experiment"])
        with self._database.begin(READING) as connection:
            rows = connection.execute(query, {"experiment_id": experiment_id}).all()
        return [_entry(row) for row in rows]


def _append(connection: Connection, pending: PendingDecision, epoch: int) -> AuditEntry:
    at_us = pending.configuration.created_at_us
    seq = connection.execute(
        text(statements("decisions")["append"]),
        {
            "at_us": at_us,
            "actor": pending.actor,
            "action": pending.action,
            "version": pending.version,
            "note": pending.note,
            "experiment_id": pending.experiment_id,
            "epoch": epoch,
            "changes": _json(pending.changes),
            "evidence": None if pending.evidence is None else _json(pending.evidence),
        },
    ).scalar_one()
    return AuditEntry(
        seq=seq,
        at=iso_utc(at_us),
        actor=pending.actor,
        action=pending.action,
        version=pending.version,
        note=pending.note,
        experiment_id=pending.experiment_id,
        epoch=epoch,
        changes=pending.changes,
        evidence=pending.evidence,
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
        checked=msgspec.json.decode(row.checked, type=ProbeResult) if row.checked else None,
    )


def _report(body: str | None) -> ExperimentReport | None:
    """The evidence of an entry; None where there is none, or where it cannot be read any more."""
    if body is None:
        return None
    try:
        return msgspec.json.decode(body, type=ExperimentReport)
    except msgspec.MsgspecError:  # of an older release: the entry itself must stay readable
        return None


def _json(record: object) -> str:
    return msgspec.json.encode(record).decode()
