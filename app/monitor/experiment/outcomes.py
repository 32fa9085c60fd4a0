"""Folds what came back: labels and rewards by version, their rates, and what of them enters each comparison."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from app.monitor.experiment.events import Answer, Fact, FeedbackFact, JoinedFact, PredictionFact
from app.monitor.experiment.methods.contract import Observation
from app.monitor.experiment.scores import differ, gain, score, score_of_id
from app.monitor.experiment.state import ExperimentPlan, ExperimentState, PairState
from app.monitor.experiment.traffic import follow_ratio
from app.stats.robust import ServedCounts

Observations = dict[str, list[Observation]]


def apply_outcomes(
    state: ExperimentState, plan: ExperimentPlan, facts: Sequence[Fact], votes: set[int]
) -> Observations:
    """Take in the outcomes among `facts`, and give what enters each challenger's comparison, in order.

    `votes` are the places of the outcomes that chance made comparable.
    """
    found: Observations = {challenger: [] for challenger in plan.challengers}
    rated: list[tuple[int, str]] = []
    wanted = "reward" if plan.terms.metric == "reward" else "actual"
    for place, fact in enumerate(facts):
        if isinstance(fact, FeedbackFact):
            _count(state, plan, fact)
            if place in votes and fact.kind == wanted and fact.version in state.versions:
                rated.append((fact.outcome.epoch, str(fact.version)))
        if isinstance(fact, PredictionFact) or not fact.outcome.counts:
            continue
        if fact.outcome.kind == "reward":
            _reward(state, plan, fact, place, place in votes, found)
        elif isinstance(fact, JoinedFact):
            _label(state, plan, fact, place, found)
    if not plan.terms.reward_triggered or wanted != "reward":
        state.label_rate = follow_ratio(state.label_rate, state, rated)
    return found


def _count(state: ExperimentState, plan: ExperimentPlan, fact: FeedbackFact) -> None:
    tally = state.versions.get(fact.version or "")
    if tally is None:
        state.unattributed += 1
    if not fact.outcome.counts:
        if tally is not None:
            tally.forced_labelled += fact.kind == "actual"
            tally.forced_rewards += fact.kind == "reward"
        return
    if fact.kind == "reward":
        state.rewards += 1
        if tally is not None:
            tally.rewards += 1
            tally.reward_total += fact.value
        return
    state.labels += 1
    if tally is not None:
        tally.labelled += 1
        known = score_of_id(plan.terms.metric, fact.outcome.answer, fact.value)
        if known is not None:
            tally.scored += 1
            tally.total += known


def _label(state: ExperimentState, plan: ExperimentPlan, fact: JoinedFact, place: int, found: Observations) -> None:
    """A label whose row is there."""
    metric = plan.terms.metric
    _score_served(state, metric, fact)
    base = fact.answers.get(plan.baseline)
    for challenger, pair in state.pairs.items():
        other = fact.answers.get(challenger)
        if base is None or other is None:
            continue
        pair.differ_labelled += differ(metric, base, other)
        if metric == "reward":
            continue
        scores = score(metric, base, fact.value), score(metric, other, fact.value)
        if scores[0] is None or scores[1] is None:
            continue
        value = gain(plan.terms, scores[0], scores[1])
        found[challenger].append(Observation(place, fact.at_us, value))
        _note_served(state, plan, pair, challenger, fact, value)


def _score_served(state: ExperimentState, metric: str, fact: JoinedFact) -> None:
    """The served answer's own score, where the id did not tell it already."""
    tally, answer = state.versions.get(fact.row.version), fact.answers.get(fact.row.version)
    if metric not in ("brier", "log_loss") or tally is None or answer is None:
        return
    known = score(metric, answer, fact.value)
    if known is not None:
        tally.scored += 1
        tally.total += known


def _note_served(
    state: ExperimentState, plan: ExperimentPlan, pair: PairState, challenger: str, fact: JoinedFact, value: float
) -> None:
    """Who was served, and was right, in the epoch: for the test that does not trust in how labels arrive."""
    epoch = fact.row.epoch
    share = plan.share(state.epochs[epoch], challenger)
    counts = pair.served.get(epoch) or ServedCounts(share)
    if plan.terms.metric == "accuracy" and value and fact.marks.randomised:
        served = {challenger: "challenger", plan.baseline: "baseline"}.get(fact.row.version)
        if served is not None:
            right = (value > 0) == (served == "challenger")
            field = f"{served}_{'right' if right else 'wrong'}"
            counts = msgspec.structs.replace(counts, **{field: getattr(counts, field) + 1})
    pair.served[epoch] = counts


def _reward(
    state: ExperimentState,
    plan: ExperimentPlan,
    fact: FeedbackFact | JoinedFact,
    place: int,
    vote: bool,
    found: Observations,
) -> None:
    """A reward: for the version that was served alone."""
    if plan.terms.metric != "reward" or not vote:
        return
    version = fact.row.version if isinstance(fact, JoinedFact) else fact.version
    at_us = fact.at_us if isinstance(fact, JoinedFact) else fact.outcome.received_at_us
    for challenger, pair in state.pairs.items():
        if version not in (plan.baseline, challenger):
            continue
        share = plan.share(state.epochs[fact.outcome.epoch], challenger)
        if not 0 < share < 1:
            pair.skipped += 1
            continue
        informative = True
        if isinstance(fact, JoinedFact):
            answers = fact.answers.get(plan.baseline), fact.answers.get(challenger)
            if answers[0] is None or answers[1] is None:
                continue
            informative = _informative(*answers)
        found[challenger].append(Observation(place, at_us, fact.value, version == challenger, share, informative))


def _informative(base: Answer | None, other: Answer | None) -> bool:
    return base is not None and other is not None and differ("reward", base, other)
