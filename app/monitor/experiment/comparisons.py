"""Advances the comparisons: evidence at every outcome, the interval at fixed numbers of outcomes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from app.domain.monitor_state import PlacedPoint
from app.domain.report import TimelinePoint
from app.domain.timestamps import iso_utc
from app.monitor.experiment.methods.contract import Observation
from app.monitor.experiment.methods.paired import PairedComparison
from app.monitor.experiment.methods.table import MethodState
from app.monitor.experiment.outcomes import Observations
from app.monitor.experiment.state import ExperimentPlan, ExperimentState, PairState
from app.stats import all_traffic
from app.stats.all_traffic import Coverage, Form
from app.stats.estimates import Interval, NotEstimable
from app.stats.evidence import conclude
from app.stats.strongest import adjusted

_PER_GROWTH = 50


def next_look(n: int) -> int:
    """The number of outcomes after `n` at which the interval is computed next.

    Each is 2 % beyond the last one, so the timeline of a million outcomes has some 550 points.
    """
    return n + max(1, n // _PER_GROWTH)


def advance_all(state: ExperimentState, plan: ExperimentPlan, found: Observations) -> list[PlacedPoint]:
    """Advance every comparison by its observations; the new points of the timeline."""
    if len(state.pairs) > 1:
        return list(_advance_together(state, plan, found))
    points = [point for name, pair in state.pairs.items() for point in _advance(pair, plan, name, found[name])]
    for pair in state.pairs.values():
        pair.adjusted = pair.method.strongest
    return points


def _advance_together(state: ExperimentState, plan: ExperimentPlan, found: Observations) -> Iterator[PlacedPoint]:
    """Several challengers, one event at a time.

    Closed testing takes the means of evidence of one moment (`app.stats.strongest.adjusted`). So the adjusted
    evidence has to be computed at each event, and only its maximum may be remembered.
    """
    pairs = state.pairs
    log_es = {name: pair.log_e() for name, pair in pairs.items()}
    events = sorted(((each.place, name, each) for name, some in found.items() for each in some), key=lambda e: e[0])
    # One label may be an observation of several comparisons: they advance together, and then the evidence is adjusted.
    for _, members in groupby(events, key=lambda event: event[0]):
        for _, name, observation in members:
            yield from _advance(pairs[name], plan, name, [observation])
            log_es[name] = pairs[name].log_e()
        for pair, least in zip(pairs.values(), adjusted([*log_es.values()]), strict=True):
            if least > pair.adjusted.log_e:
                pair.adjusted = pair.adjusted.remember(least, pair.method.n, pair.method.side())


def _advance(
    pair: PairState, plan: ExperimentPlan, challenger: str, observations: Sequence[Observation]
) -> Iterator[PlacedPoint]:
    """Advance one comparison, and compute the interval wherever it is due."""
    start = 0
    while start < len(observations):
        # Cut where an interval is due, so that it is always computed at the same n, however events come in batches.
        part = observations[start : start + pair.next_look - pair.method.n]
        pair.method = pair.method.advance(part)
        start += len(part)
        if pair.method.n >= pair.next_look:
            yield _look(pair, plan, challenger, part[-1])


class Shown(NamedTuple):
    """What is shown of a difference: the improvement, its interval, and the form where it is one of all traffic."""

    difference: float | NotEstimable
    interval: Interval | NotEstimable
    form: Form | None = None


def shown(method: MethodState, coverage: Coverage | None, plan: ExperimentPlan) -> Shown:
    """The improvement over the labelled outcomes, or over all traffic where labels are sought where answers differ.

    Over all traffic too where every disagreement is labelled, or labels are declared exogenous: nothing is lost by it.
    """
    # What an agreement adds is known without its label only where the difference is 0 whatever the label (not recall).
    ties = isinstance(method, PairedComparison) and plan.metric.bounded_by_disagreement
    if ties and coverage is not None and _is_of_all_traffic(coverage, plan):
        exogenous = plan.terms.labels_exogenous
        return Shown(*all_traffic.difference(coverage, plan.interval_alpha, exogenous=exogenous))
    return Shown(method.difference(), method.interval(plan.interval_alpha))


def _is_of_all_traffic(coverage: Coverage, plan: ExperimentPlan) -> bool:
    if not coverage.labelled + coverage.agreeing_labelled:
        return False
    return not coverage.unlabelled or plan.terms.labels_exogenous or coverage.seeks_disagreements


def _look(pair: PairState, plan: ExperimentPlan, challenger: str, last: Observation) -> PlacedPoint:
    terms, method, at_us = plan.terms, pair.method, last.at_us
    difference, interval, _ = shown(method, last.coverage and last.coverage(), plan)
    pair.conclusions = conclude(
        pair.conclusions, method.n, interval, margin=terms.equivalence_margin, min_effect=terms.min_effect
    )
    pair.next_look = next_look(method.n)
    log_e = method.log_e()
    point = TimelinePoint(
        challenger=challenger,
        n=method.n,
        at=iso_utc(at_us),
        difference=None if isinstance(difference, NotEstimable) else difference,
        interval=None if isinstance(interval, NotEstimable) else interval,
        log_e=None if isinstance(log_e, NotEstimable) else log_e,
    )
    return PlacedPoint(plan.experiment_id, at_us, point)
