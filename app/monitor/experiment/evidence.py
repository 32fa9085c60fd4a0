"""The evidence about each challenger from an experiment's state, as `app.stats.verdict` reads it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from app.monitor.experiment.comparisons import shown
from app.monitor.experiment.methods.paired import PairedComparison
from app.monitor.experiment.state import ExperimentPlan, ExperimentState, PairState
from app.stats import robust
from app.stats.estimates import NotEstimable
from app.stats.evidence import NO_FORECAST, Evidence, LabelArrival, Present, Rewards, Votes
from app.stats.forecast import Forecast, forecast
from app.stats.paired import PairedSummary
from app.stats.strongest import adjusted, decided


def presents_of(pairs: Sequence[PairState]) -> list[Present]:
    """The present evidence of each pair, adjusted for all of them. The gate's E⁺ is adjusted among its own kind."""
    log_es = adjusted([pair.log_e() for pair in pairs])
    # All pairs of an experiment have one metric, so all count wins and losses or none does.
    gates = adjusted(
        [
            robust.log_e(PairedSummary(pair.gate.wins, pair.gate.losses), pair.gate.open)
            for pair in pairs
            if isinstance(pair.method, PairedComparison)
        ]
    )
    return [
        Present(log_e, pair.method.side(), gates[place] if gates else None)
        for place, (pair, log_e) in enumerate(zip(pairs, log_es, strict=True))
    ]


def evidence_of(state: ExperimentState, plan: ExperimentPlan, challenger: str, present: Present, seed: int) -> Evidence:
    """The evidence about one challenger, as `app.stats.verdict` reads it; `seed` fixes the forecast's random draws."""
    pair = state.pairs[challenger]
    method = pair.method
    difference, interval, form = shown(method, pair.firsts.coverage(), plan)
    return Evidence(
        challenger=challenger,
        baseline=plan.baseline,
        method=method.name,
        n=method.n,
        difference=difference,
        interval=interval,
        challengers=len(plan.challengers),
        log_e=method.log_e(),
        strongest=pair.adjusted,
        present=present,
        probability_better=method.probability_better(),
        agreement=pair.agreement.strongest,
        conclusions=pair.conclusions,
        forecast=_forecast(pair, plan, seed),
        arrival=arrival_of(state, plan, challenger),
        votes=Votes(
            unit=_unit(pair, plan),
            outcomes=pair.outcomes,
            present=pair.present_outcomes,
            few_wins=pair.rows.few(1),
            few_losses=pair.rows.few(-1),
            asked=pair.asked,
            missing=pair.missing,
            outside=pair.outside,
        ),
        improvement_of_all=_improvement_of_all(pair, plan),
        form=form,
        coverage=pair.firsts.coverage(),
        comparable_share=state.comparable_share(challenger),
    )


def _improvement_of_all(pair: PairState, plan: ExperimentPlan) -> float | None:
    # Labels score both versions on the same row. Means of rewards are of different rows, and a changed split can turn
    # their difference around (Simpson).
    return None if plan.metric.uses_rewards or not pair.present_outcomes else pair.improvements / pair.present_outcomes


def _unit(pair: PairState, plan: ExperimentPlan) -> str:
    """The kind of unit that most votes are of; before the first vote, the one that a bare request would have."""
    if pair.kinds:
        return max(pair.kinds, key=lambda kind: pair.kinds[kind])
    wanted = plan.terms.unit or "request"
    return ("row" if plan.cases.rows_are_cases else "request") if wanted == "auto" else wanted


def _forecast(pair: PairState, plan: ExperimentPlan, seed: int) -> Forecast | NotEstimable:
    """The further labels until a decision, while it is open and there is one challenger."""
    method = pair.method
    # The forecast plays the unadjusted test. With several challengers the adjusted evidence takes longer, so the
    # figure would be too low.
    several = len(plan.challengers) > 1
    if not isinstance(method, PairedComparison) or several or decided(pair.adjusted, plan.terms.alpha):
        return NO_FORECAST
    return forecast(method.summary, plan.terms.alpha, seed)


def arrival_of(state: ExperimentState, plan: ExperimentPlan, challenger: str) -> LabelArrival:
    splits = ((weights.get(challenger, 0.0), weights.get(plan.baseline, 0.0)) for weights in state.epochs.values())
    return LabelArrival(splits=tuple(splits), unlabelled=state.pairs[challenger].gate.open)


def rewards_of(state: ExperimentState, plan: ExperimentPlan) -> Rewards | None:
    """What rewards there were; None where the metric compares none."""
    if not plan.metric.uses_rewards:
        return None
    return Rewards(state.rewards, **msgspec.structs.asdict(state.reward_values), late=state.late_rewards)
