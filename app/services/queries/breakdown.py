"""`GET /experiment/{id}/breakdown`: a comparison by true class or by feature."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from app.domain.breakdown import ALL, CLASS, BreakdownPlan, BreakdownState
from app.domain.contract import Feature
from app.domain.experiment import ExperimentTerms
from app.errors import InvalidRequest
from app.scoring.table import metric_of
from app.services.breakdown.counting import Columns, Compared, new_state, places_in
from app.services.breakdown.on_demand import Sources, count_now
from app.services.breakdown.plan import plan_of_one
from app.services.breakdown.report import (
    FEATURE,
    Breakdown,
    BreakdownRow,
    Pair,
    breakdown_of,
    default_by,
    of_newest,
    on_demand,
    parts_of,
)
from app.services.queries.experiments import ExperimentLog, ExperimentRecord, found_in
from app.services.queries.logged_answers import LoggedAnswer

# The name under which the monitor keeps its counters, by experiment. "breakdown" had means without a range's ends.
PROJECTION = "breakdown2"
_STATE = msgspec.json.Decoder(BreakdownState)
_EACH = "each labelled request counts, however often its user or case comes again"
_REWARDS = (
    "rewards of answers that chance chose, each for the version that gave it; where the split was changed meanwhile, "
    "the means may differ because of that"
)
_NOTHING = "the monitor has counted nothing of this experiment yet"

States = Callable[[Iterable[str]], dict[str, str]]


class Part(NamedTuple):
    """A part of a feature: its place among those of the plan, which has this feature alone."""

    plan: BreakdownPlan
    place: int
    features: Callable[[str], Sequence[Feature] | None]

    def holds(self, rows: Sequence[LoggedAnswer]) -> list[bool]:
        """Whether each row is in the part."""
        columns = Columns(self.features, {row.layout.id: row.layout for row in rows if row.layout is not None})
        known = [_Row(row.version, row.features, row.layout.id if row.layout is not None else None) for row in rows]
        return [place == self.place for place in places_in(self.plan, known, columns)]


class _Row(NamedTuple):
    version: str
    features: str
    layout: int | None


class Breakdowns:
    """The use case. `states` are the monitor's, by name; `sources` are for what it keeps no counters of."""

    def __init__(self, states: States, log: ExperimentLog, sources: Sources) -> None:
        self._states = states
        self._log = log
        self._sources = sources

    def of(self, experiment_id: str, challenger: str | None, by: str | None, metric: str | None = None) -> Breakdown:
        """The breakdown; without a `by` by class, without a `metric` by the one that decides.

        Raises `InvalidRequest`, `UnknownExperiment` and `StoreUnavailable`.
        """
        record = found_in(self._log, experiment_id)
        terms = self._terms(record, metric)
        pair = Pair(record.id, terms, *record.pair(challenger))
        wanted = default_by(terms) if by is None else by
        name = f"{PROJECTION}/{record.id}"
        body = self._states([name]).get(name)
        if body is None:
            return _nothing(pair, wanted)
        state = _STATE.decode(body)
        asked = wanted.removeprefix(FEATURE)
        if terms is record.terms and (wanted == asked or asked not in on_demand(state.plan)):
            return breakdown_of(pair, state, wanted, _note(record, pair))
        return self._now(record, pair, wanted, state)

    def part(self, experiment_id: str, by: str, level: str) -> Part:
        """The part that a breakdown `by` a feature calls `level`. Raises `InvalidRequest` and `StoreUnavailable`."""
        record = found_in(self._log, experiment_id)
        name = f"{PROJECTION}/{record.id}"
        body = self._states([name]).get(name)
        if body is None:
            raise InvalidRequest(f"no parts are known: {_NOTHING}", field="by")
        baseline = record.terms.baseline or record.versions[0]
        compared = Compared(record.terms, baseline, record.versions)
        plan = self._plan(compared, by, _STATE.decode(body).plan)
        parts_of(new_state(plan, compared), record.terms, by)  # refuses what is not there
        asked = by.removeprefix(FEATURE)
        split = next(each for each in plan.features if asked in (each.name, each.source_name))
        levels = [segment.level for segment in split.segments]
        if level not in levels:
            raise InvalidRequest(f"no part {level[:64]!r} by {by[:64]}; there are: {', '.join(levels)}", field="level")
        return Part(BreakdownPlan(features=(split,)), levels.index(level), self._sources.features)

    def _terms(self, record: ExperimentRecord, metric: str | None) -> ExperimentTerms:
        """The terms of the experiment as if this metric decided it."""
        if metric in (None, record.terms.metric):
            return record.terms
        last = self._sources.log.last_configuration(record.id)
        secondary = () if last is None else last.secondary
        for each in secondary:
            if each.metric == metric:
                return each.terms(record.terms)
        known = ", ".join((record.terms.metric, *(each.metric for each in secondary)))
        raise InvalidRequest(f"no metric {(metric or '')[:64]!r} in this experiment: one of {known}", field="metric")

    def _now(self, record: ExperimentRecord, pair: Pair, by: str, state: BreakdownState) -> Breakdown:
        """The breakdown of the newest labelled requests, counted now."""
        compared = Compared(pair.terms, pair.baseline, record.versions)
        plan = self._plan(compared, by, state.plan)
        parts_of(new_state(plan, compared), pair.terms, by)  # refuses what is not there before anything is read
        found = count_now(self._sources, record.id, plan, compared)
        rewarded = metric_of(pair.terms).uses_rewards
        counted = breakdown_of(pair, found.state, by, _REWARDS if rewarded else _EACH)
        counted = of_newest(counted, found.outcomes, is_all=found.is_all, rewarded=rewarded)
        kept = counted
        if by == CLASS and state.matrices:
            # They do not depend on the metric, and the monitor has them of all.
            kept = breakdown_of(replace(pair, terms=record.terms), state, by, "")
        return replace(
            counted,
            features=tuple(split.name for split in state.plan.features),
            on_demand=on_demand(state.plan),
            classes=kept.classes,
            versions=kept.versions,
        )

    def _plan(self, compared: Compared, by: str, kept: BreakdownPlan) -> BreakdownPlan:
        """The plan of what is asked for, as the monitor has it where it counts that."""
        asked = by.removeprefix(FEATURE)
        if asked == by or asked not in on_demand(kept):
            return kept
        versions = sorted(compared.versions, key=lambda each: each != compared.baseline)
        plan = plan_of_one(asked, versions, self._sources.columns)
        return replace(plan, refused={**kept.refused, **plan.refused})


def _note(record: ExperimentRecord, pair: Pair) -> str:
    """What the figures rest on, and how far that is from the report."""
    if metric_of(record.terms).uses_rewards:
        return _REWARDS
    compared = () if record.report is None else record.report.comparisons
    known = next((each for each in compared if each.challenger == pair.challenger), None)
    if known is None or known.units >= known.n:
        return _EACH
    return (
        f"{_EACH}: {known.n:,} labelled requests are of {known.units:,} units, each of which the report counts once, "
        "so these intervals are too narrow"
    )


def _nothing(pair: Pair, by: str) -> Breakdown:
    metric = metric_of(pair.terms)
    none = BreakdownRow(level=ALL.level, kind=ALL.kind, low=None, high=None, requests=0, labelled=0, n=0)
    return Breakdown(
        experiment=pair.experiment,
        baseline=pair.baseline,
        challenger=pair.challenger,
        by=by,
        metric=metric.name,
        higher_is_better=metric.higher_is_better,
        alpha=pair.terms.alpha,
        row_alpha=pair.terms.alpha,
        note=_NOTHING,
        features=(),
        refused={},
        rows=(),
        all=none,
    )
