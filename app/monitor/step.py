"""One step of one folder: the next portion of the log, folded, and written together with the cursor."""

from __future__ import annotations

from typing import Protocol

from app.domain.derived import Changes
from app.domain.log_event import Cursor, LogPage
from app.domain.total_order import in_order
from app.monitor.folder import DerivedReads, Folder

# Rows of each kind: some tens of milliseconds of folding, and then a short transaction.
PORTION = 2000


class StepStore(DerivedReads, Protocol):
    """The store's side of a step. Raises `StoreUnavailable`: then nothing was written."""

    def cursor(self, folder: str) -> Cursor: ...

    def page(self, cursor: Cursor, limit: int, until: Cursor | None) -> LogPage: ...

    def commit(self, folder: str, before: Cursor, after: Cursor, changes: Changes) -> bool: ...


def step(folder: Folder, store: StepStore, portion: int = PORTION, until: Cursor | None = None) -> int:
    """Take in the folder's next portion of the log (none of it after `until`); how many rows that were.

    Everything is read from the store anew and nothing is kept: after a failure, a kill or another monitor's step the
    next one goes on from what is written. Raises `StoreUnavailable`.
    """
    before = store.cursor(folder.name)
    page = store.page(before, portion, until)
    if not len(page):
        return 0
    changes = folder.fold(in_order(page), store)
    # Where another process has moved the cursor meanwhile (a rebuild took the place), the work is simply dropped.
    store.commit(folder.name, before, page.cursor, changes)
    return len(page)


def take_in_all(folder: Folder, store: StepStore, portion: int = PORTION, until: Cursor | None = None) -> int:
    """Step until nothing is left; how many rows were taken in. Raises `StoreUnavailable`."""
    total = 0
    while rows := step(folder, store, portion, until):
        total += rows
    return total
