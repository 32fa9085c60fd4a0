"""The newest outcomes of an experiment with their rows, for what is computed on demand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sqlalchemy import text

from app.domain.columns import LoggedLayout
from app.domain.experiment import Configuration
from app.domain.log_event import EVERY, Cursor, OutcomeRow, PredictionRow
from app.domain.outcome import OutcomeKind
from app.store.engine import Database
from app.store.event_log import EventLog
from app.store.kinds import READING
from app.store.statements import statements

_PAGE = 2_000


class NewestOutcomes:
    """Reads the log from its end. Each page is one short read, and raises `StoreUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._events = EventLog(database)

    def last_configuration(self, experiment_id: str) -> Configuration | None:
        """The newest configuration of an experiment."""
        return self._events.last_configuration(experiment_id)

    def layouts(self, ids: Iterable[int]) -> dict[int, LoggedLayout]:
        """The layouts with these ids, by id; unknown ones are left out."""
        return self._events.layouts(ids)

    def pages(self, experiment_id: str, kind: OutcomeKind) -> Iterator[list[tuple[PredictionRow, OutcomeRow]]]:
        """The outcomes of a kind with their last values, newest first, of up to 2,000 rows of the log at once."""
        first, last = self._events.first_configuration(experiment_id), self._events.last_configuration(experiment_id)
        if first is None or last is None:
            return
        end, corrected = self._last_outcome(first.epoch, last.epoch, kind), self._events.newest_correction()
        while end > 0:
            after = max(0, end - _PAGE)
            # No prediction and no heartbeat comes after these cursors: the page has outcomes, and what they join.
            start, until = (Cursor(EVERY, place, EVERY, corrected) for place in (after, end))
            page = self._events.page(start, _PAGE, until)
            yield [
                (page.rows[each.prediction_id], each)
                for each in reversed([*page.outcomes])
                if each.kind == kind and first.epoch <= each.epoch <= last.epoch and each.prediction_id in page.rows
            ]
            if page.outcomes and page.outcomes[0].received_at_us < first.created_at_us:
                return  # what is older was received before the experiment began
            end = after

    def _last_outcome(self, first: int, last: int, kind: OutcomeKind) -> int:
        with self._database.begin(READING) as connection:
            query = text(statements("newest")["last_outcome"])
            return int(connection.execute(query, {"first": first, "last": last, "kind": kind}).scalar() or 0)
