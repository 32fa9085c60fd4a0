"""The verdict as one sentence for a person, with the numbers in it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from app.domain.experiment import ExperimentTerms
from app.scoring.table import metric_of
from app.stats.checks import CheckResult
from app.stats.estimates import Interval, NotEstimable
from app.stats.evidence import Evidence
from app.stats.forecast import Forecast
from app.stats.guardrails import GuardrailResult
from app.stats.strongest import p_value

_CHECKS = {
    "sample_ratio": "the versions do not get the shares of the traffic that were set",
    "label_rate": "the versions' answers are labelled at different rates",
    "drift": "the traffic, or the champion's answers or errors, are proven to differ from the data it was made from",
}


def winner(evidence: Evidence, terms: ExperimentTerms, better: bool) -> str:
    """Says that the challenger is better, or worse, by how much, and how seldom chance alone does that."""
    return (
        f"{evidence.challenger} is {'better' if better else 'worse'} than {evidence.baseline}: "
        f"over {_outcomes(evidence)} {_by_how_much(evidence, terms)}; "
        f"were they equally good, evidence this strong would ever appear in {_seldom(p_value(evidence.strongest))}"
    )


def equivalent(evidence: Evidence, terms: ExperimentTerms) -> str:
    """Says that the two are as good as each other within the margin."""
    seen = evidence.conclusions.equivalent_at or evidence.agreement.n
    return (
        f"{evidence.challenger} and {evidence.baseline} are equivalent: their {_quantity(terms)} differs by less than "
        f"{_limit(terms.equivalence_margin, terms)} ({seen:,} requests were enough to prove it); "
        f"keep {evidence.baseline} unless {evidence.challenger} is cheaper to run"
    )


def futile(evidence: Evidence, terms: ExperimentTerms) -> str:
    """Says that an improvement of the least effect of interest has been ruled out."""
    return (
        f"{evidence.challenger} is not better than {evidence.baseline} by {_limit(terms.min_effect, terms)} or more, "
        f"the least effect of interest: over {_outcomes(evidence)} {_by_how_much(evidence, terms)}"
    )


def undecided(evidence: Evidence, terms: ExperimentTerms) -> str:
    """Says what is known so far, and how many labels a decision is likely to need."""
    if not evidence.n:
        pair = f"{evidence.challenger} against {evidence.baseline}"
        return f"nothing is known yet about {pair}: no outcome that compares them has arrived"
    known = f"after {_outcomes(evidence)} {evidence.challenger} against {evidence.baseline} is undecided: "
    if evidence.conclusions.not_worse_at is not None:
        known += f"it is not worse by {_limit(terms.equivalence_margin, terms)} or more, and "
    return known + _by_how_much(evidence, terms) + _how_long(evidence.forecast)


def failed_checks(checks: Sequence[CheckResult]) -> str:
    """Says what is wrong with the experiment itself."""
    faults = "; ".join(f"{_CHECKS.get(c.name, c.name)} (p = {c.p_value:.1g})" for c in checks if not c.ok)
    return f"do not trust the comparison before this is explained: {faults}"


def crossed(guardrail: GuardrailResult, baseline: str) -> str:
    """Says which guardrail the challenger crossed, with the counts."""
    return (
        f"{guardrail.version} has too many {guardrail.name}: {guardrail.own:,} of {guardrail.events:,}, where "
        f"{guardrail.expected:,.4g} are expected at its traffic share; return to {baseline}"
    )


def _outcomes(evidence: Evidence) -> str:
    noun = "labelled requests" if evidence.method.startswith("paired") else "outcomes"
    return f"{evidence.n:,} {noun}"


def _by_how_much(evidence: Evidence, terms: ExperimentTerms) -> str:
    difference, interval = evidence.difference, evidence.interval
    if isinstance(difference, NotEstimable):
        return f"the difference in {_quantity(terms)} cannot be estimated ({difference.reason})"
    # A positive difference is an improvement, and an improvement of a loss is a lower one.
    higher = (difference >= 0) == metric_of(terms).higher_is_better
    # Two digits of the interval's width: more would be noise.
    span = difference if isinstance(interval, NotEstimable) else interval[1] - interval[0]
    decimals = _decimals(abs(span) * metric_of(terms).scale)
    size = f"{_number(abs(difference), terms, decimals)}{metric_of(terms).unit} {'higher' if higher else 'lower'}"
    return f"its {_quantity(terms)} is {size} ({_range(interval, terms, decimals)})"


def _range(interval: Interval | NotEstimable, terms: ExperimentTerms, decimals: int) -> str:
    """The interval of the improvement: positive is good for the challenger, whatever the metric."""
    if isinstance(interval, NotEstimable):
        return f"no interval: {interval.reason}"
    low, high = (_number(end, terms, decimals, sign="+") for end in interval)
    return f"{100 * (1 - terms.alpha):.4g} % interval of the improvement {low} to {high}{metric_of(terms).unit}"


def _quantity(terms: ExperimentTerms) -> str:
    return metric_of(terms).quantity


def _number(value: float, terms: ExperimentTerms, decimals: int, sign: str = "") -> str:
    return f"{metric_of(terms).scale * value:{sign}.{decimals}f}".replace("-", "−")


def _limit(value: float | None, terms: ExperimentTerms) -> str:
    metric = metric_of(terms)
    amount = f"{metric.scale * (value or 0.0):.4g}"
    return f"{amount}{metric.unit}" if amount != "1" else f"1{metric.unit.rstrip('s')}"


def _decimals(span: float) -> int:
    """Decimals that show two digits of a span."""
    return max(0, min(6, 1 - math.floor(math.log10(span)))) if span > 0 else 2


def _seldom(p: float) -> str:
    if p < 1e-6:
        return "fewer than one in a million experiments"
    return f"at most 1 of {math.floor(1 / p):,} experiments"


def _how_long(forecast: Forecast | NotEstimable) -> str:
    if isinstance(forecast, NotEstimable):
        return ""
    if isinstance(forecast.low, NotEstimable):
        return "; a decision is far off: " + forecast.low.reason
    if isinstance(forecast.high, NotEstimable):
        return f"; a decision will likely need more than {forecast.low:,} further labelled requests"
    return f"; a decision will likely need {forecast.low:,} to {forecast.high:,} further labelled requests"
