"""An experiment's report from its state. Pure, so that any report can be made again."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

from app.domain.experiment import Configuration, ExperimentTerms
from app.domain.monitor_state import ExperimentSummary
from app.domain.report import (
    CheckReport,
    ComparisonReport,
    ExperimentReport,
    LatencyMs,
    Recommendation,
    VariantReport,
)
from app.domain.timestamps import iso_utc
from app.monitor.experiment.methods.paired import PairedComparison
from app.monitor.experiment.state import ExperimentPlan, ExperimentState, PairState, VersionTally, quantile_ms
from app.scoring.table import metric_of
from app.stats import checks, guardrails, means, robust
from app.stats.advice import recommend
from app.stats.assumptions import too_young, unverified_assumptions
from app.stats.checks import CheckResult
from app.stats.closed_testing import adjusted
from app.stats.estimates import Interval, NotEstimable
from app.stats.evidence import NO_FORECAST, Evidence, LabelArrival, Present
from app.stats.forecast import Forecast, forecast
from app.stats.guardrails import GuardrailResult
from app.stats.strongest import decided, p_value
from app.stats.verdict import verdict

# exp overflows a float at 709.8, and JSON has no infinity.
_LARGEST_LOG_E = 700.0


def report_of(
    state: ExperimentState,
    plan: ExperimentPlan,
    summary: ExperimentSummary,
    last: Configuration,
    now_us: int,
    more_checks: Sequence[CheckResult] = (),
) -> ExperimentReport:
    """The report of a state at `now_us` (µs since 1970), with the weights of its `last` configuration.

    `more_checks` come from outside the experiment; a failed one makes the recommendation `investigate`, like any other.
    """
    terms = plan.terms
    # From the id, so that the same state gives the same forecast at any time and in any process.
    seed = zlib.crc32(plan.experiment_id.encode())
    presents = _presents(list(state.pairs.values()))
    evidences = [
        evidence_of(pair, plan, name, present, _arrival(state, plan, name), seed)
        for (name, pair), present in zip(state.pairs.items(), presents, strict=True)
    ]
    results = [*_checks(state), *more_checks]
    rails = _guardrails(state)
    # By the log's time, so that a report made again from the same log says the same.
    waiting = too_young((state.last_event_us - summary.started_at_us) / 1e6, last.min_duration_s)
    advice = recommend(evidences, results, rails, terms, plan.baseline)
    return ExperimentReport(
        id=plan.experiment_id,
        started=iso_utc(summary.started_at_us),
        ended=None if summary.ended_at_us is None else iso_utc(summary.ended_at_us),
        state="running" if summary.ended_at_us is None else "ended",
        metric=terms.metric,
        alpha=terms.alpha,
        baseline=plan.baseline or None,
        variants=tuple(
            _variant(version, tally, terms, last.weights.get(version, 0.0)) for version, tally in state.versions.items()
        ),
        comparisons=tuple(
            _comparison(evidence, pair, state, (*unverified_assumptions(evidence, results, terms), *waiting), terms)
            for evidence, pair in zip(evidences, state.pairs.values(), strict=True)
        ),
        checks=(*(_check(result, state) for result in results), *_crossover_exclusion(state)),
        guardrails=tuple(_guardrail(result) for result in rails),
        recommendation=Recommendation(advice.action, advice.version, advice.reason),
        computed_at=iso_utc(now_us),
    )


def _presents(pairs: Sequence[PairState]) -> list[Present]:
    """The present evidence of each pair, adjusted for all of them. The gate's E⁺ is adjusted among its own kind."""
    log_es = adjusted([pair.log_e() for pair in pairs])
    # All pairs of an experiment have one metric, so all count wins and losses or none does.
    gates = adjusted(
        [
            robust.log_e(pair.method.summary, pair.unlabelled)
            for pair in pairs
            if isinstance(pair.method, PairedComparison)
        ]
    )
    return [
        Present(log_e, pair.method.side(), gates[place] if gates else None)
        for place, (pair, log_e) in enumerate(zip(pairs, log_es, strict=True))
    ]


def evidence_of(
    pair: PairState, plan: ExperimentPlan, challenger: str, present: Present, arrival: LabelArrival, seed: int
) -> Evidence:
    """The evidence about one challenger, as `app.stats.verdict` reads it; `seed` fixes the forecast's random draws."""
    method = pair.method
    return Evidence(
        challenger=challenger,
        baseline=plan.baseline,
        method=method.name,
        n=method.n,
        difference=method.difference(),
        interval=method.interval(plan.interval_alpha),
        challengers=len(plan.challengers),
        log_e=method.log_e(),
        strongest=pair.adjusted,
        present=present,
        probability_better=method.probability_better(),
        agreement=pair.agreement.strongest,
        conclusions=pair.conclusions,
        forecast=_forecast(pair, plan, seed),
        arrival=arrival,
    )


def _forecast(pair: PairState, plan: ExperimentPlan, seed: int) -> Forecast | NotEstimable:
    """The further labels until a decision, while it is open and there is one challenger."""
    method = pair.method
    # The forecast plays the unadjusted test. With several challengers the adjusted evidence takes longer, so the
    # figure would be too low.
    several = len(plan.challengers) > 1
    if not isinstance(method, PairedComparison) or several or decided(pair.adjusted, plan.terms.alpha):
        return NO_FORECAST
    return forecast(method.summary, plan.terms.alpha, seed)


def _arrival(state: ExperimentState, plan: ExperimentPlan, challenger: str) -> LabelArrival:
    splits = ((weights.get(challenger, 0.0), weights.get(plan.baseline, 0.0)) for weights in state.epochs.values())
    return LabelArrival(splits=tuple(splits), unlabelled=state.pairs[challenger].unlabelled)


def _checks(state: ExperimentState) -> list[CheckResult]:
    return [checks.result("sample_ratio", state.sample_ratio), checks.result("label_rate", state.label_rate)]


def _guardrails(state: ExperimentState) -> list[GuardrailResult]:
    results = [guardrails.result("errors", name, pair.errors) for name, pair in state.pairs.items()]
    return results + [guardrails.result("slow answers", name, pair.slow) for name, pair in state.pairs.items()]


def _variant(version: str, tally: VersionTally, terms: ExperimentTerms, weight: float) -> VariantReport:
    rewarded = metric_of(terms).uses_rewards
    total, n = (tally.reward_total, tally.rewards) if rewarded else (tally.total, tally.scored)
    return VariantReport(
        version=version,
        weight=weight,
        requests=tally.requests,
        users=tally.users,
        labelled=tally.labelled,
        mean=total / n if n else None,
        interval=_interval_of_mean(total, n, terms),
        rewards=tally.rewards,
        reward_mean=tally.reward_total / tally.rewards if tally.rewards else None,
        errors=tally.errors,
        latency_ms=LatencyMs(*(quantile_ms(tally.latency, share) for share in (0.5, 0.95, 0.99))),
    )


def _interval_of_mean(total: float, n: int, terms: ExperimentTerms) -> Interval | None:
    """The confidence sequence of a version's mean, where a range is declared."""
    declared = metric_of(terms).range_of(terms)
    if declared is None or not n:
        return None
    # The sum is kept, not its terms, so it is the sum that is moved onto the unit scale and clipped.
    on_unit = min(max((total - n * declared.low) / declared.width, 0.0), float(n))
    found = means.interval(on_unit, n, terms.alpha)
    if isinstance(found, NotEstimable):
        return None
    return declared.low + found[0] * declared.width, declared.low + found[1] * declared.width


def _comparison(
    evidence: Evidence, pair: PairState, state: ExperimentState, refusals: tuple[str, ...], terms: ExperimentTerms
) -> ComparisonReport:
    log_e = _known(evidence.log_e)
    summary = pair.method.summary if isinstance(pair.method, PairedComparison) else None
    return ComparisonReport(
        challenger=evidence.challenger,
        method=evidence.method,
        n=evidence.n,
        unjoined=_unjoined(evidence, state, terms),
        difference=_known(evidence.difference),
        interval=None if isinstance(evidence.interval, NotEstimable) else evidence.interval,
        e_value=None if log_e is None or log_e > _LARGEST_LOG_E else math.exp(log_e),
        log_e=log_e,
        p_value=p_value(evidence.strongest) if evidence.n else None,
        probability_better=_known(evidence.probability_better),
        verdict=verdict(evidence, terms),
        asymptotic=evidence.method == "asymptotic",
        worst_case=_worst_case(pair),
        remaining=_remaining(evidence),
        wins=summary.wins if summary else None,
        losses=summary.losses if summary else None,
        assumptions=refusals,
        adjusted_log_e=evidence.present.log_e,
        gate_log_e=evidence.present.gate_log_e,
    )


def _unjoined(evidence: Evidence, state: ExperimentState, terms: ExperimentTerms) -> int:
    """Labels that did not enter, because their row or one of the two answers is missing."""
    # A reward counts for the served version alone, so it needs no other answer.
    return 0 if metric_of(terms).uses_rewards else state.labels - evidence.n


def _worst_case(pair: PairState) -> Interval | None:
    """The extremes of the difference on all requests, whichever of them were labelled."""
    if not isinstance(pair.method, PairedComparison):
        return None
    agreements = (pair.both - pair.differ) - (pair.method.n - pair.differ_labelled)
    found = robust.worst_case(pair.method.summary, pair.unlabelled, max(0, agreements))
    return None if isinstance(found, NotEstimable) else found


def _remaining(evidence: Evidence) -> tuple[float | None, float | None] | None:
    if not isinstance(evidence.forecast, Forecast):
        return None
    return _known(evidence.forecast.low), _known(evidence.forecast.high)


def _check(result: CheckResult, state: ExperimentState) -> CheckReport:
    ratios = {"sample_ratio": state.sample_ratio, "label_rate": state.label_rate}
    ratio = ratios.get(result.name)
    if ratio is not None and not ratio.n:
        return CheckReport(name=result.name, ok=None, detail="nothing to check yet")
    seen = None if ratio is None else f"{ratio.n:,} events in {len(ratio.epochs)} config revision(s)"
    return CheckReport(name=result.name, ok=result.ok, p_value=result.p_value, detail=seen)


def _crossover_exclusion(state: ExperimentState) -> tuple[CheckReport, ...]:
    if not any(tally.users for tally in state.versions.values()):
        return ()
    detail = f"{state.moved_users:,} users were answered by two versions under one split and are excluded from then on"
    return (CheckReport(name="sticky_users", ok=True, detail=detail if state.moved_users else None),)


def _guardrail(result: GuardrailResult) -> CheckReport:
    counts = f"{result.own:,} of {result.events:,} were {result.version}'s"
    return CheckReport(
        name=result.name.replace(" ", "_"),
        ok=not result.crossed,
        version=result.version,
        p_value=result.p_value,
        detail=f"{counts}; {result.expected:,.4g} expected at its traffic share" if result.events else None,
    )


def _known(value: float | NotEstimable) -> float | None:
    return None if isinstance(value, NotEstimable) else value
