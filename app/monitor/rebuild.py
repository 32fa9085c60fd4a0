"""Recompute all derived state from the log, beside what is there, and put it in its place in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from app.domain.log_event import Cursor
from app.domain.monitor_state import ExperimentSummary
from app.domain.report import ExperimentReport
from app.errors import StoreUnavailable
from app.monitor.experiment.projection import NAME
from app.monitor.projection import Projection, process_all
from app.monitor.publisher import MoreChecks, Publisher, no_more_checks
from app.store.engine import Database
from app.store.projections import MonitorStore
from app.store.statements import REBUILD

_TRIES = 100


class Compared(msgspec.Struct, frozen=True):
    """ln E of a comparison before and after a rebuild; None where there was, or is, none."""

    experiment: str
    challenger: str
    before: float | None
    after: float | None

    @property
    def equal(self) -> bool:
        """To the last bit."""
        return self.before == self.after


class Rebuilt(msgspec.Struct, frozen=True):
    """What a rebuild did: rows taken in, every comparison, and whether each folder's states are equal to the last bit
    (None where there was no state before)."""

    rows: int
    comparisons: tuple[Compared, ...]
    states_equal: Mapping[str, bool | None]


def rebuild(
    database: Database,
    projections: Sequence[Projection],
    now_us: Callable[[], int],
    more_checks: MoreChecks = no_more_checks,
) -> Rebuilt:
    """Rebuild up to where each folder is now (all of the log where it has not begun), compare, and take the place.

    A monitor may run meanwhile: it goes on from the state that took the place. Raises `StoreUnavailable`.
    """
    live, fresh = MonitorStore(database, now_us), MonitorStore(database, now_us, REBUILD)
    names = [projection.name for projection in projections]
    fresh.discard(names)
    rows = 0
    for _ in range(_TRIES):
        at = {name: live.cursor(name) for name in names}
        rows += sum(_catch_up(projection, fresh, at[projection.name]) for projection in projections)
        before, after = Publisher(live, now_us), Publisher(fresh, now_us, more_checks)
        summaries = live.experiments()
        # Of the states, not the stored reports: those may be a moment old.
        compared = _compare(_reports(live, before, summaries), _reports(fresh, after, summaries))
        equal = {name: _equal(live, fresh, name) for name in names}
        after.publish()
        if fresh.take_the_place(names, at):
            return Rebuilt(rows, compared, equal)
    fresh.discard(names)
    raise StoreUnavailable("the running monitor was never at rest long enough; stop it and rebuild again")


def _catch_up(projection: Projection, fresh: MonitorStore, live_at: Cursor) -> int:
    return process_all(projection, fresh, until=None if live_at == Cursor() else live_at)


def _reports(
    store: MonitorStore, publisher: Publisher, summaries: Sequence[ExperimentSummary]
) -> list[ExperimentReport | None]:
    """The report of each experiment as its state is; None of one without a state."""
    names = {each.id: f"{NAME}/{each.id}" for each in summaries}
    known = store.states(names.values())
    return [publisher.make(each) if names[each.id] in known else None for each in summaries]


def _compare(
    before: Sequence[ExperimentReport | None], after: Sequence[ExperimentReport | None]
) -> tuple[Compared, ...]:
    compared = []
    for old, new in zip(before, after, strict=True):
        olds = {} if old is None else {each.challenger: each.log_e for each in old.comparisons}
        for each in () if new is None else new.comparisons:
            compared.append(Compared(new.id if new else "", each.challenger, olds.get(each.challenger), each.log_e))
    return tuple(compared)


def _equal(live: MonitorStore, fresh: MonitorStore, projection: str) -> bool | None:
    old, new = live.all_states(projection), fresh.all_states(projection)
    return None if not old else old == new
