"""Recompute derived state from the log, beside the live state, and replace that in one transaction.

Asked for (`bakeoff monitor --rebuild`), or at the monitor's start where another release has written the experiments'
state: an upgrade would otherwise go on with counters that the former release did not keep, and a downgrade followed by
an upgrade with counters that have missed events.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from app.domain.log_event import EVERY, Cursor
from app.domain.monitor_state import STATE_LAYOUT, ExperimentSummary, LogTotals
from app.domain.report import ExperimentReport
from app.errors import StoreUnavailable
from app.monitor.experiment.projection import NAME
from app.monitor.projection import DerivedStates, EventReads, Projection, Rounds
from app.monitor.publisher import ExperimentReads, MoreChecks, Publisher, ReportWrites, no_more_checks

_LOG = logging.getLogger(__name__)
_TRIES = 100
_PROGRESS_S = 10.0
_PAUSE_S = 0.02  # between two batches that are deleted, so that other writers get their chance


class RebuildLog(EventReads, ExperimentReads, Protocol):
    """The log: its events, and its experiments. Raises `StoreUnavailable`."""


class RebuildStates(DerivedStates, Protocol):
    """A space of derived state, live or rebuilt. Raises `StoreUnavailable`."""

    def all_states(self, projection: str) -> dict[str, str]: ...

    def discard(self, projections: Sequence[str]) -> bool: ...

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
    the last bit (None where there was no state before). `was_outdated`: another release wrote the experiments' state.
    `corrections`: outcomes that were corrected, whose last values the rebuilt evidence counts. `erased`: rows that were
    erased since the rebuild before, which the state before may have counted.
    """

    rows: int
    comparisons: tuple[Compared, ...]
    states_equal: Mapping[str, bool | None]
    was_outdated: bool = False
    corrections: int = 0
    erased: int = 0


class RebuildStopped(Exception):
    """Raised by the function that a rebuild calls between batches, to end it; nothing was replaced."""


def layout_of(states: DerivedStates) -> int | None:
    """The layout of the experiments' states; None where there are none, −1 where a later release wrote them."""
    body = states.states([NAME]).get(NAME)
    try:
        return None if body is None else msgspec.json.decode(body, type=LogTotals).layout
    except msgspec.MsgspecError:
        return -1


def is_outdated(states: DerivedStates) -> bool:
    """Whether there are states of the experiments, of another layout than this release's. One indexed read."""
    return layout_of(states) not in (None, STATE_LAYOUT)


def rebuild(
    projections: Sequence[Projection],
    log: RebuildLog,
    live: Space,
    fresh: Space,
    now_us: Callable[[], int],
    more_checks: MoreChecks = no_more_checks,
    between: Callable[[int], None] = lambda _rows: None,
    resume: bool = False,
) -> Rebuilt:
    """Rebuild in `fresh` up to where each live projection is (the whole log if it has not begun), compare, replace.

    A monitor may run meanwhile: it continues from the state that replaced its own. `between` is called between batches
    with the number of rows so far, and may raise `RebuildStopped`; with `resume` a rebuild goes on where one was
    stopped, if states of this release's layout are there. Raises `StoreUnavailable`.
    """
    names = [projection.name for projection in projections]
    if not (resume and layout_of(fresh.states) == STATE_LAYOUT):
        _discard(fresh.states, names, between)  # a rebuild that was killed left its state there
    was_outdated = is_outdated(live.states)
    begin = Cursor(corrections=log.newest_correction())
    rows = 0
    for _ in range(_TRIES):
        at = {name: live.states.cursor(name) for name in names}
        ends = {name: _end(cursor, was_outdated) for name, cursor in at.items()}
        rows = _catch_up(projections, Rounds(log, fresh.states, begin=begin), ends, rows, between)
        before = Publisher(log, live.states, live.reports, now_us)
        after = Publisher(log, fresh.states, fresh.reports, now_us, more_checks)
        summaries = log.experiments()
        # Reports are made of both states, because the stored ones may be a second older than the live state.
        old, new = _reports(live.states, before, summaries), _reports(fresh.states, after, summaries)
        compared, corrections = _compare(old, new), sum(each.corrections for each in new if each is not None)
        equal = {name: _equal(live.states, fresh.states, name) for name in names}
        after.publish()
        if fresh.states.take_the_place(names, at):
            # What was live is there now. Where this is stopped the rest stays until the next rebuild.
            with contextlib.suppress(RebuildStopped):
                _discard(fresh.states, names, between, rows)
            return Rebuilt(rows, compared, equal, was_outdated, corrections)
        # The running monitor went on meanwhile. Each round has less to catch up with, so that it ends soon.
    _discard(fresh.states, names, between)
    raise StoreUnavailable(
        f"the running monitor went on during each of {_TRIES} tries; nothing was replaced: stop it and rebuild again"
    )


def _discard(states: RebuildStates, names: Sequence[str], between: Callable[[int], None], rows: int = 0) -> None:
    while states.discard(names):
        between(rows)
        time.sleep(_PAUSE_S)


def _end(live_at: Cursor, was_outdated: bool) -> Cursor | None:
    """Where a rebuild ends: nothing is processed after it."""
    if live_at == Cursor():
        return None
    # Earlier releases have moved fewer numbers: the rebuild takes all that those they moved have passed.
    return msgspec.structs.replace(live_at, heartbeats=EVERY, corrections=EVERY) if was_outdated else live_at


def _catch_up(
    projections: Sequence[Projection],
    rounds: Rounds,
    ends: Mapping[str, Cursor | None],
    rows: int,
    between: Callable[[int], None],
) -> int:
    """Process the log, each projection up to its end; returns `rows` and the number of rows processed."""
    before = None
    while rows != before:
        before = rows
        for projection in projections:
            found = rounds.step(projection, ends[projection.name])
            if found:
                rows += found
                between(rows)
    return rows


def _reports(
    states: DerivedStates, publisher: Publisher, summaries: Sequence[ExperimentSummary]
) -> list[ExperimentReport | None]:
    """A report of each experiment's present state; None for an experiment without a state that can be read."""
    names = {each.id: f"{NAME}/{each.id}" for each in summaries}
    known = states.states(names.values())
    return [_report(publisher, each) if names[each.id] in known else None for each in summaries]


def _report(publisher: Publisher, summary: ExperimentSummary) -> ExperimentReport | None:
    try:
        return publisher.make(summary)
    except msgspec.MsgspecError:  # a later release wrote the state
        return None


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


def recompute(
    projection: Projection,
    log: RebuildLog,
    live: Space,
    fresh: Space,
    now_us: Callable[[], int],
    going_on: Callable[[], bool],
    more_checks: MoreChecks = no_more_checks,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Rebuild the experiments' `projection` in `fresh`, up to where the live one is, and put it in its place.

    Logs the progress, and the comparisons that differ afterwards. False where `going_on`, which is asked between
    batches, said no: the next call goes on from there. No monitor may process events meanwhile. `clock` is monotonic
    seconds. Raises `StoreUnavailable`.
    """
    _LOG.warning("experiments_recomputing", extra={"event_fields": {"reason": "another release wrote their state"}})
    try:
        done = rebuild([projection], log, live, fresh, now_us, more_checks, _Progress(going_on, clock), resume=True)
    except RebuildStopped:
        return False
    _LOG.warning("experiments_recomputed", extra={"event_fields": _fields(done)})
    return True


class _Progress:
    """Called between batches with the number of rows so far; logs it now and then. Raises `RebuildStopped`."""

    def __init__(self, going_on: Callable[[], bool], clock: Callable[[], float]) -> None:
        self._going_on = going_on
        self._clock = clock
        self._logged_s = clock()

    def __call__(self, rows: int) -> None:
        if not self._going_on():
            raise RebuildStopped
        if self._clock() - self._logged_s >= _PROGRESS_S:
            self._logged_s = self._clock()
            _LOG.info("experiments_recomputing", extra={"event_fields": {"rows": rows}})


def _fields(done: Rebuilt) -> dict[str, object]:
    changed = [
        {"experiment": each.experiment, "challenger": each.challenger, "before": each.before, "after": each.after}
        for each in done.comparisons
        if not each.equal
    ]
    return {"rows": done.rows, "comparisons": len(done.comparisons), "changed": changed}
