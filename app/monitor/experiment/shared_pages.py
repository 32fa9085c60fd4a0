"""The log as several projections of experiments read it together: each page once, and each event decoded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from app.domain.log_event import Cursor, Event, LogPage, PredictionLogged
from app.domain.log_order import in_order
from app.monitor.experiment.events import Decodable, Decode, Fact, fact_of
from app.monitor.projection import EventReads


class SharedPage(NamedTuple):
    """A page of the log for all metrics at its cursor: read once, and each event decoded once."""

    page: LogPage
    events: Sequence[Event]
    decode: Decode


class SharedPages:
    """The log in one round of the metrics: `at` is called with the cursor of each, the one that is furthest first.

    No page goes beyond the first one: a metric that is behind arrives at the cursor of the others though the log goes
    on. One page is in memory.
    """

    def __init__(self, log: EventReads, batch_rows: int) -> None:
        self._log = log
        self._batch_rows = batch_rows
        self._until: Cursor | None = None
        self._kept: tuple[Cursor, SharedPage] | None = None

    def at(self, cursor: Cursor) -> SharedPage:
        """The page that follows. Raises `StoreUnavailable`."""
        if self._kept is None or self._kept[0] != cursor:
            page = self._log.page(cursor, self._batch_rows, self._until)
            self._kept = cursor, SharedPage(page, in_order(page), _decoding_once())
            self._until = self._until or page.cursor
        return self._kept[1]


def _decoding_once() -> Decode:
    """`fact_of` that decodes an event once; it is for events that are kept meanwhile, of one log."""
    facts: dict[tuple[int, str | None], Fact] = {}

    def decode(event: Decodable, names: Mapping[int, str], weights: Mapping[str, float]) -> Fact:
        # Of all that is given beside the event, only this can differ from one metric to another.
        served = None if isinstance(event, PredictionLogged) else names.get(event.outcome.version_ordinal)
        known = id(event), served
        return facts.get(known) or facts.setdefault(known, fact_of(event, names, weights))

    return decode
