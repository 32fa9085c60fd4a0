"""Recompute all derived state from the log, beside the live state, and replace that in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from app.domain.log_event import Cursor
from app.domain.monitor_state import ExperimentSummary
from app.domain.report import ExperimentReport
from app.errors import StoreUnavailable
from app.monitor.experiment.projection import NAME
from app.monitor.projection import DerivedStates, EventReads, Projection, process_all
from app.monitor.publisher import ExperimentReads, MoreChecks, Publisher, ReportWrites, no_more_checks

_TRIES = 100


class RebuildLog(EventReads, ExperimentReads, Protocol):
    """The log: its events, and its experiments. Raises `StoreUnavailable`."""


class RebuildStates(DerivedStates, Protocol):
    """A space of derived state, live or rebuilt. Raises `StoreUnavailable`."""

    def all_states(self, projection: str) -> dict[str, str]: ...

    def discard(self, projections: Sequence[str]) -> None: ...

    def take_the_place(self, projections: Sequence[str], at: Mapping[str, Cursor]) -> bool: ...


class Space(NamedTuple):
    """States and the reports made of them: the live ones, or the rebuilt ones beside them."""

    states: RebuildStates
    reports: ReportWrites


class Compared(msgspec.Struct, frozen=True):
    """ln E of a comparison before and after a rebuild; None where there was, or is, none."""

    experiment: str
    challenger: str
    before: float | None
    after: float | None

    @property
    def equal(self) -> bool:
        """Whether the two are equal to the last bit."""
        return self.before == self.after


class Rebuilt(msgspec.Struct, frozen=True):
    """The result of a rebuild: rows processed, every comparison, and whether each projection's states are equal to
    the last bit (None where there was no state before)."""

    rows: int
    comparisons: tuple[Compared, ...]
    states_equal: Mapping[str, bool | None]


def rebuild(
    projections: Sequence[Projection],
    log: RebuildLog,
    live: Space,
    fresh: Space,
    now_us: Callable[[], int],
    more_checks: MoreChecks = no_more_checks,
) -> Rebuilt:
    """Rebuild in `fresh` up to where each live projection is (the whole log if it has not begun), compare, replace.

    A monitor may run meanwhile: it continues from the state that replaced its own. Raises `StoreUnavailable`.
    """
    names = [projection.name for projection in projections]
    fresh.states.discard(names)  # a rebuild that was killed left its state there
    rows = 0
    for _ in range(_TRIES):
        at = {name: live.states.cursor(name) for name in names}
        rows += sum(_catch_up(projection, log, fresh.states, at[projection.name]) for projection in projections)
        before = Publisher(log, live.states, live.reports, now_us)
        after = Publisher(log, fresh.states, fresh.reports, now_us, more_checks)
        summaries = log.experiments()
        # Reports are made of both states, because the stored ones may be a second older than the live state.
        compared = _compare(_reports(live.states, before, summaries), _reports(fresh.states, after, summaries))
        equal = {name: _equal(live.states, fresh.states, name) for name in names}
        after.publish()
        if fresh.states.take_the_place(names, at):
            return Rebuilt(rows, compared, equal)
        # The running monitor went on meanwhile. Each round has less to catch up with, so that it ends soon.
    fresh.states.discard(names)
    raise StoreUnavailable(
        f"the running monitor went on during each of {_TRIES} tries; nothing was replaced: stop it and rebuild again"
    )


def _catch_up(projection: Projection, log: EventReads, fresh: DerivedStates, live_at: Cursor) -> int:
    return process_all(projection, log, fresh, until=None if live_at == Cursor() else live_at)


def _reports(
    states: DerivedStates, publisher: Publisher, summaries: Sequence[ExperimentSummary]
) -> list[ExperimentReport | None]:
    """A report of each experiment's present state; None for an experiment without a state."""
    names = {each.id: f"{NAME}/{each.id}" for each in summaries}
    known = states.states(names.values())
    return [publisher.make(each) if names[each.id] in known else None for each in summaries]


def _compare(
    before: Sequence[ExperimentReport | None], after: Sequence[ExperimentReport | None]
) -> tuple[Compared, ...]:
    compared = []
    for old, new in zip(before, after, strict=True):
        old_log_e = {} if old is None else {each.challenger: each.log_e for each in old.comparisons}
        for each in () if new is None else new.comparisons:
            compared.append(
                Compared(new.id if new else "", each.challenger, old_log_e.get(each.challenger), each.log_e)
            )
    return tuple(compared)


def _equal(live: RebuildStates, fresh: RebuildStates, projection: str) -> bool | None:
    old, new = live.all_states(projection), fresh.all_states(projection)
    return None if not old else old == new
