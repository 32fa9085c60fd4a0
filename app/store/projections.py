"""The monitor's side of the store: pages of the log by cursor, and derived state that advances with its cursor.

What the webhook has been told: kept with the monitor's state, and not touched by a rebuild of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from app.domain.derived import Changes, UserFact
from app.domain.experiment import Configuration
from app.domain.log_event import Cursor, LogPage, OutcomeRow, PredictionRow, consumable
from app.domain.monitor_state import ExperimentSummary
from app.store.engine import Database
from app.store.kinds import MONITORING, READING, RECORDING
from app.store.statements import HEARTBEAT, REBUILD, REPORTS, STATES, report_name, statements

_END = 2**62


class MonitorStore:
    """Everything in it raises `StoreUnavailable`. `space` is a prefix of all names and experiment ids: a rebuild has
    one of its own until it takes the place of what is there."""

    def __init__(self, database: Database, now_us: Callable[[], int], space: str = "") -> None:
        self._database = database
        self._now_us = now_us
        self._space = space

    def page(self, cursor: Cursor, limit: int, until: Cursor | None = None) -> LogPage:
        """The next rows after `cursor`, up to `limit` of each kind and none after `until`, in one snapshot."""
        end = until or Cursor(_END, _END)
        with self._database.begin(READING) as connection:
            predictions = _after(connection, "predictions", cursor.predictions, end.predictions, limit)
            outcomes = _after(connection, "outcomes", cursor.outcomes, end.outcomes, limit)
            rows, notified = consumable([*map(_prediction, predictions)], [*map(_outcome, outcomes)], limit)
            return LogPage(
                predictions=rows,
                outcomes=notified,
                early=_early(connection, rows),
                rows=_known(connection, notified),
                cursor=Cursor(
                    rows[-1].seq if rows else cursor.predictions, notified[-1].seq if notified else cursor.outcomes
                ),
            )

    def cursor(self, projection: str) -> Cursor:
        """How far a folder has come."""
        with self._database.begin(READING) as connection:
            return self._cursor(connection, projection)

    def states(self, names: Iterable[str]) -> dict[str, str]:
        """The JSON of those of `names` (in full, such as `experiment/ID`) that exist."""
        wanted = _json([self._space + name for name in names])
        with self._database.begin(READING) as connection:
            return {row.name[len(self._space) :]: row.body for row in _execute(connection, "states", names=wanted)}

    def all_states(self, projection: str) -> dict[str, str]:
        """The JSON of everything that a folder keeps, by name."""
        with self._database.begin(READING) as connection:
            rows = _execute(connection, "states_of", name=self._space + projection)
            return {row.name[len(self._space) :]: row.body for row in rows}

    def users(self, experiment_id: str, hashes: Iterable[int]) -> dict[int, UserFact]:
        """What is known of users, by hash."""
        values = {"experiment_id": self._space + experiment_id, "hashes": _json(sorted(hashes))}
        with self._database.begin(READING) as connection:
            return {row.user_hash: _user(row) for row in _execute(connection, "users", **values)}

    def commit(self, projection: str, before: Cursor, after: Cursor, changes: Changes) -> bool:
        """Write `changes` and move the folder's cursor in one transaction; False where it is no longer at `before`."""
        at_us = self._now_us()
        place = {"predictions": after.predictions, "outcomes": after.outcomes, "at_us": at_us}
        with self._database.begin(MONITORING) as connection:
            if self._cursor(connection, projection) != before:
                return False
            for name, body in {"": changes.cursor_body, **changes.states}.items():
                full = f"{self._space}{projection}/{name}" if name else self._space + projection
                connection.execute(text(statements("monitor")["put_state"]), {"name": full, "body": body, **place})
            self._put_points(connection, changes)
            self._put_users(connection, changes.users)
        return True

    def stale_reports(self) -> dict[str, Cursor]:
        """The experiments whose report is missing or older than their state, with the state's cursor."""
        names = {"states": self._space + STATES, "reports": self._space + REPORTS}
        with self._database.begin(READING) as connection:
            return {row[0]: Cursor(row[1], row[2]) for row in _execute(connection, "stale_reports", **names)}

    def put_report(self, experiment_id: str, of: Cursor, body: str) -> None:
        """Keep a report that was made of the state at cursor `of`."""
        self._put(report_name(experiment_id), of, body)

    def heartbeat(self, at: Cursor) -> None:
        """Note that by now all of the log has been taken in."""
        self._put(HEARTBEAT, at, "{}")

    def newest_epoch(self) -> int:
        """The epoch of the configuration in force, 0 where there is none; cheap."""
        with self._database.begin(READING) as connection:
            return int(connection.execute(text(statements("monitor")["newest_epoch"])).scalar_one())

    def configurations(self, epochs: Iterable[int]) -> dict[int, Configuration]:
        """Those of `epochs` that there are."""
        with self._database.begin(READING) as connection:
            rows = _execute(connection, "configurations", epochs=_json(sorted(epochs)))
        return {row.epoch: _configuration(row) for row in rows}

    def first_configuration(self, experiment_id: str) -> Configuration | None:
        """The one with which an experiment began: its versions and terms hold to the end."""
        return self._configuration("first_configuration", experiment_id)

    def last_configuration(self, experiment_id: str) -> Configuration | None:
        """The one that was last in force in an experiment."""
        return self._configuration("last_configuration", experiment_id)

    def experiments(self) -> list[ExperimentSummary]:
        """Every experiment, newest first."""
        with self._database.begin(READING) as connection:
            return [ExperimentSummary(*row) for row in _execute(connection, "experiments")]

    def discard(self, projections: Sequence[str]) -> None:
        """Remove all that is in this store's own space; for a rebuild, before and after."""
        with self._database.begin(MONITORING) as connection:
            self._clear(connection, self._space, projections)

    def take_the_place(self, projections: Sequence[str], at: Mapping[str, Cursor]) -> bool:
        """Replace what is outside this space by what is in it; False where a folder there is not at `at` any more."""
        live = MonitorStore(self._database, self._now_us)
        with self._database.begin(MONITORING) as connection:
            if any(live._cursor(connection, projection) != at[projection] for projection in projections):
                return False
            self._clear(connection, "", projections)
            for table in ("adopt_state", "adopt_points", "adopt_users"):
                connection.execute(text(statements("monitor")[table]), {"space": self._space})
        return True

    def _clear(self, connection: Connection, space: str, projections: Sequence[str]) -> None:
        for name in (*projections, REPORTS.rstrip("/")):
            connection.execute(text(statements("monitor")["drop_state"]), {"name": space + name})
        inside = {"space": REBUILD, "inside": bool(space)}
        for table in ("drop_points", "drop_users"):
            connection.execute(text(statements("monitor")[table]), inside)

    def _cursor(self, connection: Connection, projection: str) -> Cursor:
        rows = _execute(connection, "cursor", name=self._space + projection)
        return Cursor(*rows[0]) if rows else Cursor()

    def _put(self, name: str, place: Cursor, body: str) -> None:
        values = {"name": self._space + name, "body": body, "at_us": self._now_us()}
        values |= {"predictions": place.predictions, "outcomes": place.outcomes}
        with self._database.begin(MONITORING) as connection:
            connection.execute(text(statements("monitor")["put_state"]), values)

    def _put_points(self, connection: Connection, changes: Changes) -> None:
        rows = [
            {
                "experiment_id": self._space + placed.experiment_id,
                "challenger": placed.point.challenger,
                "n": placed.point.n,
                "at_us": placed.at_us,
                "body": _json(placed.point),
            }
            for placed in changes.points
        ]
        if rows:
            connection.execute(text(statements("monitor")["put_point"]), rows)

    def _put_users(self, connection: Connection, users: Mapping[str, Sequence[UserFact]]) -> None:
        rows = [
            {"experiment_id": self._space + experiment_id, **msgspec.structs.asdict(fact)}
            for experiment_id, facts in users.items()
            for fact in facts
        ]
        if rows:
            connection.execute(text(statements("monitor")["put_user"]), rows)

    def _configuration(self, name: str, experiment_id: str) -> Configuration | None:
        with self._database.begin(READING) as connection:
            rows = _execute(connection, name, experiment_id=experiment_id)
        return _configuration(rows[0]) if rows else None


def _after(connection: Connection, table: str, after: int, until: int, limit: int) -> Sequence[Any]:
    query = f"{statements('monitor')[table]} {statements('monitor')['after']}"
    return connection.execute(text(query), {"after": after, "until": until, "limit": limit}).all()


def _of_ids(connection: Connection, table: str, ids: Iterable[str]) -> Sequence[Any]:
    named = statements("monitor", connection.dialect.name)
    query = f"{named[table]} {named['of_ids']}"
    return connection.execute(text(query), {"ids": _json(sorted(set(ids)))}).all()


def _early(connection: Connection, rows: Sequence[PredictionRow]) -> tuple[OutcomeRow, ...]:
    """The outcomes that were written before their predictions were."""
    if not rows:
        return ()
    seqs = {row.prediction_id: row.seq for row in rows}
    notified = map(_outcome, _of_ids(connection, "outcomes", seqs))
    return tuple(outcome for outcome in notified if outcome.predictions_seen < seqs[outcome.prediction_id])


def _known(connection: Connection, notified: Sequence[OutcomeRow]) -> dict[str, PredictionRow]:
    """The predictions that were written before their outcomes were."""
    if not notified:
        return {}
    seen = {outcome.prediction_id: outcome.predictions_seen for outcome in reversed(notified)}
    rows = map(_prediction, _of_ids(connection, "predictions", seen))
    return {row.prediction_id: row for row in rows}


def _prediction(row: Any) -> PredictionRow:
    values = list(row)
    values[8], values[9] = bool(values[8]), bool(values[9])
    return PredictionRow(*values)


def _outcome(row: Any) -> OutcomeRow:
    values = list(row)
    values[7], values[8] = bool(values[7]), bool(values[8])
    return OutcomeRow(*values)


def _user(row: Any) -> UserFact:
    user_hash, epoch, version, *flags = row
    exposed, moved, labelled, rewarded = map(bool, flags)
    return UserFact(
        user_hash=user_hash,
        epoch=epoch,
        version=version,
        exposed=exposed,
        moved=moved,
        labelled=labelled,
        rewarded=rewarded,
    )


def _configuration(row: Any) -> Configuration:
    return msgspec.structs.replace(msgspec.json.decode(row.body, type=Configuration), epoch=row.epoch)


def _execute(connection: Connection, statement: str, /, **parameters: object) -> Sequence[Any]:
    return connection.execute(text(statements("monitor", connection.dialect.name)[statement]), parameters).all()


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


class NoticeState:
    """One JSON text. Every call raises `StoreUnavailable` where the store cannot be used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def notified(self) -> str | None:
        """The text last put, None where there was none."""
        with self._database.begin(READING) as connection:
            body = connection.execute(text(statements("notices")["told"])).scalar()
        return None if body is None else str(body)

    def put_notified(self, body: str) -> None:
        """Keep a text."""
        with self._database.begin(RECORDING) as connection:
            connection.execute(text(statements("notices")["put_told"]), {"body": body})
