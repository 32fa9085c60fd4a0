"""Projects the answers of two versions to one row, and the row's label, which scores both.

The first labelled row of a unit is its vote; later ones are counted and bet nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from app.monitor.experiment.events import JoinedFact, PredictionFact
from app.monitor.experiment.methods.contract import Observation
from app.monitor.experiment.state import ExperimentPlan, ExperimentState, PairState
from app.monitor.experiment.units import UnitLedger, identities, row_hash
from app.stats import agreement
from app.stats.all_traffic import Coverage

Values = Mapping[str, float | None]


def apply_answers(
    state: ExperimentState,
    plan: ExperimentPlan,
    fact: PredictionFact,
    ledger: UnitLedger,
    differs: Mapping[str, list[bool]],
) -> None:
    """Count where two versions differ, by row and by unit; a missing answer differs from any other.

    Appends to `differs`, by challenger, whether the first row of a unit is answered differently.
    """
    base, seq = fact.answers.get(plan.baseline), fact.row.seq
    _, ids = identities(plan, fact.row)
    for place, (challenger, pair) in enumerate(state.pairs.items()):
        other = fact.answers.get(challenger)
        if other is not None:
            pair.asked += 1
            pair.missing += other.is_missing
        if base is None or other is None:
            continue
        different = plan.metric.tells_apart(base, other)
        pair.both += 1
        pair.differ += different
        # In a comparison of rewards, the first row of a unit is its first answer that chance chose.
        if not plan.metric.uses_rewards and ledger.is_first(ids, place, seq):
            pair.firsts.both += 1
            pair.firsts.differ += different
            differs[challenger].append(different)
        if different and ledger.is_first_to_differ(ids, place, seq):
            pair.gate.open += 1


def follow_agreement(state: ExperimentState, plan: ExperimentPlan, differs: Mapping[str, Sequence[bool]]) -> None:
    """Follow how often the answers differ, which proves versions equivalent without labels."""
    margin = plan.terms.equivalence_margin
    # The test compares a rate with the margin, and is defined for a margin between 0 and 1.
    if not plan.metric.bounded_by_disagreement or margin is None or not 0 < margin < 1:
        return
    for challenger, seen in differs.items():
        if seen:
            pair = state.pairs[challenger]
            pair.agreement = agreement.follow(pair.agreement, np.array(seen), margin)


def apply_label(
    state: ExperimentState,
    plan: ExperimentPlan,
    fact: JoinedFact,
    place: int,
    ledger: UnitLedger,
    found: Mapping[str, list[Observation]],
) -> None:
    """Apply a label to `state`, in place, and append to `found`, by challenger, what enters its comparison."""
    _score_served(state, plan, fact)
    values = {name: plan.metric.value(answer, fact.value, plan.terms) for name, answer in fact.answers.items()}
    kind, ids = identities(plan, fact.row)
    before = [ledger.has_voted(ids, at) for at in range(len(state.pairs))]
    voters: set[str] = set()
    for at, (challenger, pair) in enumerate(state.pairs.items()):
        gain = gain_of(plan, values, challenger)
        _compare(plan, fact, (pair, challenger, at), gain, (ledger, ids))
        if gain is None:
            continue
        pair.outcomes += 1
        count_row(plan, pair, values[plan.baseline], values[challenger])
        if before[at]:
            continue
        ledger.vote(ids, at, fact.row.seq, late=any(before))
        pair.kinds[kind] = pair.kinds.get(kind, 0) + 1
        if gain:
            pair.rows = pair.rows.add(row_hash(fact.row), gain)
        found[challenger].append(Observation(place, fact.at_us, gain, coverage=_fixed(pair.firsts.coverage())))
        # The baseline meets several challengers, and its unit votes for it once.
        voters |= {challenger} if any(before) else {challenger, plan.baseline}
    _score_all(state, plan, values, voters)


def _fixed(coverage: Coverage) -> Callable[[], Coverage]:
    return lambda: coverage


def gain_of(plan: ExperimentPlan, values: Values, challenger: str) -> float | None:
    """The challenger's gain; None where one of the two was not asked, or has no value."""
    base, other = values.get(plan.baseline), values.get(challenger)
    return None if base is None or other is None else plan.metric.gain(plan.terms, base, other)


def _compare(
    plan: ExperimentPlan,
    fact: JoinedFact,
    numbered: tuple[PairState, str, int],
    gain: float | None,
    units: tuple[UnitLedger, Sequence[int]],
) -> None:
    """Count the label where the two differ, and on the first rows of units."""
    (pair, challenger, at), (ledger, ids) = numbered, units
    base, other = fact.answers.get(plan.baseline), fact.answers.get(challenger)
    if base is None or other is None:
        return
    different = plan.metric.tells_apart(base, other)
    won, lost = gain is not None and gain > 0, gain is not None and gain < 0
    pair.differ_labelled += different
    if ledger.was_first(ids, at, fact.row.seq):
        pair.firsts.labelled += different
        pair.firsts.agreeing_labelled += not different
        pair.firsts.wins += won
        pair.firsts.losses += lost
    if different and ledger.was_first_to_differ(ids, at, fact.row.seq):
        pair.gate.open -= 1
        pair.gate.wins += won
        pair.gate.losses += lost


def count_row(
    plan: ExperimentPlan, pair: PairState, baseline: float | None, challenger: float | None, times: int = 1
) -> None:
    """Count a labelled row, however often its unit came: by how much the challenger is better, and who was right.

    Who was right is shown for metrics of right (1) and wrong (0) answers only. −1 `times` takes the row out again.
    """
    assert baseline is not None
    assert challenger is not None
    pair.improvements += times * (challenger - baseline if plan.metric.higher_is_better else baseline - challenger)
    declared = plan.metric.range_of(plan.terms)
    pair.outside += times * (
        declared is not None
        and not declared.low <= min(baseline, challenger) <= max(baseline, challenger) <= declared.high
    )
    cells = pair.cells
    cells.both += times * (baseline == challenger == 1)
    cells.baseline += times * (baseline == 1 and challenger == 0)
    cells.challenger += times * (baseline == 0 and challenger == 1)
    cells.neither += times * (baseline == challenger == 0)


def _score_served(state: ExperimentState, plan: ExperimentPlan, fact: JoinedFact) -> None:
    """The served answer's own score, where the id was not enough for it."""
    tally, answer = state.versions.get(fact.row.version), fact.answers.get(fact.row.version)
    if plan.metric.score_of_id is None and tally is not None and answer is not None:
        tally.add_score(plan.metric.counted(plan.terms, plan.metric.score(answer, fact.value, plan.terms)))


def _score_all(state: ExperimentState, plan: ExperimentPlan, values: Values, voters: set[str]) -> None:
    """Each version's value on this row, whoever served; and as its unit's vote."""
    for version, tally in state.versions.items():
        value = plan.metric.counted(plan.terms, values.get(version))
        if value is not None:
            tally.known += 1
            tally.known_total += value
            if version in voters:
                tally.voted += 1
                tally.voted_total += value
