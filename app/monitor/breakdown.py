"""The projection of breakdowns: counters of each experiment by true class and by feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Protocol

import msgspec

from app.domain.breakdown import BreakdownState
from app.domain.contract import Feature
from app.domain.experiment import Configuration
from app.domain.log_columns import Shared
from app.domain.log_event import Event, OutcomeCorrected, OutcomeJoined, OutcomeRow, PredictionRow
from app.domain.log_page import epochs_in, events_of, layouts_in, taken, those
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
# A correction of an outcome whose row is not in the log yet is in that outcome when the row comes.
_OF_ROWS = (OutcomeJoined, OutcomeCorrected)


class References(Protocol):
    """The references of versions, oldest first, and the features of their contracts; None where they are not known."""

    def of(self, version: str) -> Sequence[KnownReference]: ...

    def features(self, version: str) -> Sequence[Feature] | None: ...


class _Part(msgspec.Struct):
    """The events of one experiment in a batch."""

    requests: Sequence[PredictionRow] = ()
    labels: list[Outcome] = msgspec.field(default_factory=list)
    rewards: list[Outcome] = msgspec.field(default_factory=list)

    def add(self, later: _Part) -> None:
        """Add the outcomes of another config revision."""
        self.labels += later.labels
        self.rewards += later.rewards


class BreakdownProjection:
    """A `Projection`. The parts of an experiment are chosen at its first event, from the `references` of versions."""

    name = NAME

    def __init__(self, references: References) -> None:
        self._references = references

    def apply(self, events: Sequence[Event], reads: DerivedReads) -> Changes:
        """The counters after `events`."""
        ordered = events_of(events)
        rows = taken(ordered.rows, those(ordered.rows, attrgetter("counts")))
        by_epoch = {epoch: _Part() for epoch in epochs_in(rows)}
        for event in ordered.others:
            # A tuple of types: a union takes three times as long.
            if isinstance(event, _OF_ROWS) and (row := event.row) is not None and row.counts:
                _sort(event, row, by_epoch.get(row.epoch) or by_epoch.setdefault(row.epoch, _Part()))
        parts: dict[str, _Part] = {}
        # Revision 0 was served while the store could not be read, so it belongs to no experiment.
        configurations = reads.configurations(by_epoch.keys() - {0})
        for configuration in configurations.values():
            parts.setdefault(configuration.experiment_id, _Part()).add(by_epoch[configuration.epoch])
        for name, part in parts.items():
            part.requests = taken(rows, those(rows, partial(_is_of, name, configurations)))
        layouts = {layout for part in parts.values() for some in _rows(part) for layout in layouts_in(some)}
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
        return new_state(plan_for(plan.terms, versions, partial(known_columns, self._references)), compared)


def known_columns(references: References, version: str) -> VersionColumns | None:
    """What is known of a version, from its contract and its reference; None where nothing is."""
    features = references.features(version)
    if features is None:
        return None
    # The one that the version was published with, whatever came later: a rebuild must choose the same parts.
    published = next((each for each in references.of(version) if each.number == 0), None)
    fits = published is not None and len(published.reference.inputs.cells) == len(features)
    return VersionColumns(features, published.reference.inputs.cells if published is not None and fits else None)


def _rows(part: _Part) -> tuple[Sequence[PredictionRow], Sequence[PredictionRow]]:
    return part.requests, [each.row for each in (*part.labels, *part.rewards)]


def _is_of(experiment: str, configurations: Mapping[int, Configuration], row: PredictionRow | Shared) -> bool:
    configuration = configurations.get(row.epoch)
    return configuration is not None and configuration.experiment_id == experiment


def _sort(event: OutcomeJoined | OutcomeCorrected, row: PredictionRow, part: _Part) -> None:
    """Add the event to its part; a correction takes back what it replaces."""
    if isinstance(event, OutcomeJoined):
        _outcomes(event.outcome, part, (Outcome(row, number_of(event.outcome.present)),))
    else:
        before, after = number_of(event.correction.replaced), number_of(event.correction.outcome)
        _outcomes(event.outcome, part, (Outcome(row, before, -1), Outcome(row, after)))


def _outcomes(outcome: OutcomeRow, part: _Part, found: tuple[Outcome, ...]) -> None:
    if outcome.kind == "actual" and outcome.counts:
        part.labels += found
    elif outcome.kind == "reward" and outcome.counts and outcome.randomised:
        # Where chance did not choose the version, its rewards say nothing of it.
        part.rewards += found
