"""The projection of experiments: from the log's events to one state for each experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from app.domain.experiment import Configuration
from app.domain.log_event import Event, FeedbackReceived, PredictionLogged
from app.domain.monitor_state import Changes, LogTotals, PlacedPoint, UserFact
from app.monitor.experiment.comparisons import advance_all
from app.monitor.experiment.events import Fact, fact_of, marks_of_row, sticky_users, units
from app.monitor.experiment.methods.table import new_comparison
from app.monitor.experiment.outcomes import apply_outcomes
from app.monitor.experiment.state import ExperimentPlan, ExperimentState, PairState, VersionTally, plan_of
from app.monitor.experiment.traffic import apply_traffic
from app.monitor.projection import DerivedReads

NAME = "experiment"


class ExperimentProjection:
    """A `Projection`. An event belongs to the experiment of its config revision, even after that experiment ended."""

    name = NAME

    def apply(self, events: Sequence[Event], reads: DerivedReads) -> Changes:
        """The new states, timeline points and user facts of the experiments that `events` belong to."""
        totals = _totals(reads)
        # Revision 0 was served while the store could not be read, so it belongs to no experiment.
        configurations = reads.configurations({_epoch(event) for event in events} - {0})
        by_experiment: dict[str, list[Fact]] = {}
        epochs: dict[str, dict[int, Configuration]] = {}
        for event in events:
            configuration = configurations.get(_epoch(event))
            _count(totals, event, configuration)
            if configuration is not None:
                experiment_id = configuration.experiment_id
                names = _names(configuration, totals.names)
                by_experiment.setdefault(experiment_id, []).append(fact_of(event, names))
                epochs.setdefault(experiment_id, {})[configuration.epoch] = configuration
        states: dict[str, str] = {}
        points: list[PlacedPoint] = []
        users: dict[str, tuple[UserFact, ...]] = {}
        for experiment_id, facts in by_experiment.items():
            plan = _plan(experiment_id, reads)
            state = _load(plan, reads)
            for epoch, configuration in epochs[experiment_id].items():
                state.epochs[epoch] = dict(configuration.weights)
            made, changed = _apply_to_one(state, plan, facts, reads)
            states[experiment_id] = _json(state)
            points += made
            users[experiment_id] = changed
        return Changes(cursor_body=_json(totals), states=states, points=tuple(points), users=users)


def load_state(plan: ExperimentPlan, body: str | None) -> ExperimentState:
    """The state that was written as `body`; for None, the state before the first event."""
    if body is not None:
        return msgspec.json.decode(body, type=ExperimentState)
    return ExperimentState(
        versions={version: VersionTally() for version in plan.versions},
        pairs={challenger: PairState(method=new_comparison(plan.terms)) for challenger in plan.challengers},
    )


def _apply_to_one(
    state: ExperimentState, plan: ExperimentPlan, facts: Sequence[Fact], reads: DerivedReads
) -> tuple[list[PlacedPoint], tuple[UserFact, ...]]:
    """Apply the facts of one experiment to its state, in place."""
    # The state holds no users: there may be millions. Only those of this batch are read.
    hashes = sticky_users(facts)
    known = reads.users(plan.experiment_id, hashes) if hashes else {}
    found = units(facts, known, triggered=plan.metric.is_triggered(plan.terms))
    for version, count in found.new_users.items():
        if version in state.versions:
            state.versions[version].users += count
    state.moved_users += found.moved
    state.last_event_us = max(state.last_event_us, *(fact.at_us for fact in facts))
    apply_traffic(state, plan, facts, found.fresh)
    observations = apply_outcomes(state, plan, facts, found.votes)
    return advance_all(state, plan, observations), tuple(found.changed.values())


def _totals(reads: DerivedReads) -> LogTotals:
    body = reads.states([NAME]).get(NAME)
    return LogTotals() if body is None else msgspec.json.decode(body, type=LogTotals)


def _plan(experiment_id: str, reads: DerivedReads) -> ExperimentPlan:
    first = reads.first_configuration(experiment_id)
    assert first is not None, experiment_id  # an event's configuration is in the store, so its experiment has a first
    return plan_of(first)


def _load(plan: ExperimentPlan, reads: DerivedReads) -> ExperimentState:
    name = f"{NAME}/{plan.experiment_id}"
    return load_state(plan, reads.states([name]).get(name))


def _epoch(event: Event) -> int:
    return event.row.epoch if isinstance(event, PredictionLogged) else event.outcome.epoch


def _count(totals: LogTotals, event: Event, configuration: Configuration | None) -> None:
    """Count the event, of whatever experiment or none, and remember which version has which ordinal."""
    if configuration is not None:
        for name, ordinal in configuration.ordinals.items():
            totals.names.setdefault(ordinal, name)
    if isinstance(event, PredictionLogged):
        totals.predictions += 1
        totals.unattributed_predictions += configuration is None
        if event.row.version not in totals.names.values():
            ordinal = marks_of_row(event.row).version_ordinal
            totals.names |= {ordinal: event.row.version} if ordinal else {}
    elif isinstance(event, FeedbackReceived):
        totals.outcomes += 1
        totals.unattributed_outcomes += configuration is None
        ordinal = event.outcome.version_ordinal
        totals.feedback[ordinal] = totals.feedback.get(ordinal, 0) + 1


def _names(configuration: Configuration, seen: Mapping[int, str]) -> dict[int, str]:
    """Versions by ordinal: those of the configuration, and for other ordinals those that rows showed."""
    return {**seen, **{ordinal: name for name, ordinal in configuration.ordinals.items()}}


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
