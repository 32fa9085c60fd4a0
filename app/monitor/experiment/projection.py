"""The projection of experiments: from the log's events to one state for each experiment."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec

from app.domain.experiment import Configuration
from app.domain.log_event import (
    Event,
    FeedbackReceived,
    OutcomeCorrected,
    PredictionLogged,
    PredictionRow,
    TimePassed,
)
from app.domain.log_page import Events, epochs_in, events_of
from app.domain.monitor_state import STATE_LAYOUT, Changes, LogTotals, PlacedPoint, UnitFact, UserFact
from app.monitor.experiment.comparisons import advance_all
from app.monitor.experiment.draws import Draws, Rules, draws, sticky_users
from app.monitor.experiment.events import CorrectedFact, Decode, Fact, FeedbackFact, fact_of, marks_of_row
from app.monitor.experiment.methods.table import new_comparison
from app.monitor.experiment.outcomes import Comparable, Observations, apply_outcomes
from app.monitor.experiment.plain import Found, Plain, count_plain, plain_of
from app.monitor.experiment.plain_outcomes import PlainOutcomes
from app.monitor.experiment.plain_selection import Opened
from app.monitor.experiment.plain_traffic import PlainTraffic
from app.monitor.experiment.state import ExperimentPlan, ExperimentState, PairState, VersionTally, plan_of
from app.monitor.experiment.traffic import Batch, apply_traffic
from app.monitor.experiment.unit_columns import UnitColumns
from app.monitor.experiment.units import (
    UnitLedger,
    identities,
    key_identity,
    outcome_identity,
    user_identity,
)
from app.monitor.experiment.windows import Windows, apply_windows, closing_reads
from app.monitor.projection import DerivedReads
from app.routing.policies import keeps_users

NAME = "experiment"


class ExperimentProjection:
    """A `Projection`. An event belongs to the experiment of its config revision, even after that experiment ended.

    `decode` makes a fact of an event, as `fact_of` does.
    """

    name = NAME

    def __init__(self, decode: Decode = fact_of) -> None:
        self._decode = decode

    def apply(self, events: Sequence[Event], reads: DerivedReads) -> Changes:
        """The changes to the experiments that `events` belong to, and to those whose reward windows have closed."""
        totals, ordered = _totals(reads), events_of(events)
        # Revision 0 was served while the store could not be read, so it belongs to no experiment.
        epochs = epochs_in(ordered.rows) | _epochs_of_outcomes(ordered)
        configurations = reads.configurations(epochs - {0})
        opened = {each.experiment_id: each for each in configurations.values()}.keys()
        known = {name: _opened(name, reads) for name in opened}
        found = plain_of(ordered, configurations, known, totals)
        parts = _parts(ordered, found, totals, configurations, self._decode)
        applied = {
            name: _apply_to_one(known.get(name) or _opened(name, reads), part, totals.clock_us, reads)
            for name, part in parts.items()
        }
        changed = {name: one for name, one in applied.items() if one is not None}
        untouched = set(totals.waiting) - changed.keys()
        totals.waiting = sorted(untouched | {name for name, one in changed.items() if one.state.open_windows})
        totals.layout = STATE_LAYOUT
        return _changes(totals, changed)


def _epochs_of_outcomes(events: Events) -> set[int]:
    corrected = {event.outcome.epoch for event in events.rest if isinstance(event, OutcomeCorrected)}
    return corrected.union(*(each.array("epoch").tolist() for each in (events.received, events.joined.outcomes)))


class _Part(msgspec.Struct):
    """The facts of one experiment in a batch by place, the time of the log at each, and configurations by revision.

    `plain` are those of its events that are no facts.
    """

    facts: dict[int, Fact] = msgspec.field(default_factory=dict)
    clocks: list[int] = msgspec.field(default_factory=list)
    configurations: dict[int, Configuration] = msgspec.field(default_factory=dict)
    plain: Plain = msgspec.field(default_factory=Plain)

    def __bool__(self) -> bool:
        return bool(self.configurations)


class _Applied(NamedTuple):
    """What a batch has made of one experiment."""

    state: ExperimentState
    points: list[PlacedPoint]
    users: tuple[UserFact, ...]
    units: tuple[UnitFact, ...]
    windows: Windows


def _parts(
    events: Events, plain: Found, totals: LogTotals, configurations: Mapping[int, Configuration], decode: Decode
) -> dict[str, _Part]:
    """The events by experiment, with one part for each that waits for windows; counts them in `totals`."""
    parts = {experiment_id: _Part() for experiment_id in totals.waiting}
    for experiment_id, epochs in plain.epochs.items():
        if epochs:
            own = {epoch: configurations[epoch] for epoch in epochs}
            parts[experiment_id] = _Part(plain=plain.plain[experiment_id], configurations=own)
    names = _Names(totals)
    for place, event in zip(plain.others.tolist(), events.some(plain.others), strict=True):
        epoch, time_us = _epoch_and_time(event)
        totals.clock_us = max(totals.clock_us, time_us)
        configuration = configurations.get(epoch)
        _count(totals, event, configuration, names)
        if configuration is not None and not isinstance(event, TimePassed):
            part = parts.setdefault(configuration.experiment_id, _Part())
            part.facts[place] = decode(event, names.of(configuration), configuration.weights)
            part.clocks.append(totals.clock_us)
            part.configurations[configuration.epoch] = configuration
    for each in plain.plain.values():
        count_plain(each, totals)
    return parts


class _Names:
    """The versions by ordinal, as they are known at each event: kept, for they hardly ever change."""

    def __init__(self, totals: LogTotals) -> None:
        self._totals = totals
        self._known = set(totals.names.values())
        self._of: dict[int, dict[int, str]] = {}
        self._met: set[int] = set()

    def meet(self, configuration: Configuration) -> None:
        """Remember the ordinals of a configuration, unless others are known."""
        if configuration.epoch in self._met:
            return
        self._met.add(configuration.epoch)
        for name, ordinal in configuration.ordinals.items():
            self._totals.names.setdefault(ordinal, name)
        self._changed()

    def see(self, row: PredictionRow) -> None:
        """Remember the ordinal in a row's id, of a version that is not known."""
        if row.version not in self._known:
            ordinal = marks_of_row(row).version_ordinal
            self._totals.names |= {ordinal: row.version} if ordinal else {}
            self._changed()

    def of(self, configuration: Configuration) -> Mapping[int, str]:
        """Versions by ordinal: those of the configuration, and for other ordinals those that rows showed."""
        found = self._of.get(configuration.epoch)
        if found is None:
            ordinals = {ordinal: name for name, ordinal in configuration.ordinals.items()}
            self._of[configuration.epoch] = found = {**self._totals.names, **ordinals}
        return found

    def _changed(self) -> None:
        self._known = set(self._totals.names.values())
        self._of.clear()


def _changes(totals: LogTotals, changed: Mapping[str, _Applied]) -> Changes:
    return Changes(
        cursor_body=_json(totals),
        states={name: _json(one.state) for name, one in changed.items()},
        points=tuple(point for one in changed.values() for point in one.points),
        users={name: one.users for name, one in changed.items()},
        units={name: one.units for name, one in changed.items()},
        windows={name: tuple(one.windows.changed.values()) for name, one in changed.items()},
        closed={name: tuple(one.windows.closed) for name, one in changed.items()},
    )


def load_state(plan: ExperimentPlan, body: str | None) -> ExperimentState:
    """The state that was written as `body`; for None, the state before the first event."""
    if body is not None:
        return msgspec.json.decode(body, type=ExperimentState)
    return ExperimentState(
        versions={version: VersionTally() for version in plan.versions},
        pairs={
            challenger: PairState(method=new_comparison(plan.terms, plan.cases.covariates))
            for challenger in plan.challengers
        },
    )


def _apply_to_one(opened: Opened, part: _Part, clock_us: int, reads: DerivedReads) -> _Applied | None:
    """Apply a batch to one experiment; None where nothing happened: no event, and no window closed."""
    plan, state = opened
    windows, facts = Windows({}), part.facts.values()
    if plan.window_us is not None:
        windows.open = dict(reads.windows(plan.experiment_id, closing_reads(facts), clock_us))
    if not part and not windows.open:
        return None
    for epoch, configuration in part.configurations.items():
        state.epochs[epoch] = dict(configuration.weights)
        state.policies[epoch] = configuration.policy
    # What is corrected later makes an experiment no older.
    times = (fact.at_us for fact in facts if not isinstance(fact, CorrectedFact))
    state.last_event_us = max(state.last_event_us, part.plain.last_at_us, *times, 0)
    sticky = frozenset(epoch for epoch, policy in state.policies.items() if keeps_users(policy))
    rules = Rules(plan.rewards_wait, plan.terms.unit is not None, sticky)
    of_plain = part.plain.units
    found, ledger = _draws(plan, part.facts, rules, reads), _ledger(plan, facts, of_plain.tolist(), reads)
    units = UnitColumns(of_plain, ledger, len(state.pairs))
    for version, count in found.new_users.items():
        if version in state.versions:
            state.versions[version].users += count
    state.moved_users += found.moved
    traffic = PlainTraffic(state, plan, part.plain, units)
    apply_traffic(state, plan, part.facts, Batch(found.fresh, rules, ledger), traffic)
    observations: Observations = {challenger: [] for challenger in plan.challengers}
    comparable = Comparable(found.comparable, found.matched, ledger, rules)
    outcomes = PlainOutcomes(state, plan, part.plain, units)
    apply_outcomes(state, plan, part.facts, comparable, outcomes, observations)
    if plan.window_us is not None:
        clocks = [*part.clocks, clock_us]
        apply_windows(state, plan, part.facts, clocks, found.fresh, (windows, ledger, rules), observations)
    units.remember()
    points = advance_all(state, plan, observations)
    return _Applied(state, points, tuple(found.changed.values()), tuple(ledger.changed.values()), windows)


def _draws(plan: ExperimentPlan, facts: Mapping[int, Fact], rules: Rules, reads: DerivedReads) -> Draws:
    # The state holds no users: there may be millions. Only those of this batch are read.
    hashes = sticky_users(facts.values(), rules)
    return draws(facts, reads.users(plan.experiment_id, hashes) if hashes else {}, rules)


def _ledger(plan: ExperimentPlan, facts: Collection[Fact], units: Collection[int], reads: DerivedReads) -> UnitLedger:
    """What is known of the units of the facts, and of these of plain events."""
    wanted = {*units}
    known = (fact.joined[0] if isinstance(fact, CorrectedFact) and fact.joined else fact for fact in facts)
    for fact in known:
        if not isinstance(fact, FeedbackFact | CorrectedFact) and fact.row.counts:
            wanted.update(identities(plan, fact.row)[1], key_identity(fact.row))
            if fact.row.user_hash:
                wanted.add(user_identity(fact.row))
    corrected = (fact for fact in facts if isinstance(fact, CorrectedFact))
    wanted.update(outcome_identity(fact.outcome.prediction_id, fact.kind) for fact in corrected)
    return UnitLedger(reads.units(plan.experiment_id, wanted) if wanted else {})


def _totals(reads: DerivedReads) -> LogTotals:
    body = reads.states([NAME]).get(NAME)
    return LogTotals() if body is None else msgspec.json.decode(body, type=LogTotals)


def _opened(experiment_id: str, reads: DerivedReads) -> Opened:
    first = reads.first_configuration(experiment_id)
    assert first is not None, experiment_id  # an event's configuration is in the store, so its experiment has a first
    plan, name = plan_of(first), f"{NAME}/{experiment_id}"
    return Opened(plan, load_state(plan, reads.states([name]).get(name)))


def _epoch_and_time(event: Event) -> tuple[int, int]:
    """The config revision, and what an event shows of the time.

    An outcome that is joined shows no more than when it was received.
    """
    if isinstance(event, PredictionLogged):
        row = event.row
        return row.epoch, row.served_at_us
    if isinstance(event, FeedbackReceived):
        return event.outcome.epoch, event.outcome.received_at_us
    if isinstance(event, TimePassed):
        return 0, event.at_us
    return event.outcome.epoch, 0


def _count(totals: LogTotals, event: Event, configuration: Configuration | None, names: _Names) -> None:
    """Count the event, of whatever experiment or none, and remember which version has which ordinal."""
    if configuration is not None:
        names.meet(configuration)
    if isinstance(event, PredictionLogged):
        totals.predictions += 1
        totals.unattributed_predictions += configuration is None
        names.see(event.row)
    elif isinstance(event, FeedbackReceived):
        totals.outcomes += 1
        totals.unattributed_outcomes += configuration is None
        ordinal = event.outcome.version_ordinal
        totals.feedback[ordinal] = totals.feedback.get(ordinal, 0) + 1


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
