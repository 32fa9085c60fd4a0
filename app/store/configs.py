"""The configurations that were ever in force, and the experiments they belong to."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from sqlalchemy import Connection, text

from app.domain.decision import RAMP, Change
from app.domain.experiment import Configuration
from app.store.access import DURABLE, READING
from app.store.engine import Database
from app.store.statements import statements


class ConfigurationLog:
    """The table `config`, appended to only. Every call raises `StoreUnavailable` where the store cannot be used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def latest(self) -> Configuration | None:
        """The configuration in force, None where there has been none."""
        with self._database.begin(READING) as connection:
            return latest_of(connection)

    def newer_than(self, epoch: int) -> Configuration | None:
        """The configuration in force if its epoch is above `epoch`; cheap to ask often."""
        with self._database.begin(READING) as connection:
            newest = connection.execute(text(statements("config")["newest_epoch"])).scalar()
            return latest_of(connection) if newest is not None and newest > epoch else None

    def settle(self, decide: Callable[[Configuration | None], Configuration | None]) -> Configuration | None:
        """The configuration in force after `decide` has seen the latest and given the next one (None: no change).

        One transaction under the write lock: of several that start at once, each sees what the one before did. The
        epoch is the store's to give. Durable when it returns.
        """
        with self._database.begin(DURABLE) as connection:
            latest = latest_of(connection)
            wanted = decide(latest)
            if wanted is None:
                return latest
            settled = append_to(connection, wanted, latest)
            if latest is not None and latest.ramp is not None and settled.ramp is None:
                _say_ramp_ended(connection, latest, settled)
            return settled


def latest_of(connection: Connection) -> Configuration | None:
    """The configuration in force, as this transaction sees it."""
    row = connection.execute(text(statements("config")["latest"])).one_or_none()
    if row is None:
        return None
    return msgspec.structs.replace(msgspec.json.decode(row.body, type=Configuration), epoch=row.epoch)


def append_to(connection: Connection, wanted: Configuration, latest: Configuration | None) -> Configuration:
    """`wanted` with the epoch it got; ends and begins an experiment where `latest` belongs to another one."""
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
    """End what runs and begin the configuration's experiment."""
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


def _say_ramp_ended(connection: Connection, latest: Configuration, settled: Configuration) -> None:
    """An entry in the audit log: a start or a reload has ended the ramp, which somebody had asked for."""
    assert latest.ramp is not None
    changes = {"ramp": Change(latest.ramp, None), "weights": Change(latest.weights, settled.weights)}
    connection.execute(
        text(statements("decisions")["append"]),
        {
            "at_us": settled.created_at_us,
            "actor": settled.source,
            "action": RAMP,
            "version": latest.ramp.version,
            "note": "the ramp has ended: the server started, or reloaded, with another split or other versions",
            "experiment_id": latest.experiment_id,
            "epoch": settled.epoch,
            "changes": msgspec.json.encode(changes).decode(),
            "evidence": None,
        },
    )
