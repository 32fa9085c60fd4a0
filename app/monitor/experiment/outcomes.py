"""Projects labels and rewards: counts and means by version, their rates, and what enters each comparison."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from app.monitor.experiment.events import Fact, FeedbackFact, JoinedFact, PredictionFact
from app.monitor.experiment.methods.contract import Observation
from app.monitor.experiment.state import ExperimentPlan, ExperimentState
from app.monitor.experiment.traffic import follow_ratio

Observations = dict[str, list[Observation]]


def apply_outcomes(
    state: ExperimentState, plan: ExperimentPlan, facts: Sequence[Fact], votes: set[int]
) -> Observations:
    """Apply the outcomes among `facts` to `state`, in place; by challenger, what enters its comparison, in order.

    `votes` are the positions, in `facts`, of the outcomes that chance made comparable.
    """
    found: Observations = {challenger: [] for challenger in plan.challengers}
    for place, fact in enumerate(facts):
        if isinstance(fact, PredictionFact):
            continue
        if isinstance(fact, FeedbackFact):
            _count(state, plan, fact)
        if not fact.outcome.counts:
            continue
        if isinstance(fact, JoinedFact) and fact.outcome.kind == "actual":
            _apply_label(state, plan, fact, place, found)
        elif fact.outcome.kind == "reward" and plan.metric.uses_rewards and place in votes:
            _apply_reward(state, plan, fact, place, found)
    # Triggered rewards vote when they are joined, and only if both answers are in the log, so their rate is not that
    # of the assignments.
    if not plan.metric.is_triggered(plan.terms):
        state.label_rate = follow_ratio(state.label_rate, state, _rated(state, plan, facts, votes))
    return found


def _rated(
    state: ExperimentState, plan: ExperimentPlan, facts: Sequence[Fact], votes: set[int]
) -> Iterator[tuple[int, str]]:
    """Epoch and version of each outcome that the check of label rates counts."""
    for place, fact in enumerate(facts):
        if not isinstance(fact, FeedbackFact) or fact.served is None:
            continue
        if place in votes and fact.kind == plan.metric.outcome and fact.served in state.versions:
            yield fact.outcome.epoch, fact.served


def _count(state: ExperimentState, plan: ExperimentPlan, fact: FeedbackFact) -> None:
    tally = state.versions.get(fact.served or "")
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
        if plan.metric.score_of_id is not None:
            # Now, from the id alone: the row may come much later, or never.
            tally.add_score(plan.metric.score_of_id(fact.outcome.answer, fact.value, plan.terms))


def _apply_label(
    state: ExperimentState, plan: ExperimentPlan, fact: JoinedFact, place: int, found: Observations
) -> None:
    """A label whose row is in the log: it scores the answer of each version."""
    metric = plan.metric
    _score_served(state, plan, fact)
    base = fact.answers.get(plan.baseline)
    for challenger, pair in state.pairs.items():
        other = fact.answers.get(challenger)
        if base is None or other is None:
            continue
        pair.differ_labelled += metric.tells_apart(base, other)
        base_score, score = (metric.score(answer, fact.value, plan.terms) for answer in (base, other))
        if base_score is None or score is None:
            continue
        gain = metric.gain(plan.terms, base_score, score)
        found[challenger].append(Observation(place, fact.at_us, gain))


def _score_served(state: ExperimentState, plan: ExperimentPlan, fact: JoinedFact) -> None:
    """The served answer's own score, where the id was not enough for it."""
    tally, answer = state.versions.get(fact.row.version), fact.answers.get(fact.row.version)
    if plan.metric.score_of_id is None and tally is not None and answer is not None:
        tally.add_score(plan.metric.score(answer, fact.value, plan.terms))


def _apply_reward(
    state: ExperimentState, plan: ExperimentPlan, fact: FeedbackFact | JoinedFact, place: int, found: Observations
) -> None:
    """A reward that may vote: it counts for the served version alone."""
    for challenger, pair in state.pairs.items():
        if fact.served not in (plan.baseline, challenger):
            continue
        share = plan.share(state.epochs[fact.outcome.epoch], challenger)
        if not 0 < share < 1:
            # Chance did not choose between the two, so the reward says nothing about their difference.
            pair.skipped += 1
            continue
        informative = True
        if isinstance(fact, JoinedFact):
            base, other = fact.answers.get(plan.baseline), fact.answers.get(challenger)
            if base is None or other is None:
                continue
            informative = plan.metric.tells_apart(base, other)
        observation = Observation(place, fact.at_us, fact.value, fact.served == challenger, share, informative)
        found[challenger].append(observation)
