"""Projects what was served: requests, errors, latencies, the realised split, guardrails, where versions differ."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from app.monitor.experiment.events import Fact, PredictionFact
from app.monitor.experiment.state import ExperimentPlan, ExperimentState, bucket_of
from app.stats import agreement, checks, guardrails
from app.stats.checks import RatioState

MARGIN = 0.25
# The baseline's own answers say what is slow, because chance makes them comparable. The factor and the addend leave
# room for differences that nobody would roll back for.
_SLOWER_BY, _SLOWER_US = 1.5, 1000.0
_ENOUGH_ANSWERS = 100
# A policy divides by the sum of the weights, so a propensity may differ from the weight by rounding.
_ROUNDING = 1e-6


def apply_traffic(state: ExperimentState, plan: ExperimentPlan, facts: Sequence[Fact], fresh: set[int]) -> None:
    """Apply the predictions among `facts` to `state`, in place.

    `fresh` are the positions, in `facts`, of the predictions that are new draws of chance.
    """
    assigned: list[tuple[int, str]] = []
    differs: dict[str, list[bool]] = {challenger: [] for challenger in plan.challengers}
    for place, fact in enumerate(facts):
        if not isinstance(fact, PredictionFact):
            continue
        if not fact.row.counts:
            _count_forced(state, fact)
            continue
        if fact.marks.first:
            _count_request(state, plan, fact)
        if place in fresh and _as_configured(state, fact):
            assigned.append((fact.row.epoch, fact.row.version))
        _compare(state, plan, fact, differs)
    state.sample_ratio = follow_ratio(state.sample_ratio, state, assigned)
    _follow_agreement(state, plan, differs)


def follow_ratio(ratio: RatioState, state: ExperimentState, events: Iterable[tuple[int, str]]) -> RatioState:
    """The check after events (config revision, version), in order, in runs of one revision."""
    places = {version: place for place, version in enumerate(state.versions)}
    runs: list[tuple[int, list[int]]] = []
    for epoch, version in events:
        if not runs or runs[-1][0] != epoch:
            runs.append((epoch, []))
        runs[-1][1].append(places[version])
    for epoch, members in runs:
        shares = tuple(state.epochs[epoch].get(version, 0.0) for version in state.versions)
        ratio = checks.follow(ratio, epoch, shares, np.array(members))
    return ratio


def _count_forced(state: ExperimentState, fact: PredictionFact) -> None:
    tally = state.versions.get(fact.row.version)
    if tally is not None:
        tally.forced_requests += fact.marks.first


def _count_request(state: ExperimentState, plan: ExperimentPlan, fact: PredictionFact) -> None:
    row = fact.row
    tally, chosen = state.versions.get(row.version), state.versions.get(row.chosen)
    _count_in_epoch(state.chosen, row.epoch, row.chosen)
    if tally is not None:
        tally.requests += 1
    if row.version != row.chosen:
        # Another version answered, because the chosen one failed: the error is the chosen one's.
        if chosen is not None:
            chosen.errors += 1
        for challenger, pair in state.pairs.items():
            share = plan.share(state.epochs[row.epoch], challenger)
            if row.chosen in (plan.baseline, challenger):
                hit = np.array([row.chosen == challenger])
                pair.errors = guardrails.follow(pair.errors, row.epoch, share, hit, MARGIN)
    elif tally is not None:
        bucket = bucket_of(row.latency_us)
        tally.latency[bucket] = tally.latency.get(bucket, 0) + 1
        _watch_latency(state, plan, fact)


def _watch_latency(state: ExperimentState, plan: ExperimentPlan, fact: PredictionFact) -> None:
    row = fact.row
    if slow_is_known(state):
        _count_in_epoch(state.timed, row.epoch, row.version)
    if _is_slow(state, row.latency_us):
        for challenger, pair in state.pairs.items():
            if row.version in (plan.baseline, challenger):
                share = plan.share(state.epochs[row.epoch], challenger)
                hit = np.array([row.version == challenger])
                pair.slow = guardrails.follow(pair.slow, row.epoch, share, hit, MARGIN)
    # After the answer was classified: the threshold must be fixed before the answer that it classifies.
    if row.version == plan.baseline:
        state.slow_threshold = state.slow_threshold.observe(row.latency_us)


def _count_in_epoch(counts: dict[int, dict[str, int]], epoch: int, version: str) -> None:
    of_epoch = counts.setdefault(epoch, {})
    of_epoch[version] = of_epoch.get(version, 0) + 1


def slow_is_known(state: ExperimentState) -> bool:
    """Whether the baseline has answered often enough to say what is slow."""
    return state.slow_threshold.log_us is not None and state.slow_threshold.n >= _ENOUGH_ANSWERS


def _is_slow(state: ExperimentState, latency_us: float) -> bool:
    """Whether an answer is slow by the threshold known before it."""
    threshold = state.slow_threshold
    if threshold.log_us is None or not slow_is_known(state):
        return False
    return latency_us > _SLOWER_BY * math.exp(threshold.log_us) + _SLOWER_US


def _as_configured(state: ExperimentState, fact: PredictionFact) -> bool:
    """Whether the row was drawn by the split of its config revision.

    It was not where the chosen version failed, or where a worker could not serve every version just then. Such rows
    would fail the check of the sample ratio although the split is sound.
    """
    row = fact.row
    share = state.epochs[row.epoch].get(row.version)
    if share is None or row.version not in state.versions or row.version != row.chosen:
        return False
    return row.propensity is None or abs(row.propensity - share) < _ROUNDING


def _compare(
    state: ExperimentState, plan: ExperimentPlan, fact: PredictionFact, differs: dict[str, list[bool]]
) -> None:
    base = fact.answers.get(plan.baseline)
    if base is None:
        return
    for challenger, pair in state.pairs.items():
        other = fact.answers.get(challenger)
        if other is not None:
            different = plan.metric.tells_apart(base, other)
            pair.both += 1
            pair.differ += different
            differs[challenger].append(different)


def _follow_agreement(state: ExperimentState, plan: ExperimentPlan, differs: dict[str, list[bool]]) -> None:
    margin = plan.terms.equivalence_margin
    # The test compares a rate with the margin, and is defined for a margin between 0 and 1.
    if not plan.metric.bounded_by_disagreement or margin is None or not 0 < margin < 1:
        return
    for challenger, seen in differs.items():
        if seen:
            pair = state.pairs[challenger]
            pair.agreement = agreement.follow(pair.agreement, np.array(seen), margin)
