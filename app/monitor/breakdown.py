"""The projection of breakdowns: counters of each experiment by true class and by feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import NamedTuple, Protocol

import msgspec
import numpy as np

from app.domain.breakdown import BreakdownState
from app.domain.contract import Feature
from app.domain.experiment import Configuration
from app.domain.log_columns import Shared
from app.domain.log_event import Event, OutcomeCorrected, OutcomeJoined, OutcomeRow, PredictionRow
from app.domain.log_outcomes import as_outcomes
from app.domain.log_page import Events, epochs_in, events_of, layouts_in, taken, those
from app.domain.monitor_state import Changes
from app.monitor.drift.references import KnownReference
from app.monitor.experiment.state import ExperimentPlan, plan_of
from app.monitor.projection import DerivedReads
from app.scoring.table import metric_of
from app.services.breakdown.counting import (
    Columns,
    Compared,
    Outcomes,
    count_labels,
    count_requests,
    count_rewards,
    new_state,
    numbers_of,
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


class _Found(NamedTuple):
    """Outcomes of rows in order: which are labels, and which rewards, that count."""

    rows: Sequence[PredictionRow]
    values: np.ndarray
    signs: np.ndarray
    are_labels: np.ndarray
    are_rewards: np.ndarray

    def part(self, which: np.ndarray) -> _Found:
        """Those of these numbers."""
        return _Found(taken(self.rows, which), *(each[which] for each in self[1:]))

    def outcomes(self, wanted: np.ndarray) -> Outcomes:
        """Those that are wanted."""
        which = np.flatnonzero(wanted)
        return Outcomes(taken(self.rows, which), self.values[which], self.signs[which])


class BreakdownProjection:
    """A `Projection`. The parts of an experiment are chosen at its first event, from the `references` of versions."""

    name = NAME

    def __init__(self, references: References) -> None:
        self._references = references

    def apply(self, events: Sequence[Event], reads: DerivedReads) -> Changes:
        """The counters after `events`."""
        ordered = events_of(events)
        rows = taken(ordered.rows, those(ordered.rows, attrgetter("counts")))
        found = _outcomes(ordered)
        counted = those(found.rows, attrgetter("counts"))
        epochs = epochs_in(rows) | epochs_in(taken(found.rows, counted))
        # Revision 0 was served while the store could not be read, so it belongs to no experiment.
        configurations = reads.configurations(epochs - {0})
        layouts = layouts_in(rows) | layouts_in(found.rows)
        columns = Columns(self._references.features, reads.layouts(layouts) if layouts else {})
        states = {}
        for name in dict.fromkeys(each.experiment_id for each in configurations.values()):
            of = partial(_is_of, name, configurations)
            own = counted[those(taken(found.rows, counted), of)]
            states[name] = self._after(name, taken(rows, those(rows, of)), found.part(own), columns, reads)
        return Changes(states=states)

    def _after(
        self,
        experiment_id: str,
        requests: Sequence[PredictionRow],
        found: _Found,
        columns: Columns,
        reads: DerivedReads,
    ) -> str:
        first = reads.first_configuration(experiment_id)
        assert first is not None, experiment_id  # an event's configuration is in the store, so there is a first one
        plan = plan_of(first)
        compared = Compared(plan.terms, plan.baseline, plan.versions)
        name = f"{NAME}/{experiment_id}"
        body = reads.states([name]).get(name)
        state = self._begun(plan, compared) if body is None else _STATE.decode(body)
        count_requests(state, requests, columns)
        if metric_of(plan.terms).uses_rewards:
            count_rewards(state, compared, found.outcomes(found.are_rewards), columns)
        else:
            count_labels(state, compared, found.outcomes(found.are_labels), columns)
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


def _is_of(experiment: str, configurations: Mapping[int, Configuration], row: PredictionRow | Shared) -> bool:
    configuration = configurations.get(row.epoch)
    return configuration is not None and configuration.experiment_id == experiment


def _outcomes(events: Events) -> _Found:
    """The outcomes of rows in a batch, in order."""
    rows, outcomes = events.joined.rows, events.joined.outcomes
    texts, signs = outcomes.present, np.ones(len(outcomes), np.int64)
    if any(isinstance(event, OutcomeCorrected) for event in events.rest):
        rows, found = _with_corrections(events.others)
        outcomes, signs = as_outcomes(each for each, _, _ in found), np.array([sign for *_, sign in found], np.int64)
        texts = [text for _, text, _ in found]
    counts, are_labels = outcomes.array("counts"), outcomes.are_labels
    # Where chance did not choose the version, its rewards say nothing of it.
    are_rewards = counts & ~are_labels & outcomes.array("randomised")
    return _Found(rows, numbers_of(texts), signs, counts & are_labels, are_rewards)


def _with_corrections(events: Sequence[Event]) -> tuple[list[PredictionRow], list[tuple[OutcomeRow, str, int]]]:
    """The rows and outcomes in order, where a correction takes back what it replaces."""
    rows, found = list[PredictionRow](), list[tuple[OutcomeRow, str, int]]()
    for event in events:
        if isinstance(event, OutcomeJoined):
            rows.append(event.row)
            found.append((event.outcome, event.outcome.present, 1))
        # A correction of an outcome whose row is not in the log yet is in that outcome when the row comes.
        elif isinstance(event, OutcomeCorrected) and event.row is not None:
            rows += [event.row, event.row]
            found += [(event.outcome, event.correction.replaced, -1), (event.outcome, event.correction.outcome, 1)]
    return rows, found
