"""The log as the monitor reads it: pages of predictions and outcomes by cursor, and the configurations behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from app.domain.columns import LoggedLayout
from app.domain.experiment import Configuration
from app.domain.log_event import (
    EVERY,
    CorrectionRow,
    Cursor,
    Found,
    LogPage,
    OutcomeRow,
    PredictionRow,
    TimePassed,
    consumable,
)
from app.domain.log_order import by_id
from app.domain.log_outcomes import as_outcomes
from app.domain.monitor_state import ExperimentSummary
from app.store.archive.source import ArchivedLog
from app.store.engine import Database
from app.store.event_rows import EventRows, of_ids
from app.store.kinds import MONITORING, READING
from app.store.layouts import LayoutReads
from app.store.logged import LoggedRows, mark, newest_served_at_us
from app.store.statements import ERASED, statements


class EventLog:
    """Reads the log in its order of events, the archived part and the rest as one.

    Every call raises `StoreUnavailable` where the store cannot be read. `archive` reads what is archived; without it,
    the archive is where the log says that it was written.
    """

    def __init__(self, database: Database, archive: ArchivedLog | None = None) -> None:
        self._database = database
        self._layouts = LayoutReads(database)
        self._archive = archive or ArchivedLog()
        self._rows = LoggedRows()

    def page(self, cursor: Cursor, limit: int, until: Cursor | None = None) -> LogPage:
        """The rows after `cursor`: up to `limit` of each kind, none after `until`, all of one snapshot.

        Of heartbeats and corrections there is none either whose place is after the predictions and outcomes of `until`.
        Raises `ArchiveUnavailable` where rows of it are archived and cannot be read.
        """
        end = until or Cursor(EVERY, EVERY, EVERY, EVERY)
        with self._database.begin(READING) as connection:
            rows = EventRows(connection, self._rows, self._archive)
            outcomes = rows.outcomes_after(cursor.outcomes, end.outcomes, limit)
            # Predictions behind outcomes that are not read yet must wait: to unpack them would be for nothing.
            within = min(end.predictions, outcomes[-1].predictions_seen) if len(outcomes) >= limit else end.predictions
            predictions = rows.predictions_after(cursor.predictions, within, limit)
            beats = _heartbeats(connection, cursor.heartbeats, end, limit)
            corrected = _corrections(connection, cursor.corrections, end, limit)
            # Reading each table up to a limit may leave a row's predecessor unread: such rows wait for the next page.
            found = consumable(Found(predictions, outcomes, beats, corrected), limit)
            return _page(rows, found, cursor)

    def newest_correction(self) -> int:
        """The seq of the newest correction, 0 where there is none. One indexed read."""
        with self._database.begin(READING) as connection:
            return _newest_correction(connection)

    def newest_epoch(self) -> int:
        """The revision of the configuration in force, 0 where there is none. One indexed read."""
        with self._database.begin(READING) as connection:
            return int(connection.execute(text(statements("monitor")["newest_epoch"])).scalar_one())

    def configurations(self, epochs: Iterable[int]) -> dict[int, Configuration]:
        """The configurations of these revisions, by revision; unknown ones are left out."""
        with self._database.begin(READING) as connection:
            rows = _execute(connection, "configurations", epochs=_json(sorted(epochs)))
        return {row.epoch: _configuration(row) for row in rows}

    def layouts(self, ids: Iterable[int]) -> dict[int, LoggedLayout]:
        """The layouts with these ids, by id; unknown ones are left out."""
        return self._layouts.layouts(ids)

    def first_configuration(self, experiment_id: str) -> Configuration | None:
        """The configuration that began an experiment: its versions and terms hold until the end."""
        return self._of_experiment("first_configuration", experiment_id)

    def last_configuration(self, experiment_id: str) -> Configuration | None:
        """The newest configuration of an experiment."""
        return self._of_experiment("last_configuration", experiment_id)

    def experiments(self) -> list[ExperimentSummary]:
        """Every experiment, newest first."""
        with self._database.begin(READING) as connection:
            return [ExperimentSummary(*row) for row in _execute(connection, "experiments")]

    def _of_experiment(self, statement: str, experiment_id: str) -> Configuration | None:
        with self._database.begin(READING) as connection:
            rows = _execute(connection, statement, experiment_id=experiment_id)
        return _configuration(rows[0]) if rows else None


class HeartbeatLog:
    """Appends heartbeats: notes that time has passed, each with its place in the order of events.

    Every call raises `StoreUnavailable` where the store cannot be used.

    `now_us` is the clock (µs since 1970).
    """

    def __init__(self, database: Database, now_us: Callable[[], int]) -> None:
        self._database = database
        self._now_us = now_us

    def newest_event_us(self) -> int:
        """The time of the newest prediction, outcome or heartbeat, µs since 1970; 0 in an empty log."""
        with self._database.begin(READING) as connection:
            others = int(connection.execute(text(statements("monitor")["newest_event"])).scalar_one())
            return max(others, newest_served_at_us(connection) or 0)

    def append(self) -> None:
        """Note that it is now this late, behind everything that is in the log."""
        # Under the write lock, which makes its place exact.
        with self._database.begin(MONITORING) as connection:
            statement = statements("monitor", connection.dialect.name)["append_heartbeat"]
            connection.execute(text(statement), {"at_us": self._now_us()})


def _page(rows: EventRows, found: Found, before: Cursor) -> LogPage:
    """What was found after `before`, with what it joins."""
    connection = rows.connection
    read, outcomes = by_id(found.predictions), as_outcomes(found.outcomes)
    early = rows.early(read, outcomes, before.outcomes)
    subjects = rows.subjects(found.corrections)
    joining = outcomes.and_then(as_outcomes(subjects.values()))
    known = rows.known(joining, read)
    unjoined = rows.unjoined(joining, known)
    if _newest_correction(connection):
        ids = {*outcomes.column("prediction_id"), *early.column("prediction_id")}
        corrections = _all_corrections(connection, ids)
        if corrections:
            outcomes = as_outcomes(_as_of(outcome, corrections, before.corrections) for outcome in outcomes)
            # A prediction that is logged after its outcome joins the value that the outcome has by then.
            early = as_outcomes(
                _as_of(outcome, corrections, before.corrections, known[outcome.prediction_id].seq) for outcome in early
            )
    return LogPage(
        predictions=found.predictions,
        outcomes=outcomes,
        early=early,
        rows=known,
        heartbeats=tuple(found.heartbeats),
        corrections=tuple(found.corrections),
        corrected=subjects,
        unjoined=unjoined,
        erased=mark(connection, ERASED) or 0,
        cursor=Cursor(
            _last(found.predictions, before.predictions),
            _last(found.outcomes, before.outcomes),
            _last(found.heartbeats, before.heartbeats),
            _last(found.corrections, before.corrections),
        ),
    )


def _last(rows: Sequence[PredictionRow | OutcomeRow | TimePassed | CorrectionRow], before: int) -> int:
    return rows[-1].seq if rows else before


def _as_of(
    outcome: OutcomeRow, corrections: Mapping[tuple[str, str], Sequence[CorrectionRow]], passed: int, seq: int = 0
) -> OutcomeRow:
    """The outcome with the value that it has where `passed` corrections, and all before the prediction `seq`, hold."""
    own = corrections.get((outcome.prediction_id, outcome.kind), ())
    holding = [each for each in own if each.seq <= passed or each.predictions_seen < seq]
    if not holding:
        return outcome
    return msgspec.structs.replace(
        outcome,
        corrected=holding[-1].outcome,
        corrections=len(holding),
        corrected_at_us=holding[-1].corrected_at_us,
    )


def _newest_correction(connection: Connection) -> int:
    return int(connection.execute(text(statements("monitor")["newest_correction"])).scalar_one())


def _corrections(connection: Connection, after: int, end: Cursor, limit: int) -> list[CorrectionRow]:
    named = statements("monitor")
    values = {"predictions": end.predictions, "outcomes": end.outcomes, "until": end.corrections}
    query = text(f"{named['corrections']} {named['corrections_after']}")
    return [CorrectionRow(*row) for row in connection.execute(query, {"after": after, "limit": limit, **values})]


def _all_corrections(connection: Connection, ids: Iterable[str]) -> dict[tuple[str, str], list[CorrectionRow]]:
    """Every correction of the outcomes of these predictions, in order, by prediction id and kind."""
    found: dict[tuple[str, str], list[CorrectionRow]] = {}
    for row in of_ids(connection, "corrections", ids):
        found.setdefault((row.prediction_id, row.kind), []).append(CorrectionRow(*row))
    return found


def _heartbeats(connection: Connection, after: int, end: Cursor, limit: int) -> list[TimePassed]:
    values = {"predictions": end.predictions, "outcomes": end.outcomes, "until": end.heartbeats}
    return [TimePassed(*row) for row in _execute(connection, "heartbeats", after=after, limit=limit, **values)]


def _configuration(row: Any) -> Configuration:
    # The body was written before the store numbered the row, so the number in it is not the revision.
    return msgspec.structs.replace(msgspec.json.decode(row.body, type=Configuration), epoch=row.epoch)


def _execute(connection: Connection, statement: str, /, **parameters: object) -> Sequence[Any]:
    return connection.execute(text(statements("monitor", connection.dialect.name)[statement]), parameters).all()


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
