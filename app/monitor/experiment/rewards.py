"""Projects rewards, with or without a window: each counts for the version that chance chose."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import msgspec

from app.monitor.experiment.draws import Rules
from app.monitor.experiment.events import JoinedFact, PredictionFact
from app.monitor.experiment.methods.contract import Observation
from app.monitor.experiment.state import ExperimentPlan, ExperimentState
from app.monitor.experiment.traffic import drawn_as_configured
from app.monitor.experiment.units import UnitLedger, identities, user_identity


class Draw(NamedTuple):
    """What chance chose for an answer: `version`, in config revision `epoch`.

    `differs`: by challenger, in order, whether its answer and the baseline's differ, None where one is not known.
    `kind` and `ids` are those of its unit. `usable` is false for a draw that was not at the configured weights. `seq`
    is that of its row where only the unit's first answer may vote, else None. `lacking` are the versions that took no
    part, because a column is missing; `reduced`: one of them has traffic.
    """

    version: str
    epoch: int
    differs: tuple[bool | None, ...] = ()
    features: str = ""
    kind: str = "request"
    ids: tuple[int, ...] = ()
    usable: bool = True
    seq: int | None = None
    lacking: frozenset[str] = frozenset()
    reduced: bool = False


def draw_of_row(state: ExperimentState, plan: ExperimentPlan, fact: PredictionFact | JoinedFact, rules: Rules) -> Draw:
    """The draw of a logged row."""
    row, answers = fact.row, fact.answers
    kind, ids = _drawn_unit(plan, fact, rules)
    base = answers.get(plan.baseline)
    others = (answers.get(challenger) for challenger in plan.challengers)
    differs = tuple(None if base is None or other is None else plan.metric.tells_apart(base, other) for other in others)
    features = row.features if plan.cases.covariates else ""
    return Draw(
        row.chosen,
        row.epoch,
        differs,
        features,
        kind,
        ids,
        usable=drawn_as_configured(state, fact),
        lacking=fact.lacking,
        reduced=fact.split.is_reduced,
    )


def _drawn_unit(plan: ExperimentPlan, fact: PredictionFact | JoinedFact, rules: Rules) -> tuple[str, tuple[int, ...]]:
    """The unit as `identities` gives it; a user who stays with one version is one draw, whatever the unit is."""
    kind, ids = identities(plan, fact.row)
    user = user_identity(fact.row)
    if plan.terms.unit is None or not rules.is_sticky(fact) or user in ids:
        return kind, ids
    return kind, (user, *ids)


def note_first_answer(plan: ExperimentPlan, fact: PredictionFact, ledger: UnitLedger, rules: Rules) -> None:
    """Remember an answer that may be the first of its unit to each of the pairs that chance chose it in."""
    ids = _drawn_unit(plan, fact, rules)[1]
    for at, challenger in enumerate(plan.challengers):
        if is_between(plan, fact.row.chosen, fact.lacking, challenger):
            ledger.is_first(ids, at, fact.row.seq)


def is_between(plan: ExperimentPlan, version: str, lacking: Collection[str], challenger: str) -> bool:
    """Whether the draw of `version` was one between the challenger and the baseline, of which either could come."""
    return version in (plan.baseline, challenger) and not plan.parts(lacking, challenger)


def enter(
    state: ExperimentState,
    plan: ExperimentPlan,
    draw: Draw,
    reward: Observation,
    ledger: UnitLedger,
    found: Mapping[str, list[Observation]],
) -> None:
    """Append the reward to what enters each comparison, by challenger, unless its unit has voted there."""
    before = has_voted(state, draw, ledger)
    voted = False
    for at, (challenger, pair) in enumerate(state.pairs.items()):
        if not is_between(plan, draw.version, draw.lacking, challenger):
            continue
        share = plan.share(state.epochs[draw.epoch], challenger)
        if not 0 < share < 1 or not draw.usable:
            # Chance did not choose between the two, so the reward says nothing about their difference.
            pair.skipped += 1
            continue
        informative = draw.differs[at] if plan.metric.is_triggered(plan.terms) else True
        if informative is None:
            continue
        pair.outcomes += 1
        if ledger.has_voted(draw.ids, at) or (draw.seq is not None and not ledger.was_first(draw.ids, at, draw.seq)):
            continue
        ledger.vote(draw.ids, at)
        voted = True
        pair.kinds[draw.kind] = pair.kinds.get(draw.kind, 0) + 1
        found[challenger].append(
            msgspec.structs.replace(
                reward,
                challenger=draw.version == challenger,
                propensity=share,
                informative=informative,
                features=draw.features,
            )
        )
    if voted and not before:
        _count_vote(state, plan, draw, reward.value)


def has_voted(state: ExperimentState, draw: Draw, ledger: UnitLedger) -> bool:
    """Whether the unit of a draw has voted in any comparison."""
    return any(ledger.has_voted(draw.ids, at) for at in range(len(state.pairs)))


def _count_vote(state: ExperimentState, plan: ExperimentPlan, draw: Draw, value: float) -> None:
    tally = state.versions.get(draw.version)
    if tally is not None:
        counted = plan.metric.counted(plan.terms, value) or 0.0
        tally.voted += 1
        tally.voted_total += counted
        if draw.reduced and plan.window_us is not None:
            tally.apart += 1
            tally.apart_total += counted
