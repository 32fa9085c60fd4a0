"""Predictions and outcomes as events have them, whether they are archived or still in the tables."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
from sqlalchemy import Connection, text

from app.domain.archive import joins
from app.domain.log_event import EVERY, CorrectionRow, OutcomeRow, PredictionRow
from app.domain.log_order import RowsById, joined_rows
from app.domain.log_outcomes import Outcomes, as_outcomes, outcomes_of
from app.domain.log_page import Rows, as_rows, values_of
from app.store.archive.marks import all_marks, last_mark
from app.store.archive.source import ArchivedLog
from app.store.forms import Form, StoredRow
from app.store.logged import LoggedRows
from app.store.statements import statements
from app.store.unpacking import SEQ, blocks_of

# A walk through the outcomes between two ids gives up at so many for each row that is sought.
_OUTCOMES_PER_ROW = 3
# One request in this time on average, or more of them, so that a look-up for each takes longer than a walk through all.
_DENSE_US = 20_000


class EventRows:
    """Predictions and outcomes of one snapshot, from the archive up to its last mark and from the tables behind it.

    Every method raises `ArchiveUnavailable` where archived rows cannot be read.
    """

    def __init__(self, connection: Connection, logged: LoggedRows, archive: ArchivedLog) -> None:
        self.connection = connection
        self._logged = logged
        self._archive = archive
        self._mark = last_mark(connection)

    def predictions_after(self, after: int, until: int, limit: int) -> Sequence[PredictionRow]:
        """Up to `limit` predictions with seqs above `after` and up to `until`, in order."""
        found: list[PredictionRow] = []
        if self._mark is not None and after < self._mark.predictions:
            found = self._archive.predictions(self._mark, after, until, limit)
            after = self._mark.predictions
        if len(found) == limit:
            return found
        left = limit - len(found)
        logged = _as_events(*self._logged.parts(self.connection, after, until, left), left)
        return [*found, *logged] if found else logged

    def outcomes_after(self, after: int, until: int, limit: int) -> Outcomes:
        """Up to `limit` outcomes with seqs above `after` and up to `until`, in order."""
        found = as_outcomes(())
        if self._mark is not None and after < self._mark.outcomes:
            found = as_outcomes(self._archive.outcomes(self._mark, after, until, limit))
            after = self._mark.outcomes
        if len(found) == limit:
            return found
        return found.and_then(_outcomes(outcomes_after(self.connection, after, until, limit - len(found))))

    def early(self, read: RowsById, outcomes: Outcomes, after: int) -> Outcomes:
        """The outcomes that were written before their predictions: the recorder appends later than the answer goes.

        `read` are the predictions of a page, and `outcomes` its outcomes, which follow on the one with the seq `after`.
        """
        if not len(read):
            return as_outcomes(())
        archived: Collection[str] = ()
        wanted: Collection[str] = read.places.keys()
        mark, seqs = self._mark, read.seqs.tolist()
        if mark is not None and seqs[0] <= mark.predictions:
            # Only these have one, which is archived or not: to look for all of them would take much longer.
            archived = self._archive.follow_outcome(mark, seqs[0], seqs[-1])
            wanted = {*archived, *(id_ for id_, at in read.places.items() if seqs[at] > mark.predictions)}
        # Written before its prediction, it is on this page, or was on one before it.
        near = None
        if after and not archived and len(wanted) == len(read) and _are_dense(read):
            named = statements("monitor", self.connection.dialect.name)
            query = f"{named['outcomes']} {named['between_ids']}"
            near = between_ids(self.connection, query, wanted, until=after)
        if near is not None:
            found = _outcomes(near)
        else:
            found = as_outcomes(self._outcomes_of(wanted, archived, after) if after and wanted else ())
        found = found.and_then(outcomes)
        at = read.find(found)
        are_early = (at >= 0) & (found.array("predictions_seen") < read.seqs[at])
        if len(wanted) < len(read):
            are_early &= np.array([each in wanted for each in found.column("prediction_id")], np.bool_)
        early = found.take(np.flatnonzero(are_early))
        return early.take(np.argsort(early.array("seq")))

    def subjects(self, corrections: Sequence[CorrectionRow]) -> dict[tuple[str, str], OutcomeRow]:
        """The outcomes of these corrections as they were received, by prediction id and kind."""
        if not corrections:
            return {}
        wanted = {(each.prediction_id, each.kind) for each in corrections}
        ids = {prediction_id for prediction_id, _ in wanted}
        found = self._outcomes_of(ids, ())
        rows: dict[tuple[str, str], OutcomeRow] = {(row.prediction_id, row.kind): row for row in found}
        if self._mark is not None and not wanted <= rows.keys():
            archived = self._archive.outcomes_of(self._mark, {id_ for id_, _ in wanted - rows.keys()})
            rows |= {(row.prediction_id, row.kind): row for row in archived}
        return rows

    def known(self, outcomes: Outcomes, read: RowsById) -> RowsById:
        """The logged predictions of these outcomes, and those that were `read` before."""
        ids = outcomes.column("prediction_id")
        wanted = {*ids} - read.places.keys()
        found = read
        if wanted:
            found = _with(read, wanted, _as_events(*self._logged.parts_of_ids(self.connection, wanted)))
        mark = self._mark
        if mark is not None:
            with_seqs = zip(ids, outcomes.column("seq"), strict=True)
            missing = {id_ for id_, seq in with_seqs if seq <= mark.outcomes_seen and id_ not in found.places}
            if missing:
                found = _with(found, missing, self._archive.predictions_of(mark, missing))
        return found

    def unjoined(self, outcomes: Outcomes, known: RowsById) -> frozenset[int]:
        """The seqs of those outcomes that came when their predictions were archived."""
        if self._mark is None:
            return frozenset()
        at = known.find(outcomes)
        concerned = np.flatnonzero(at >= 0)
        marks = all_marks(self.connection) if concerned.size else ()
        pairs = zip(outcomes.array("seq")[concerned].tolist(), known.seqs[at[concerned]].tolist(), strict=True)
        return frozenset(seq for seq, prediction in pairs if not joins(marks, seq, prediction))

    def _outcomes_of(self, ids: Collection[str], archived: Collection[str], until: int = EVERY) -> list[OutcomeRow]:
        """The outcomes of predictions with these ids, with seqs up to `until`; those of `archived` may be in the
        archive."""
        found = of_ids(self.connection, "outcomes", ids, until) if ids else ()
        rows = {row.seq: row for row in _outcomes(found)}
        if archived and self._mark is not None:
            rows |= {row.seq: row for row in self._archive.outcomes_of(self._mark, archived) if row.seq <= until}
        return [rows[seq] for seq in sorted(rows)]


def outcomes_after(connection: Connection, after: int, until: int, limit: int) -> Sequence[Any]:
    """Up to `limit` outcomes in the tables with seqs above `after` and up to `until`, in order."""
    return _execute(connection, "outcomes", "after", {"after": after, "until": until, "limit": limit})


def between_ids(connection: Connection, query: str, ids: Collection[str], **values: int) -> Sequence[Any] | None:
    """What the query finds of outcomes of predictions with ids from the least of these to the greatest.

    Ids sort by time, so that those of a part of the log are next to each other. None where there are many others: one
    row that was served long before the rest has all of that time between them.
    """
    most = _OUTCOMES_PER_ROW * len(ids)
    ends = {"first": min(ids), "last": max(ids), "limit": most}
    found = connection.execute(text(query), {**ends, **values}).all()
    return found if len(found) < most else None


def of_ids(connection: Connection, table: str, ids: Iterable[str], until: int = EVERY) -> Sequence[Any]:
    """The rows that the statement `table` finds of predictions with these ids, with seqs up to `until`, by seq."""
    return _execute(connection, table, "of_ids", {"ids": msgspec.json.encode(sorted(ids)).decode(), "until": until})


def _execute(connection: Connection, table: str, condition: str, values: Mapping[str, object]) -> Sequence[Any]:
    named = statements("monitor", connection.dialect.name)
    return connection.execute(text(f"{named[table]} {named[condition]}"), values).all()


def _are_dense(read: RowsById) -> bool:
    """Whether there are few other predictions between the ids of these rows, which sort by the time of serving."""
    if not isinstance(read.rows, Rows):  # an id of another format says no time
        return False
    times = [int(end) for block, _, at in read.rows.parts for end in (block.at_us[at].min(), block.at_us[at].max())]
    return max(times) - min(times) <= _DENSE_US * len(read.rows)


def _as_events(
    raw: Sequence[Any], forms: Mapping[int, Form], old: Sequence[StoredRow], limit: int = EVERY
) -> Sequence[PredictionRow]:
    """The first rows as events have them, in order; packed ones are rows of blocks."""
    if old and len(old) + len(raw) > limit:
        last = sorted(row[SEQ] for row in (*old, *raw))[limit - 1]
        raw, old = ([row for row in rows if row[SEQ] <= last] for rows in (raw, old))
    rows = as_rows(blocks_of(raw, forms))
    return sorted([*map(prediction_of, old), *rows], key=attrgetter("seq")) if old else rows


def prediction_of(row: StoredRow) -> PredictionRow:
    """The row as events have it."""
    return PredictionRow(*row[:-1])  # all but the request's id


def _outcomes(rows: Sequence[Any]) -> Outcomes:
    columns: list[Sequence[Any]] = [*zip(*rows, strict=True)]
    columns[7:9] = ([*map(bool, column)] for column in columns[7:9])  # SQLite gives 0 and 1
    return outcomes_of(columns)


def _with(read: RowsById, wanted: Collection[str], rows: Sequence[PredictionRow]) -> RowsById:
    """The rows that were read before, and those of more rows that have one of the wanted ids."""
    places = enumerate(values_of(rows, "prediction_id"), start=len(read.rows))
    more = {prediction_id: place for place, prediction_id in places if prediction_id in wanted}
    return RowsById(joined_rows([read.rows, rows]), {**read.places, **more})
