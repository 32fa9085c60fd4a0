"""Predictions and outcomes as events have them, whether they are archived or still in the tables."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from app.domain.archive import joins
from app.domain.log_event import EVERY, CorrectionRow, OutcomeRow, PredictionRow
from app.domain.log_page import as_rows, values_of
from app.store.archive.marks import all_marks, last_mark
from app.store.archive.source import ArchivedLog
from app.store.forms import Form, StoredRow
from app.store.logged import LoggedRows
from app.store.statements import statements
from app.store.unpacking import SEQ, blocks_of


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

    def outcomes_after(self, after: int, until: int, limit: int) -> list[OutcomeRow]:
        """Up to `limit` outcomes with seqs above `after` and up to `until`, in order."""
        found: list[OutcomeRow] = []
        if self._mark is not None and after < self._mark.outcomes:
            found = self._archive.outcomes(self._mark, after, until, limit)
            after = self._mark.outcomes
        if len(found) == limit:
            return found
        return [*found, *map(_outcome, outcomes_after(self.connection, after, until, limit - len(found)))]

    def early(self, rows: Sequence[PredictionRow]) -> tuple[OutcomeRow, ...]:
        """The outcomes that were written before their predictions: the recorder appends later than the answer goes."""
        if not rows:
            return ()
        seqs = dict(zip(values_of(rows, "prediction_id"), values_of(rows, "seq"), strict=True))
        archived: Collection[str] = ()
        mark = self._mark
        if mark is not None and rows[0].seq <= mark.predictions:
            # Only these have one, which is archived or not: to look for all of them would take much longer.
            archived = self._archive.follow_outcome(mark, rows[0].seq, rows[-1].seq)
        wanted = {*archived, *(id_ for id_, seq in seqs.items() if mark is None or seq > mark.predictions)}
        outcomes = self._outcomes_of(wanted, archived, rows[-1].seq)
        return tuple(outcome for outcome in outcomes if outcome.predictions_seen < seqs[outcome.prediction_id])

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

    def known(self, outcomes: Sequence[OutcomeRow], read: Sequence[PredictionRow]) -> dict[str, PredictionRow]:
        """The logged predictions of these outcomes, by prediction id; `read` are some of the log, read before."""
        if not outcomes:
            return {}
        ids = {outcome.prediction_id for outcome in outcomes}
        places = enumerate(values_of(read, "prediction_id"))
        found = {prediction_id: read[place] for place, prediction_id in places if prediction_id in ids}
        wanted = ids - found.keys()
        if wanted:
            logged = _as_events(*self._logged.parts_of_ids(self.connection, wanted))
            found |= {row.prediction_id: row for row in logged if row.prediction_id in wanted}
        mark = self._mark
        if mark is not None:
            missing = {
                each.prediction_id
                for each in outcomes
                if each.seq <= mark.outcomes_seen and each.prediction_id not in found
            }
            if missing:
                found |= {row.prediction_id: row for row in self._archive.predictions_of(mark, missing)}
        return found

    def unjoined(self, outcomes: Iterable[OutcomeRow], known: Mapping[str, PredictionRow]) -> frozenset[int]:
        """The seqs of those outcomes that came when their predictions were archived."""
        if self._mark is None:
            return frozenset()
        concerned = [each for each in outcomes if each.prediction_id in known]
        marks = all_marks(self.connection) if concerned else ()
        return frozenset(each.seq for each in concerned if not joins(marks, each.seq, known[each.prediction_id].seq))

    def _outcomes_of(
        self, ids: Collection[str], archived: Collection[str], before: int | None = None
    ) -> list[OutcomeRow]:
        """The outcomes of predictions with these ids; those of `archived` may be in the archive.

        Of those in the tables only what was written before the prediction `before` was, where that is given: most
        outcomes come long after it, and need not be read for this.
        """
        found = of_ids(self.connection, "outcomes", ids, before) if ids else ()
        rows = {row.seq: row for row in map(_outcome, found)}
        if archived and self._mark is not None:
            rows |= {row.seq: row for row in self._archive.outcomes_of(self._mark, archived)}
        return [rows[seq] for seq in sorted(rows)]


def outcomes_after(connection: Connection, after: int, until: int, limit: int) -> Sequence[Any]:
    """Up to `limit` outcomes in the tables with seqs above `after` and up to `until`, in order."""
    query = f"{statements('monitor')['outcomes']} {statements('monitor')['after']}"
    return connection.execute(text(query), {"after": after, "until": until, "limit": limit}).all()


def of_ids(connection: Connection, table: str, ids: Iterable[str], before: int | None = None) -> Sequence[Any]:
    """The rows that the statement `table` finds of predictions with these ids, by seq.

    With `before` only those that were written before the prediction with this seq.
    """
    named = statements("monitor", connection.dialect.name)
    values: dict[str, object] = {"ids": msgspec.json.encode(sorted(set(ids))).decode()}
    if before is not None:
        values["before"] = before
    query = f"{named[table]} {named['of_ids' if before is None else 'early_of_ids']}"
    return connection.execute(text(query), values).all()


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


def _outcome(row: Any) -> OutcomeRow:
    values = list(row)
    values[7], values[8] = bool(values[7]), bool(values[8])  # SQLite gives 0 and 1
    return OutcomeRow(*values)
