"""A finding as one sentence for a person, with the numbers in it.

What is proven and stands is said in the present tense; what the present does not carry, in the past tense.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from app.domain.experiment import ExperimentTerms
from app.scoring.table import metric_of
from app.stats.checks import CheckResult
from app.stats.estimates import NotEstimable, bar
from app.stats.evidence import Evidence, percent
from app.stats.guardrails import GuardrailResult
from app.stats.strongest import p_value
from app.stats.verdict import Assessment
from app.tables.counts import counted

_CHECKS = {
    "sample_ratio": "the versions do not get the shares of the traffic that were set",
    "label_rate": "the versions' answers are labelled at different rates",
    "drift": "the traffic, or the champion's answers or errors, are proven to differ from the data it was made from",
}


# Units in the plural; a request is called by its outcome.
_UNITS = {"user": "users", "key": "keys", "row": "rows", "request": None}


def describe(finding: Assessment) -> str:
    """One sentence about one challenger."""
    evidence = finding.evidence
    if evidence.comparable_share == 0:
        return (
            f"nothing is known about {evidence.challenger} against {evidence.baseline}: no request has every column "
            "that the two read, so they could not both take part in any"
        )
    said = _described(finding)
    if not evidence.lacks_columns:
        return said
    said += f"; only {percent(evidence.comparable_share or 0.0)} of the requests have every column that the two read"
    promoted = f", and {evidence.challenger} as champion refuses those that lack one of its own"
    return said + promoted if finding.may_be_promoted else said


def _described(finding: Assessment) -> str:
    if finding.standing == "reversed":
        return _reversed(finding)
    if finding.standing == "contrary":
        return _contrary(finding)
    if finding.shows_futile:
        return _futile(finding.evidence, finding.terms)
    if finding.verdict == "undecided":
        return _undecided(finding.evidence, finding.terms)
    if finding.verdict == "equivalent":
        return _equivalent(finding.evidence, finding.terms)
    return _faded(finding) if finding.standing == "faded" else _winner(finding)


def _winner(finding: Assessment) -> str:
    """The challenger is better, or worse, by how much, and how seldom chance alone does that."""
    evidence, terms = finding.evidence, finding.terms
    numbers = f"over {_outcomes(evidence)} {_by_how_much(evidence, terms)}"
    if finding.verdict == "better" and finding.remedy is not None:
        return (
            f"{evidence.challenger} is proven better than {evidence.baseline} only if labels do not depend on the "
            f"answer that was served: {finding.remedy}; {numbers}"
        )
    return (
        f"{evidence.challenger} is {finding.verdict} than {evidence.baseline}: {numbers}; "
        f"were they equally good, evidence this strong would ever appear in {_seldom(p_value(evidence.strongest))}"
    )


def _faded(finding: Assessment) -> str:
    """The proof stays in the record, but the present evidence is too weak for an action."""
    evidence, terms = finding.evidence, finding.terms
    present, needed = evidence.present, 1 / terms.alpha
    # Rounded down: a figure below 1/α must not read as 1/α.
    figure = math.floor(100 * math.exp(min(present.log_e, bar(terms.alpha)))) / 100
    return (
        f"{_was_proven(finding)}, and the record keeps it; the present evidence is too weak to act on "
        f"(e-value {figure:g}, {needed:g} needed): over {_outcomes(evidence)} {_by_how_much(evidence, terms)}"
    )


def _reversed(finding: Assessment) -> str:
    """What was proven, and that the present contradicts it."""
    evidence, terms = finding.evidence, finding.terms
    proven = _was_ruled_out(finding) if finding.verdict == "undecided" else _was_proven(finding)
    return f"{proven}, but the difference has changed since: over {_outcomes(evidence)} {_by_how_much(evidence, terms)}"


def _contrary(finding: Assessment) -> str:
    """Units, each with one vote, favour one version, and all outcomes together the other."""
    evidence, terms = finding.evidence, finding.terms
    votes, outcomes = _UNITS[evidence.votes.unit] or "requests", metric_of(terms).outcome
    noun = "rewards" if outcomes == "reward" else "labels"
    size = evidence.improvement_of_all or 0.0
    scaled = abs(size) * metric_of(terms).scale
    amount = _with_unit(f"{scaled:.{_decimals(scaled)}f}", terms)
    higher = "higher" if (size >= 0) == metric_of(terms).higher_is_better else "lower"
    why = (
        f"values outside the declared range ({evidence.votes.outside:,} of them) count as its nearer end"
        if evidence.votes.outside
        else f"some {votes} come far more often than others"
    )
    whole = " and with the value that it has" if evidence.votes.outside else ""
    return (
        f"{_was_proven(finding)}, each with one vote and within the declared range, but over all "
        f"{evidence.votes.present:,} {noun}, each as often as it came{whole}, its {_quantity(terms)} is {amount} "
        f"{higher}: {why}, so look at which of the two you want before you decide"
    )


def _was_proven(finding: Assessment) -> str:
    evidence = finding.evidence
    seen = _outcomes(evidence, evidence.strongest.n)
    return f"{evidence.challenger} was proven {finding.verdict} than {evidence.baseline} after {seen}"


def _was_ruled_out(finding: Assessment) -> str:
    evidence = finding.evidence
    seen = _outcomes(evidence, evidence.conclusions.futile_at)
    least = _limit(finding.terms.min_effect, finding.terms)
    return f"an improvement of {evidence.challenger} over {evidence.baseline} by {least} was ruled out after {seen}"


def _equivalent(evidence: Evidence, terms: ExperimentTerms) -> str:
    """The two are as good as each other within the margin."""
    seen, cases = evidence.conclusions.equivalent_at or evidence.agreement.n, _UNITS[evidence.votes.unit] or "requests"
    return (
        f"{evidence.challenger} and {evidence.baseline} are equivalent: their {_quantity(terms)} differs by less than "
        f"{_limit(terms.equivalence_margin, terms)} ({seen:,} {cases} were enough to prove it); "
        f"keep {evidence.baseline} unless {evidence.challenger} is cheaper to run"
    )


def _futile(evidence: Evidence, terms: ExperimentTerms) -> str:
    """An improvement of the least effect of interest has been ruled out."""
    return (
        f"{evidence.challenger} is not better than {evidence.baseline} by {_limit(terms.min_effect, terms)} or more, "
        f"the least effect of interest: over {_outcomes(evidence)} {_by_how_much(evidence, terms)}"
    )


def _undecided(evidence: Evidence, terms: ExperimentTerms) -> str:
    """What is known so far, and how many labels a decision is likely to need."""
    if not evidence.n:
        pair = f"{evidence.challenger} against {evidence.baseline}"
        return f"nothing is known yet about {pair}: no outcome that compares them has arrived"
    known = f"after {_outcomes(evidence)} {evidence.challenger} against {evidence.baseline} is undecided: "
    if _is_not_worse(evidence, terms):
        known += f"it is not worse by {_limit(terms.equivalence_margin, terms)} or more, and "
    return known + _by_how_much(evidence, terms) + _how_long(evidence, terms)


def _is_not_worse(evidence: Evidence, terms: ExperimentTerms) -> bool:
    """Whether a loss of the margin has been ruled out, and the present estimate does not contradict it."""
    difference, margin = evidence.difference, terms.equivalence_margin
    concluded = evidence.conclusions.not_worse_at is not None and margin is not None
    return concluded and (isinstance(difference, NotEstimable) or difference > -(margin or 0.0))


def failed_checks(checks: Sequence[CheckResult]) -> str:
    """Says what is wrong with the experiment itself."""
    faults = "; ".join(f"{c.fault or _CHECKS.get(c.name, c.name)} ({_p_value(c.p_value)})" for c in checks if not c.ok)
    return f"do not trust the comparison before this is explained: {faults}"


def _p_value(p: float) -> str:
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.1g}"


def crossed(guardrail: GuardrailResult, baseline: str) -> str:
    """Says which guardrail the challenger crossed, with the counts."""
    return (
        f"{guardrail.version} has too many {guardrail.name}: {guardrail.own:,} of {guardrail.events:,}, where "
        f"{guardrail.expected:,.4g} are expected of a version as good as {baseline}; return to {baseline}"
    )


def _outcomes(evidence: Evidence, n: int | None = None) -> str:
    """`n` votes, by default all: of whom, and how many outcomes they have been told of."""
    votes, unit = evidence.n if n is None else n, evidence.votes.unit
    outcome = "labelled request" if evidence.method.startswith("paired") else "outcome"
    if _UNITS[unit] is None:
        return counted(votes, outcome)
    return counted(votes, unit) + (f" ({counted(evidence.votes.outcomes, outcome)})" if n is None else "")


def _by_how_much(evidence: Evidence, terms: ExperimentTerms) -> str:
    difference, interval = evidence.difference, evidence.interval
    if isinstance(difference, NotEstimable):
        return f"the difference in {_quantity(terms)} cannot be estimated ({difference.reason})"
    if not isinstance(interval, NotEstimable) and not interval[0] <= difference <= interval[1]:
        # A few outcomes of a small share can do this: the interval is the one with an error rate.
        return f"the improvement in {_quantity(terms)} is not settled ({_range(evidence, terms, 2)})"
    # A positive difference is an improvement, and an improvement of a loss is a lower one.
    higher = (difference >= 0) == metric_of(terms).higher_is_better
    # Two digits of the interval's width: more would be noise.
    span = difference if isinstance(interval, NotEstimable) else interval[1] - interval[0]
    decimals = _decimals(abs(span) * metric_of(terms).scale)
    amount = _number(abs(difference), terms, decimals)
    size = f"{_with_unit(amount, terms)} {'higher' if higher else 'lower'}"
    if not float(amount):
        size = "about the same" if difference else "the same"
    where = "" if evidence.form is None else _over_what(evidence)
    return f"its {_quantity(terms)}{where} is {size} ({_range(evidence, terms, decimals)})"


def _over_what(evidence: Evidence) -> str:
    share = evidence.comparable_share
    able = "" if share is None or share == 1 else " that both could answer"
    # Where units come again, each counts once, and the requests are not counted one by one.
    units = _UNITS[evidence.votes.unit] if evidence.votes.outcomes > evidence.n else None
    return f" on all requests{able}" if units is None else f" on all {units}{able}, each counted once,"


def _range(evidence: Evidence, terms: ExperimentTerms, decimals: int) -> str:
    """The interval of the improvement: positive is good for the challenger, whatever the metric."""
    interval = evidence.interval
    if isinstance(interval, NotEstimable):
        return f"no interval: {interval.reason}"
    low, high = (_number(end, terms, decimals, sign="+") for end in interval)
    level = f"{100 * (1 - terms.alpha):.4g} %"
    # Each of K intervals is at α/K, so the level is that of all of them together.
    joint = f", joint for {evidence.challengers} challengers" if evidence.challengers > 1 else ""
    return f"{level} interval of the improvement {low} to {high}{metric_of(terms).unit}{joint}"


def _quantity(terms: ExperimentTerms) -> str:
    return metric_of(terms).described(terms)


def _number(value: float, terms: ExperimentTerms, decimals: int, sign: str = "") -> str:
    return f"{metric_of(terms).scale * value:{sign}z.{decimals}f}".replace("-", "−")


def _limit(value: float | None, terms: ExperimentTerms) -> str:
    return _with_unit(f"{metric_of(terms).scale * (value or 0.0):.4g}", terms)


def _with_unit(amount: str, terms: ExperimentTerms) -> str:
    unit = metric_of(terms).unit
    return f"{amount}{unit.rstrip('s') if amount == '1' else unit}"


def _decimals(span: float) -> int:
    """Decimals that show two digits of a span."""
    return max(0, min(6, 1 - math.floor(math.log10(span)))) if span > 0 else 2


def _seldom(p: float) -> str:
    if p < 1e-6:
        return "fewer than one in a million experiments"
    return f"at most 1 of {math.floor(1 / p):,} experiments"


def _how_long(evidence: Evidence, terms: ExperimentTerms) -> str:
    forecast, several = evidence.forecast, _UNITS[evidence.votes.unit]
    noun, of = f"labelled {several or 'requests'}", metric_of(terms).of(terms)
    noun = noun if of is None else f"{noun} whose label is {of}"
    if isinstance(forecast, NotEstimable):
        return ""
    if isinstance(forecast.low, NotEstimable):
        return "; a decision is far off: " + forecast.low.reason
    if isinstance(forecast.high, NotEstimable):
        return f"; a decision will likely need more than {forecast.low:,} further {noun}"
    return f"; a decision will likely need {forecast.low:,} to {forecast.high:,} further {noun}"
