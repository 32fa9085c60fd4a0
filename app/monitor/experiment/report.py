"""An experiment's report from its state. Pure, so that any report can be made again."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import msgspec

from app.domain.experiment import Configuration
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
from app.monitor.experiment.evidence import evidence_of, presents_of, rewards_of
from app.monitor.experiment.latencies import quantile_ms
from app.monitor.experiment.methods.paired import PairedComparison
from app.monitor.experiment.state import ExperimentPlan, ExperimentState, PairState, VersionTally
from app.stats import all_traffic, checks, guardrails, means
from app.stats.advice import recommend
from app.stats.assumptions import too_young, unverified_assumptions
from app.stats.cautions import cautions, correction_notes
from app.stats.checks import CheckResult, RatioState
from app.stats.estimates import Interval, NotEstimable
from app.stats.evidence import Evidence
from app.stats.forecast import Forecast
from app.stats.guardrails import GuardrailResult
from app.stats.strongest import p_value
from app.stats.verdict import verdict
from app.tables.counts import counted

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
    presents = presents_of([*state.pairs.values()])
    evidences = [
        evidence_of(state, plan, name, present, seed) for name, present in zip(state.pairs, presents, strict=True)
    ]
    results = [*_checks(state), *more_checks]
    rails = _guardrails(state)
    corrected = correction_notes(
        state.corrections,
        state.corrections_since,
        state.rewards if plan.metric.uses_rewards else state.labels,
        since_decision=summary.ended_at_us is not None and state.corrected_at_us > summary.ended_at_us,
    )
    # By the log's time, so that a report made again from the same log says the same.
    # Without a row there is no last event, and a late row of an experiment before may be the last one.
    observed_us = max(0, state.last_event_us - summary.started_at_us)
    waiting = too_young(observed_us / 1e6, last.min_duration_s)
    advice = recommend(evidences, results, rails, terms, plan.baseline)
    return ExperimentReport(
        id=plan.experiment_id,
        name=terms.name,
        hypothesis=terms.hypothesis,
        started=iso_utc(summary.started_at_us),
        ended=None if summary.ended_at_us is None else iso_utc(summary.ended_at_us),
        state="running" if summary.ended_at_us is None else "ended",
        metric=terms.metric,
        alpha=terms.alpha,
        baseline=plan.baseline or None,
        variants=tuple(_variant(version, state, plan, last.weights.get(version, 0.0)) for version in state.versions),
        comparisons=tuple(
            _comparison(
                evidence, pair, state, plan, (*unverified_assumptions(evidence, results, terms), *waiting), corrected
            )
            for evidence, pair in zip(evidences, state.pairs.values(), strict=True)
        ),
        checks=(*(_check(result, state) for result in results), *_crossover_exclusion(state)),
        guardrails=tuple(_guardrail(result) for result in rails),
        recommendation=Recommendation(advice.action, advice.version, advice.reason),
        corrections=state.corrections,
        corrections_since=state.corrections_since,
        computed_at=iso_utc(now_us),
    )


def _checks(state: ExperimentState) -> list[CheckResult]:
    return [checks.result("sample_ratio", state.sample_ratio), checks.result("label_rate", state.label_rate)]


def _guardrails(state: ExperimentState) -> list[GuardrailResult]:
    results = [guardrails.result("errors", name, pair.errors) for name, pair in state.pairs.items()]
    return results + [guardrails.result("slow answers", name, pair.slow) for name, pair in state.pairs.items()]


def _variant(version: str, state: ExperimentState, plan: ExperimentPlan, weight: float) -> VariantReport:
    tally = state.versions[version]
    exposures, not_counted = (state.exposures or {}).get(version, (0, 0))
    rewarded = plan.metric.uses_rewards
    total, n = tally.total if plan.window_us is None else tally.voted_total, outcomes_of(tally, plan)
    by_id = plan.metric.score_of_id is not None
    outcomes = n if plan.window_us is not None or by_id else tally.rewards if rewarded else tally.labelled
    # An interval from outcomes of units that came again would be too narrow.
    repeated = any(pair.outcomes > pair.method.n for pair in state.pairs.values())
    return VariantReport(
        version=version,
        weight=weight,
        requests=tally.requests,
        exposures=exposures,
        exposures_not_counted=not_counted,
        users=tally.users,
        labelled=tally.labelled,
        mean=total / n if n else None,
        interval=None if repeated else _interval_of_mean(total, n, plan),
        mean_all=tally.known_total / tally.known if tally.known else None,
        interval_all=None if rewarded else _interval_of_mean_all(tally, plan),
        rewards=tally.rewards,
        reward_mean=tally.reward_total / tally.rewards if tally.rewards else None,
        errors=tally.errors,
        latency_ms=LatencyMs(*(quantile_ms(tally.latency, share) for share in (0.5, 0.95, 0.99))),
        answerable_share=state.answerable_share(version),
        comparable=outcomes - tally.apart,
        comparable_mean=(total - tally.apart_total) / (n - tally.apart) if n > tally.apart else None,
    )


def outcomes_of(tally: VersionTally, plan: ExperimentPlan) -> int:
    """How many outcomes the mean of a version is of."""
    # Answers without a reward count as 0 once their window has closed.
    return tally.scored if plan.window_us is None else tally.voted


def _interval_of_mean_all(tally: VersionTally, plan: ExperimentPlan) -> Interval | None:
    """The interval of the mean over units; None where the mean over all rows, shown beside it, is not in it."""
    found = _interval_of_mean(tally.voted_total, tally.voted, plan)
    if found is None or not tally.known:
        return None
    return found if found[0] <= tally.known_total / tally.known <= found[1] else None


def _interval_of_mean(total: float, n: int, plan: ExperimentPlan) -> Interval | None:
    """The confidence sequence of a version's mean, where a range is declared."""
    declared = plan.metric.range_of(plan.terms)
    if declared is None or not n:
        return None
    # The sum is kept, not its terms, so it is the sum that is moved onto the unit scale and clipped.
    on_unit = min(max((total - n * declared.low) / declared.width, 0.0), float(n))
    found = means.interval(on_unit, n, plan.interval_alpha)
    if isinstance(found, NotEstimable):
        return None
    return declared.low + found[0] * declared.width, declared.low + found[1] * declared.width


def _comparison(
    evidence: Evidence,
    pair: PairState,
    state: ExperimentState,
    plan: ExperimentPlan,
    refusals: tuple[str, ...],
    corrected: tuple[str, ...],
) -> ComparisonReport:
    log_e, terms = _known(evidence.log_e), plan.terms
    compared = ComparisonReport(
        challenger=evidence.challenger,
        method=evidence.method,
        n=pair.outcomes,
        unjoined=_unjoined(pair, state, plan),
        difference=_known(evidence.difference),
        improvement=_known(evidence.difference),
        interval=None if isinstance(evidence.interval, NotEstimable) else evidence.interval,
        unit=evidence.votes.unit,
        units=evidence.n,
        distinct_rows=None if plan.metric.uses_rewards else pair.rows.count,
        missing=pair.missing,
        unlabelled_disagreements=None if plan.metric.uses_rewards else pair.gate.open,
        warnings=(*cautions(evidence, terms, rewards_of(state, plan)), *corrected),
        e_value=None if log_e is None or log_e > _LARGEST_LOG_E else math.exp(log_e),
        log_e=log_e,
        p_value=p_value(evidence.strongest) if evidence.n else None,
        probability_better=_known(evidence.probability_better),
        verdict=verdict(evidence, terms),
        asymptotic=evidence.method == "asymptotic",
        worst_case=_worst_case(pair, plan),
        remaining=_remaining(evidence),
        assumptions=refusals,
        adjusted_log_e=evidence.present.log_e,
        gate_log_e=evidence.present.gate_log_e,
    )
    if not isinstance(pair.method, PairedComparison):
        return compared
    return msgspec.structs.replace(
        compared,
        wins=pair.method.summary.wins,
        losses=pair.method.summary.losses,
        both_right=pair.cells.both,
        only_baseline=pair.cells.baseline,
        only_challenger=pair.cells.challenger,
        both_wrong=pair.cells.neither,
    )


def _unjoined(pair: PairState, state: ExperimentState, plan: ExperimentPlan) -> int:
    """Outcomes that did not enter, because their row, or one of the two answers to it, is not known."""
    if plan.metric.uses_rewards:
        return state.rewards - state.joined_rewards if plan.rewards_wait else 0
    return state.labels - state.beside - pair.present_outcomes


def _worst_case(pair: PairState, plan: ExperimentPlan) -> Interval | None:
    """The interval of the improvement on all requests that holds whichever of them were labelled."""
    if not plan.metric.bounded_by_disagreement or not pair.firsts.both:
        return None
    found = all_traffic.worst_case(pair.firsts.coverage(), plan.interval_alpha)
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
    seen = None if ratio is None else f"{counted(ratio.n, 'event')} in {_splits(ratio)}"
    return CheckReport(name=result.name, ok=result.ok, p_value=result.p_value, detail=seen)


def _splits(ratio: RatioState) -> str:
    """How many config revisions were checked; splits, where some of them are without a version that took no part."""
    reduced = any(number < 0 for number in ratio.epochs)
    return counted(len(ratio.epochs), "split" if reduced else "config revision")


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
        detail=f"{counts}; {result.expected:,.4g} expected of an equal version" if result.events else None,
    )


def _known(value: float | NotEstimable) -> float | None:
    return None if isinstance(value, NotEstimable) else value
