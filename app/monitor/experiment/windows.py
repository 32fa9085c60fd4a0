"""Projects rewards with a window: each unit's first answer enters when its window closes.

With a window (`REWARD_WINDOW`) each unit's first answer enters when its window closes, with its reward or 0. If rewards
entered when they come, and zeros later, the version would look better that converts sooner. Windows close by the time
of the log: the latest time that an event has shown. So a replay closes each at the same place among the events.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence

import msgspec

from app.domain.monitor_state import OpenWindow
from app.monitor.experiment.corrections import note_stale
from app.monitor.experiment.draws import Rules
from app.monitor.experiment.events import CorrectedFact, Fact, JoinedFact, PredictionFact
from app.monitor.experiment.methods.contract import Observation
from app.monitor.experiment.rewards import Draw, draw_of_row, enter, has_voted, is_between
from app.monitor.experiment.splits import split_of
from app.monitor.experiment.state import ExperimentPlan, ExperimentState
from app.monitor.experiment.units import UnitLedger, identities


class Windows(msgspec.Struct):
    """The open windows that a batch of events can touch; `changed` and `closed` are to be written."""

    open: dict[int, OpenWindow]
    changed: dict[int, OpenWindow] = msgspec.field(default_factory=dict)
    closed: list[int] = msgspec.field(default_factory=list)


def apply_windows(
    state: ExperimentState,
    plan: ExperimentPlan,
    facts: Mapping[int, Fact],
    clocks: Sequence[int],
    fresh: set[int],
    units: tuple[Windows, UnitLedger, Rules],
    found: Mapping[str, list[Observation]],
) -> None:
    """Open, fill and close windows in the order of events.

    `clocks` are the times of the log at each fact, with that of the batch's end behind them (µs since 1970).
    """
    windows, ledger, rules = units
    due = [(window.closes_at_us, seq) for seq, window in windows.open.items()]
    heapq.heapify(due)
    for clock_us, (place, fact) in zip(clocks, facts.items(), strict=False):
        # A joined outcome follows its row or its outcome at once: that event has closed what was to be closed.
        if not isinstance(fact, JoinedFact | CorrectedFact):
            _close(state, plan, windows, due, (place, clock_us), found)
        if isinstance(fact, PredictionFact) and place in fresh and fact.row.counts:
            _open(state, plan, (fact, draw_of_row(state, plan, fact, rules)), windows, due, ledger)
        elif isinstance(fact, JoinedFact) and fact.kind == "reward" and fact.outcome.counts:
            _fill(state, plan, windows, fact, ledger)
        elif isinstance(fact, CorrectedFact) and fact.kind == "reward" and fact.outcome.counts and fact.joined:
            _correct(state, plan, fact, fact.joined, units)
    _close(state, plan, windows, due, (1 + max(facts, default=0), clocks[-1]), found)


def _open(
    state: ExperimentState,
    plan: ExperimentPlan,
    drawn: tuple[PredictionFact, Draw],
    windows: Windows,
    due: list[tuple[int, int]],
    ledger: UnitLedger,
) -> None:
    """Open the window of a unit's first answer; later answers of the unit have none."""
    row, draw = drawn[0].row, drawn[1]
    if not draw.usable or has_voted(state, draw, ledger):
        return
    if all(plan.parts(draw.lacking, challenger) for challenger in plan.challengers):
        return  # a later request of the unit may compare two versions
    for at in range(len(state.pairs)):
        ledger.vote(draw.ids, at)
    assert plan.window_us is not None
    window = OpenWindow(
        seq=row.seq,
        closes_at_us=row.served_at_us + plan.window_us,
        epoch=draw.epoch,
        version=draw.version,
        kind=draw.kind,
        differs=draw.differs if plan.metric.is_triggered(plan.terms) else (),
        features=draw.features,
        lacking=tuple(sorted(draw.lacking & state.versions.keys())),
    )
    windows.open[row.seq] = windows.changed[row.seq] = window
    heapq.heappush(due, (window.closes_at_us, window.seq))
    state.open_windows += 1


def _fill(state: ExperimentState, plan: ExperimentPlan, windows: Windows, fact: JoinedFact, ledger: UnitLedger) -> None:
    """Keep a reward until its window closes; one that came later, or for a later answer of its unit, is not kept."""
    window = windows.open.get(fact.row.seq)
    if window is None or fact.outcome.received_at_us > window.closes_at_us:
        ids = identities(plan, fact.row)[1]
        state.late_rewards += any(ledger.was_first(ids, at, fact.row.seq) for at in range(len(state.pairs)))
        return
    filled = msgspec.structs.replace(window, reward=fact.value)
    windows.open[window.seq] = windows.changed[window.seq] = filled


def _correct(
    state: ExperimentState,
    plan: ExperimentPlan,
    fact: CorrectedFact,
    joined: tuple[JoinedFact, JoinedFact],
    units: tuple[Windows, UnitLedger, Rules],
) -> None:
    """Replace a reward that came in time: in its window, or once that has closed in the mean."""
    (before, after), (windows, ledger, rules) = joined, units
    row = before.row
    window = windows.open.get(row.seq)
    assert plan.window_us is not None
    if before.outcome.received_at_us > row.served_at_us + plan.window_us:
        return
    if window is not None:
        filled = msgspec.structs.replace(window, reward=after.value)
        windows.open[window.seq] = windows.changed[window.seq] = filled
        return
    draw = draw_of_row(state, plan, before, rules)
    tally = state.versions.get(draw.version)
    if tally is None or not _has_entered(state, plan, draw, row.seq, ledger):
        return
    first, last = (plan.metric.counted(plan.terms, each.value) or 0.0 for each in joined)
    tally.voted_total += last - first
    if draw.reduced:
        tally.apart_total += last - first
    note_stale(state, plan, fact, ledger)


def _has_entered(state: ExperimentState, plan: ExperimentPlan, draw: Draw, seq: int, ledger: UnitLedger) -> bool:
    """Whether the answer `seq`, whose window has closed, entered a comparison."""
    for at, challenger in enumerate(plan.challengers):
        is_pair = is_between(plan, draw.version, draw.lacking, challenger)
        share = plan.share(state.epochs[draw.epoch], challenger)
        known = not plan.metric.is_triggered(plan.terms) or draw.differs[at] is not None
        if draw.usable and is_pair and 0 < share < 1 and known and ledger.was_first(draw.ids, at, seq):
            return True
    return False


def _close(
    state: ExperimentState,
    plan: ExperimentPlan,
    windows: Windows,
    due: list[tuple[int, int]],
    moment: tuple[int, int],
    found: Mapping[str, list[Observation]],
) -> None:
    """Enter the answers whose windows have closed at a moment (a place among the facts, and the time of the log)."""
    place, clock_us = moment
    while due and due[0][0] < clock_us:
        window = windows.open.pop(heapq.heappop(due)[1])
        windows.changed.pop(window.seq, None)
        windows.closed.append(window.seq)
        state.open_windows -= 1
        lacking = frozenset(window.lacking)
        reduced = split_of(window.epoch, state.epochs[window.epoch], lacking).is_reduced
        draw = Draw(
            window.version,
            window.epoch,
            window.differs,
            window.features,
            window.kind,
            lacking=lacking,
            reduced=reduced,
        )
        # Without ids: the unit has voted when its window opened.
        reward = Observation(place, window.closes_at_us, window.reward or 0.0)
        enter(state, plan, draw, reward, UnitLedger({}), found)


def closing_reads(facts: Collection[Fact]) -> set[int]:
    """The seqs of the predictions whose windows the rewards among `facts` may fill."""
    corrected = (fact.joined[0] for fact in facts if isinstance(fact, CorrectedFact) and fact.joined)
    joined = (fact for fact in facts if isinstance(fact, JoinedFact))
    return {fact.row.seq for fact in (*joined, *corrected) if fact.kind == "reward"}
