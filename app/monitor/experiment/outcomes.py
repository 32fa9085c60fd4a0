"""Projects outcomes: counts and means by version, the rate at which they come, and what enters each comparison.

Answers and labels are applied in one pass, in the order of the log: each vote is seen with the answers before it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from app.monitor.experiment.answers import apply_answers, apply_label, follow_agreement
from app.monitor.experiment.corrections import apply_correction, note_reward, score_of_outcome
from app.monitor.experiment.draws import Rules
from app.monitor.experiment.events import CorrectedFact, Fact, FeedbackFact, JoinedFact, PredictionFact
from app.monitor.experiment.methods.contract import Observation
from app.monitor.experiment.rewards import Draw, draw_of_row, enter, note_first_answer
from app.monitor.experiment.splits import Split
from app.monitor.experiment.state import ExperimentPlan, ExperimentState
from app.monitor.experiment.traffic import Assigned, as_configured, follow_ratio
from app.monitor.experiment.units import UnitLedger

Observations = dict[str, list[Observation]]


class Comparable(NamedTuple):
    """The places of outcomes among the events, what is known of units, and the rules of draws.

    `places` are comparable by chance, with one of each sticky user; `matched` are all of the version that chance drew.
    """

    places: set[int]
    matched: set[int]
    ledger: UnitLedger
    rules: Rules


class PlainLabels(Protocol):
    """The answers and labels of the plain events between the facts."""

    rated: Assigned

    def until(self, place: float, differs: Mapping[str, list[bool]], found: Observations) -> None:
        """Apply those before a place."""


def apply_outcomes(
    state: ExperimentState,
    plan: ExperimentPlan,
    facts: Mapping[int, Fact],
    comparable: Comparable,
    plain: PlainLabels,
    found: Observations,
) -> None:
    """Apply answers and outcomes to `state`, in place and in order, and append to `found`, by challenger, what enters.

    Rewards with a window enter elsewhere (`app.monitor.experiment.windows`).
    """
    differs: dict[str, list[bool]] = {challenger: [] for challenger in plan.challengers}
    for place, fact in facts.items():
        if isinstance(fact, PredictionFact | JoinedFact):
            plain.until(place, differs, found)
        if isinstance(fact, PredictionFact):
            if fact.row.counts:
                apply_answers(state, plan, fact, comparable.ledger, differs)
            if plan.metric.uses_rewards and comparable.rules.is_draw(fact):
                note_first_answer(plan, fact, comparable.ledger, comparable.rules)
            continue
        if isinstance(fact, CorrectedFact):
            apply_correction(state, plan, fact, comparable.ledger)
            continue
        if isinstance(fact, FeedbackFact):
            _count(state, plan, fact)
        if fact.outcome.counts:
            _apply_one(state, plan, fact, place, comparable, found)
    plain.until(math.inf, differs, found)
    follow_agreement(state, plan, differs)
    # Triggered rewards, and those with a window, enter at a rate that is not that of the assignments.
    if not plan.metric.is_triggered(plan.terms) and plan.window_us is None:
        rated = _rated(state, plan, facts, comparable.places)
        state.label_rate = follow_ratio(state.label_rate, state, rated, plain.rated)


def _apply_one(
    state: ExperimentState,
    plan: ExperimentPlan,
    fact: FeedbackFact | JoinedFact,
    place: int,
    comparable: Comparable,
    found: Observations,
) -> None:
    """One outcome that counts."""
    if isinstance(fact, JoinedFact) and fact.split.is_reduced and plan.window_us is None:
        _count_apart(state, plan, fact)
    if fact.kind == "actual":
        if isinstance(fact, JoinedFact):
            apply_label(state, plan, fact, place, comparable.ledger, found)
        return
    state.joined_rewards += isinstance(fact, JoinedFact)
    places = comparable.matched if plan.terms.unit is not None else comparable.places
    if plan.metric.uses_rewards and plan.window_us is None and place in places:
        draw = _draw(state, plan, fact, comparable.rules)
        if draw is not None:
            enter(state, plan, draw, Observation(place, fact.at_us, fact.value), comparable.ledger, found)


def _draw(state: ExperimentState, plan: ExperimentPlan, fact: FeedbackFact | JoinedFact, rules: Rules) -> Draw | None:
    """What chance chose for the answer that the reward is about; None where the log does not say."""
    if isinstance(fact, FeedbackFact):
        return None if fact.served is None else Draw(fact.served, fact.epoch)
    draw = draw_of_row(state, plan, fact, rules)
    # Of several answers to a unit, the one that is rewarded first is that of the version that is rewarded sooner, or an
    # answer of another kind with one version than with the other. So a unit's first answer votes, and no other.
    return draw if plan.terms.unit is None else draw._replace(seq=fact.row.seq)


def _rated(
    state: ExperimentState, plan: ExperimentPlan, facts: Mapping[int, Fact], comparable: set[int]
) -> Iterator[tuple[int, Split, str]]:
    """Place, split and version of each outcome that the check of label rates counts."""
    for place, fact in facts.items():
        if place not in comparable or isinstance(fact, PredictionFact | CorrectedFact):
            continue
        if fact.kind != plan.metric.outcome:
            continue
        # An answer that was not drawn at the configured weights says nothing about rates at them.
        if isinstance(fact, JoinedFact) and not as_configured(state, fact):
            continue
        version = fact.served
        if version in state.versions and fact.split.shares.get(version, 0.0) > 0:
            yield place, fact.split, version


def _count(state: ExperimentState, plan: ExperimentPlan, fact: FeedbackFact) -> None:
    tally = state.versions.get(fact.served or "")
    if tally is None:
        state.unattributed += 1
    if not fact.outcome.counts:
        if tally is not None and not fact.marks.synthetic:
            tally.forced_labelled += fact.kind == "actual"
            tally.forced_rewards += fact.kind == "reward"
        return
    state.corrections += fact.outcome.corrections
    state.corrected_at_us = max(state.corrected_at_us, fact.outcome.corrected_at_us)
    if fact.kind == "reward":
        state.rewards += 1
        note_reward(state, plan, fact.value)
        if tally is not None:
            tally.rewards += 1
            tally.reward_total += fact.value
            if plan.metric.uses_rewards:
                tally.add_score(plan.metric.counted(plan.terms, fact.value))
        return
    state.labels += 1
    state.beside += not plan.metric.is_outcome(fact.value, plan.terms)
    if tally is not None:
        tally.labelled += 1
        if plan.metric.score_of_id is not None:
            # Now, from the id alone: the row may come much later, or never.
            score = plan.metric.score_of_id(fact.outcome.answer, fact.value, plan.terms)
            tally.add_score(plan.metric.counted(plan.terms, score))


def _count_apart(state: ExperimentState, plan: ExperimentPlan, fact: JoinedFact) -> None:
    """Count again, among those apart, the score that the outcome has given the version that answered."""
    tally = state.versions.get(fact.served)
    if tally is None or fact.kind != plan.metric.outcome:
        return
    score = score_of_outcome(plan, fact)
    if score is not None:
        tally.apart += 1
        tally.apart_total += score
