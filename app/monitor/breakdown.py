"""The projection of breakdowns: counters of each experiment by true class and by feature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from app.domain.breakdown import BreakdownState
from app.domain.contract import Feature
from app.domain.log_event import Event, OutcomeCorrected, OutcomeJoined, PredictionLogged, PredictionRow
from app.domain.monitor_state import Changes
from app.monitor.drift.references import KnownReference
from app.monitor.experiment.state import ExperimentPlan, plan_of
from app.monitor.projection import DerivedReads
from app.scoring.table import metric_of
from app.services.breakdown.counting import (
    Columns,
    Compared,
    Outcome,
    count_labels,
    count_requests,
    count_rewards,
    new_state,
    number_of,
)
from app.services.breakdown.plan import VersionColumns, plan_for
from app.services.queries.breakdown import PROJECTION

# Counters of another kind need another name: the projection of that name then begins at the start of the log.
NAME = PROJECTION
_STATE = msgspec.json.Decoder(BreakdownState)


class References(Protocol):
    """The references of versions, oldest first, and the features of their contracts; None where they are not known."""

    def of(self, version: str) -> Sequence[KnownReference]: ...

    def features(self, version: str) -> Sequence[Feature] | None: ...


class _Part(msgspec.Struct):
    """The events of one experiment in a batch."""

    requests: list[PredictionRow] = msgspec.field(default_factory=list)
    labels: list[Outcome] = msgspec.field(default_factory=list)
    rewards: list[Outcome] = msgspec.field(default_factory=list)


class BreakdownProjection:
    """A `Projection`. The parts of an experiment are chosen at its first event, from the `references` of versions."""

    name = NAME

    def __init__(self, references: References) -> None:
        self._references = references

    def apply(self, events: Sequence[Event], reads: DerivedReads) -> Changes:
        """The counters after `events`."""
        relevant = [event for event in events if _counts(event)]
        # Revision 0 was served while the store could not be read, so it belongs to no experiment.
        known = reads.configurations({_row(event).epoch for event in relevant} - {0})
        parts: dict[str, _Part] = {}
        for event in relevant:
            configuration = known.get(_row(event).epoch)
            if configuration is not None:
                _sort(event, parts.setdefault(configuration.experiment_id, _Part()))
        layouts = {row.layout for part in parts.values() for row in _rows(part) if row.layout is not None}
        columns = Columns(self._references.features, reads.layouts(layouts) if layouts else {})
        return Changes(states={name: self._after(name, part, columns, reads) for name, part in parts.items()})

    def _after(self, experiment_id: str, part: _Part, columns: Columns, reads: DerivedReads) -> str:
        first = reads.first_configuration(experiment_id)
        assert first is not None, experiment_id  # an event's configuration is in the store, so there is a first one
        plan = plan_of(first)
        compared = Compared(plan.terms, plan.baseline, plan.versions)
        name = f"{NAME}/{experiment_id}"
        body = reads.states([name]).get(name)
        state = self._begun(plan, compared) if body is None else _STATE.decode(body)
        count_requests(state, part.requests, columns)
        if metric_of(plan.terms).uses_rewards:
            count_rewards(state, compared, part.rewards, columns)
        else:
            count_labels(state, compared, part.labels, columns)
        return msgspec.json.encode(state).decode()

    def _begun(self, plan: ExperimentPlan, compared: Compared) -> BreakdownState:
        versions = (plan.baseline, *plan.challengers)
        return new_state(plan_for(plan.terms, versions, self._columns), compared)

    def _columns(self, version: str) -> VersionColumns | None:
        features = self._references.features(version)
        if features is None:
            return None
        # The one that the version was published with, whatever came later: a rebuild must choose the same parts.
        published = next((each for each in self._references.of(version) if each.number == 0), None)
        fits = published is not None and len(published.reference.inputs.cells) == len(features)
        return VersionColumns(features, published.reference.inputs.cells if published is not None and fits else None)


def _counts(event: Event) -> bool:
    if isinstance(event, PredictionLogged):
        return event.row.counts
    if isinstance(event, OutcomeJoined):
        return event.row.counts and event.outcome.counts
    # A correction of an outcome whose row is not in the log yet is in that outcome when the row comes.
    return isinstance(event, OutcomeCorrected) and event.row is not None and event.row.counts and event.outcome.counts


def _row(event: Event) -> PredictionRow:
    assert isinstance(event, PredictionLogged | OutcomeJoined | OutcomeCorrected)
    assert event.row is not None
    return event.row


def _rows(part: _Part) -> list[PredictionRow]:
    return [*part.requests, *(each.row for each in (*part.labels, *part.rewards))]


def _sort(event: Event, part: _Part) -> None:
    """Add the event to its part; a correction takes back what it replaces."""
    row = _row(event)
    if isinstance(event, PredictionLogged):
        part.requests.append(row)
    elif isinstance(event, OutcomeJoined):
        _outcomes(event.outcome.kind, event.outcome.randomised, part, [Outcome(row, number_of(event.outcome.present))])
    elif isinstance(event, OutcomeCorrected):
        before, after = number_of(event.correction.replaced), number_of(event.correction.outcome)
        both = [Outcome(row, before, -1), Outcome(row, after)]
        _outcomes(event.outcome.kind, event.outcome.randomised, part, both)


def _outcomes(kind: str, randomised: bool, part: _Part, outcomes: list[Outcome]) -> None:
    if kind == "actual":
        part.labels += outcomes
    elif randomised:
        # Where chance did not choose the version, its rewards say nothing of it.
        part.rewards += outcomes
