"""Projects corrections: counts and means have the last value of an outcome in the place of the one that it replaces.

Running evidence (the votes, and all that follows from them) keeps the first value: it was bet on when it came, and an
e-process holds at every moment only for what is revealed in order. A rebuild reads each outcome with its last value.
The interval of a mean follows the mean: its outcomes are the units' votes, each with its last value.
"""

from __future__ import annotations

from app.monitor.experiment.answers import count_row, gain_of
from app.monitor.experiment.events import CorrectedFact, FeedbackFact, JoinedFact
from app.monitor.experiment.state import ExperimentPlan, ExperimentState
from app.monitor.experiment.units import UnitLedger, identities, outcome_identity


def apply_correction(state: ExperimentState, plan: ExperimentPlan, fact: CorrectedFact, ledger: UnitLedger) -> None:
    """Apply a correction to counts and means, in place. Rewards with a window are corrected where those are kept."""
    if not fact.outcome.counts:
        return
    state.corrections += 1
    state.corrected_at_us = max(state.corrected_at_us, fact.corrected_at_us)
    before, after = fact.received
    if _is_in_evidence(plan, fact):
        note_stale(state, plan, fact, ledger)
    if fact.kind == "actual":
        _correct_label(state, plan, before, after)
        if fact.joined is not None:
            _correct_answers(state, plan, *fact.joined, ledger)
    else:
        _correct_reward(state, plan, before, after)
    if fact.joined is not None and fact.kind == plan.metric.outcome:
        _correct_apart(state, plan, *fact.joined)


def note_stale(state: ExperimentState, plan: ExperimentPlan, fact: CorrectedFact, ledger: UnitLedger) -> None:
    """Count the outcome among those of which the evidence has another value, or no longer, if that is back."""
    before, after = (each.value for each in fact.received)
    counted = ledger.counted(outcome_identity(fact.outcome.prediction_id, fact.kind), before)
    state.corrections_since += _differ(plan, counted, after) - _differ(plan, counted, before)


def _differ(plan: ExperimentPlan, one: float, other: float) -> bool:
    is_any = any(plan.metric.is_outcome(each, plan.terms) for each in (one, other))
    return one != other and (plan.metric.uses_rewards or is_any)


def _is_in_evidence(plan: ExperimentPlan, fact: CorrectedFact) -> bool:
    if fact.kind != plan.metric.outcome or plan.window_us is not None:
        return False  # a window counts it when it has closed
    return fact.joined is not None or (fact.kind == "reward" and not plan.rewards_wait)


def _correct_label(state: ExperimentState, plan: ExperimentPlan, before: FeedbackFact, after: FeedbackFact) -> None:
    metric, terms = plan.metric, plan.terms
    state.beside += metric.is_outcome(before.value, terms) - metric.is_outcome(after.value, terms)
    tally = state.versions.get(before.served or "")
    if tally is not None and metric.score_of_id is not None:
        scores = [metric.score_of_id(each.outcome.answer, each.value, terms) for each in (before, after)]
        tally.replace_score(*(metric.counted(terms, score) for score in scores))


def _correct_answers(
    state: ExperimentState, plan: ExperimentPlan, before: JoinedFact, after: JoinedFact, ledger: UnitLedger
) -> None:
    """The values of all versions' answers to the row, by the label before and after."""
    metric, terms = plan.metric, plan.terms
    tally = state.versions.get(before.row.version)
    if metric.score_of_id is None and tally is not None:
        tally.replace_score(score_of_outcome(plan, before), score_of_outcome(plan, after))
    for times, fact in ((-1, before), (1, after)):
        values = {name: metric.value(answer, fact.value, terms) for name, answer in fact.answers.items()}
        voters: set[str] = set()
        for at, (challenger, pair) in enumerate(state.pairs.items()):
            if gain_of(plan, values, challenger) is not None:
                pair.recounted += times
                count_row(plan, pair, values[plan.baseline], values[challenger], times)
                voters |= _voters(plan, fact, ledger, at, challenger)
        for version, tally in state.versions.items():
            value = metric.counted(terms, values.get(version))
            if value is not None:
                tally.known += times
                tally.known_total += times * value
                tally.voted += times * (version in voters)
                tally.voted_total += times * value * (version in voters)


def _voters(plan: ExperimentPlan, fact: JoinedFact, ledger: UnitLedger, at: int, challenger: str) -> set[str]:
    """The versions for which the row is the vote of its unit in a pair: evidence keeps it, means are corrected."""
    own, base = ledger.voted_with(identities(plan, fact.row)[1], at, fact.row.seq)
    return {name for name, votes in ((challenger, own), (plan.baseline, base)) if votes}


def _correct_reward(state: ExperimentState, plan: ExperimentPlan, before: FeedbackFact, after: FeedbackFact) -> None:
    note_reward(state, plan, after.value)
    declared = plan.metric.range_of(plan.terms)
    state.reward_values.zeros -= before.value == 0
    if declared is not None:
        state.reward_values.outside -= not declared.low <= before.value <= declared.high
    tally = state.versions.get(before.served or "")
    if tally is not None:
        tally.reward_total += after.value - before.value
        if plan.metric.uses_rewards:
            tally.replace_score(*(plan.metric.counted(plan.terms, each.value) for each in (before, after)))


def _correct_apart(state: ExperimentState, plan: ExperimentPlan, before: JoinedFact, after: JoinedFact) -> None:
    """The share of the score that is of requests in which a version took no part."""
    tally = state.versions.get(before.served)
    if tally is None or not before.split.is_reduced or plan.window_us is not None:
        return
    for times, fact in ((-1, before), (1, after)):
        score = score_of_outcome(plan, fact)
        if score is not None:
            tally.apart += times
            tally.apart_total += times * score


def score_of_outcome(plan: ExperimentPlan, fact: JoinedFact) -> float | None:
    """The score that an outcome of the metric gives the version that answered; None where it gives none."""
    metric, terms = plan.metric, plan.terms
    if metric.uses_rewards:
        return metric.counted(terms, fact.value)
    if metric.score_of_id is not None:
        return metric.counted(terms, metric.score_of_id(fact.outcome.answer, fact.value, terms))
    answer = fact.answers.get(fact.served)
    return None if answer is None else metric.counted(terms, metric.score(answer, fact.value, terms))


def note_reward(state: ExperimentState, plan: ExperimentPlan, value: float) -> None:
    """Remember which rewards there are: the report says what they mean for the comparison."""
    seen, declared = state.reward_values, plan.metric.range_of(plan.terms)
    seen.least = value if seen.least is None else min(seen.least, value)
    seen.largest = value if seen.largest is None else max(seen.largest, value)
    seen.zeros += value == 0
    if declared is not None:
        seen.outside += not declared.low <= value <= declared.high
