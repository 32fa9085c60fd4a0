"""What a folder is: it folds the log's events into derived state of its own, with a cursor of its own.

One step of one folder: the next portion of the log, folded, and written together with the cursor.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from app.domain.derived import Changes, UserFact
from app.domain.experiment import Configuration
from app.domain.log_event import Cursor, Event, LogPage, in_order


class DerivedReads(Protocol):
    """What a folder may read while it folds: what it wrote before, and the configurations. Raises `StoreUnavailable`.

    Nothing else of the log: what a fold gives must depend on the events alone, or a replay would differ.
    """

    def states(self, names: Iterable[str]) -> dict[str, str]: ...

    def users(self, experiment_id: str, hashes: Iterable[int]) -> dict[int, UserFact]: ...

    def configurations(self, epochs: Iterable[int]) -> dict[int, Configuration]: ...

    def first_configuration(self, experiment_id: str) -> Configuration | None: ...


class Projection(Protocol):
    """One member of the monitor. `name` is where its cursor and states are kept.

    `apply` gives the changes after `events`, which follow in order on those that it was given before. However they are
    cut into calls, the state must be the same to the last bit. A call may be repeated: it must remember nothing.
    """

    name: str

    def apply(self, events: Sequence[Event], reads: DerivedReads) -> Changes: ...


# Rows of each kind: some tens of milliseconds of folding, and then a short transaction.
BATCH_ROWS = 2000


class StepStore(DerivedReads, Protocol):
    """The store's side of a step. Raises `StoreUnavailable`: then nothing was written."""

    def cursor(self, projection: str) -> Cursor: ...

    def page(self, cursor: Cursor, limit: int, until: Cursor | None) -> LogPage: ...

    def commit(self, projection: str, before: Cursor, after: Cursor, changes: Changes) -> bool: ...


def step(projection: Projection, store: StepStore, portion: int = BATCH_ROWS, until: Cursor | None = None) -> int:
    """Take in the folder's next portion of the log (none of it after `until`); how many rows that were.

    Everything is read from the store anew and nothing is kept: after a failure, a kill or another monitor's step the
    next one goes on from what is written. Raises `StoreUnavailable`.
    """
    before = store.cursor(projection.name)
    page = store.page(before, portion, until)
    if not len(page):
        return 0
    changes = projection.apply(in_order(page), store)
    # Where another process has moved the cursor meanwhile (a rebuild took the place), the work is simply dropped.
    store.commit(projection.name, before, page.cursor, changes)
    return len(page)


def process_all(
    projection: Projection, store: StepStore, portion: int = BATCH_ROWS, until: Cursor | None = None
) -> int:
    """Step until nothing is left; how many rows were taken in. Raises `StoreUnavailable`."""
    total = 0
    while rows := step(projection, store, portion, until):
        total += rows
    return total
