"""Projections: each turns the log's events into derived state of its own, with a cursor of its own, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from app.domain.columns import LoggedLayout
from app.domain.experiment import Configuration
from app.domain.log_columns import few_collections
from app.domain.log_event import Cursor, Event, LogPage
from app.domain.log_order import in_order
from app.domain.monitor_state import Changes, OpenWindow, UnitFact, UserFact

# Rows of each kind in one step, where so many wait: tenths of a second of work. The write transaction at its end is
# short, and what a step costs beside its rows is little.
BATCH_ROWS = 5000
# The first rows of a log begin the counts to which all others add, and take several times as long: a page of their own.
FIRST_ROWS = 500


class EventReads(Protocol):
    """The log that is projected. Raises `StoreUnavailable`."""

    def page(self, cursor: Cursor, limit: int, until: Cursor | None) -> LogPage: ...

    def newest_correction(self) -> int: ...

    def configurations(self, epochs: Iterable[int]) -> dict[int, Configuration]: ...

    def layouts(self, ids: Iterable[int]) -> dict[int, LoggedLayout]: ...

    def first_configuration(self, experiment_id: str) -> Configuration | None: ...


class DerivedStates(Protocol):
    """Where the projections' state is kept. Raises `StoreUnavailable`: then nothing was written."""

    def cursor(self, projection: str) -> Cursor: ...

    def states(self, names: Iterable[str]) -> dict[str, str]: ...

    def users(self, experiment_id: str, hashes: Iterable[int]) -> dict[int, UserFact]: ...

    def units(self, experiment_id: str, units: Iterable[int]) -> dict[int, UnitFact]: ...

    def windows(self, experiment_id: str, seqs: Iterable[int], closing_before_us: int) -> dict[int, OpenWindow]: ...

    def commit(
        self, projection: str, before: Cursor, after: Cursor, changes: Changes, erased: int | None = None
    ) -> bool: ...


class DerivedReads(NamedTuple):
    """The reads that a projection may do: its own earlier state, configurations, and the columns of rows.

    All raise `StoreUnavailable`.

    `windows` of an experiment: those of the predictions with these seqs, and all that close before a time (µs).

    There is no way to the rest of the log: the result must depend on the events alone, or a replay would differ.
    """

    states: Callable[[Iterable[str]], dict[str, str]]
    users: Callable[[str, Iterable[int]], dict[int, UserFact]]
    units: Callable[[str, Iterable[int]], dict[int, UnitFact]]
    windows: Callable[[str, Iterable[int], int], dict[int, OpenWindow]]
    configurations: Callable[[Iterable[int]], dict[int, Configuration]]
    first_configuration: Callable[[str], Configuration | None]
    layouts: Callable[[Iterable[int]], dict[int, LoggedLayout]]


class Projection(Protocol):
    """One projection of the log. Its cursor and its states are kept under `name`.

    `apply` returns the changes after `events`, which follow directly on the events of the call before. However the
    log is cut into calls, the state is the same to the last bit. A call may be repeated, so it keeps nothing in memory.
    """

    name: str

    def apply(self, events: Sequence[Event], reads: DerivedReads) -> Changes: ...


def step(
    projection: Projection,
    log: EventReads,
    states: DerivedStates,
    batch_rows: int = BATCH_ROWS,
    until: Cursor | None = None,
    begin: Cursor = Cursor(),  # noqa: B008
) -> int:
    """Process the next batch of the log (nothing after `until`); returns its number of rows, 0 at the end of the log.

    The first batch is read after `begin`, which a rebuild puts behind the corrections: then each outcome has its last
    value from the start.

    Everything is read anew from the store and nothing is kept: after a failure, a kill or another monitor's step the
    next call continues from what is written. Raises `StoreUnavailable`.
    """
    return Rounds(log, states, batch_rows, begin).step(projection, until)


def apply_page(
    projection: Projection,
    log: EventReads,
    states: DerivedStates,
    before: Cursor,
    read: tuple[LogPage, Sequence[Event]],
) -> None:
    """Process a page with its events, which follow on the cursor `before`. Raises `StoreUnavailable`."""
    page, events = read
    reads = DerivedReads(
        states.states,
        states.users,
        states.units,
        states.windows,
        log.configurations,
        log.first_configuration,
        log.layouts,
    )
    changes = projection.apply(events, reads)
    # False where another process has moved the cursor (a rebuild took the place), or rows of the page may have been
    # erased since it was read, perhaps for another projection: what is there holds, ours is dropped.
    states.commit(projection.name, before, page.cursor, changes, page.erased)


class Rounds:
    """Steps of several projections in rounds, one of each: those that are at one cursor share a page of the log.

    It is read once, and its events are made once. Where the log grows within a round, later projections still get the
    page of the first. A projection that steps twice begins the next round, and pages are read anew. The first page
    follows on the cursor `begin`.
    """

    def __init__(
        self,
        log: EventReads,
        states: DerivedStates,
        batch_rows: int = BATCH_ROWS,
        begin: Cursor = Cursor(),  # noqa: B008
    ) -> None:
        self._log = log
        self._states = states
        self._batch_rows = batch_rows
        self._begin = begin
        self._pages: dict[tuple[Cursor, Cursor | None], tuple[LogPage, Sequence[Event]]] = {}
        self._stepped: set[str] = set()

    def step(self, projection: Projection, until: Cursor | None = None) -> int:
        """As the function `step`. Raises `StoreUnavailable`."""
        if projection.name in self._stepped:
            self._stepped.clear()
            self._pages.clear()
        self._stepped.add(projection.name)
        before = self._states.cursor(projection.name)
        with few_collections():
            if before != Cursor():
                return self._apply(projection, before, before, self._batch_rows, until)
            rows = self._apply(projection, before, self._begin, min(FIRST_ROWS, self._batch_rows), until)
            before = self._states.cursor(projection.name)
            if FIRST_ROWS <= rows < self._batch_rows and before != Cursor():
                rows += self._apply(projection, before, before, self._batch_rows, until)
            return rows

    def _apply(self, projection: Projection, before: Cursor, after: Cursor, limit: int, until: Cursor | None) -> int:
        """Process the page that follows on `after`, where the projection's cursor is `before`."""
        if (after, until) not in self._pages:
            page = self._log.page(after, limit, until)
            self._pages[after, until] = page, in_order(page)
        read = self._pages[after, until]
        if len(read[0]):
            apply_page(projection, self._log, self._states, before, read)
        return len(read[0])


def process_together(
    projections: Sequence[Projection], log: EventReads, states: DerivedStates, batch_rows: int = BATCH_ROWS
) -> int:
    """Process batches until every projection is at the end of the log; returns the rows of all. Raises as `step`."""
    rounds, total = Rounds(log, states, batch_rows), 0
    while rows := sum(rounds.step(each) for each in projections):
        total += rows
    return total


def process_all(
    projection: Projection,
    log: EventReads,
    states: DerivedStates,
    batch_rows: int = BATCH_ROWS,
    until: Cursor | None = None,
) -> int:
    """Process batches until the end of the log (or `until`); returns the number of rows. Raises `StoreUnavailable`."""
    total = 0
    while rows := step(projection, log, states, batch_rows, until):
        total += rows
    return total
