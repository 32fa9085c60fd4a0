"""The verdict on each challenger, and the advice on all of them together, with the reason in one sentence.

Order of precedence: a crossed guardrail, a failed check, a proven winner, all challengers settled, going on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

from app.domain.experiment import ExperimentTerms
from app.scoring.table import metric_of
from app.stats import sentences
from app.stats.checks import CheckResult
from app.stats.estimates import NotEstimable
from app.stats.evidence import Evidence, Verdict
from app.stats.guardrails import GuardrailResult
from app.stats.strongest import decided

Action: TypeAlias = Literal["continue", "promote", "keep", "rollback", "investigate"]


class Advice(msgspec.Struct, frozen=True):
    """What to do now. `version` is the one that should serve afterwards; None where nothing is to change."""

    action: Action
    version: str | None
    reason: str


def verdict(evidence: Evidence, terms: ExperimentTerms) -> Verdict:
    """The most that was ever proven: a winner before equivalence, equivalence before nothing.

    `better` or `worse` is wrong with probability ≤ α over the whole experiment, however often one looks; so is
    `equivalent`, where the true difference is at least the margin.
    """
    if decided(evidence.strongest, terms.alpha):
        return "better" if evidence.strongest.side > 0 else "worse"
    if _agree(evidence, terms) or evidence.conclusions.equivalent_at is not None:
        return "equivalent"
    return "undecided"


def _agree(evidence: Evidence, terms: ExperimentTerms) -> bool:
    """Whether the answers differ so seldom that the metric cannot differ by the margin."""
    applies = metric_of(terms).bounded_by_disagreement and terms.equivalence_margin is not None
    return applies and decided(evidence.agreement, terms.alpha)


def is_futile(evidence: Evidence) -> bool:
    """Whether an improvement of the least interesting size has been ruled out."""
    return evidence.conclusions.futile_at is not None


def recommend(
    evidences: Sequence[Evidence],
    checks: Sequence[CheckResult],
    guardrails: Sequence[GuardrailResult],
    terms: ExperimentTerms,
    baseline: str,
) -> Advice:
    """The advice from the evidence, checks and guardrails of this moment; `baseline` is the version in place."""
    broken = next((guardrail for guardrail in guardrails if guardrail.crossed), None)
    if broken:
        return Advice("rollback", baseline, sentences.crossed(broken, baseline))
    if not all(check.ok for check in checks):
        return Advice("investigate", None, sentences.failed_checks(checks))
    # The one with the largest estimate: each is proven to be better than the baseline, not than the others.
    better = [evidence for evidence in evidences if verdict(evidence, terms) == "better"]
    if better:
        best = max(better, key=_improvement)
        return Advice("promote", best.challenger, describe(best, terms))
    return _keep_or_continue(evidences, terms, baseline)


def describe(evidence: Evidence, terms: ExperimentTerms) -> str:
    """One sentence about one challenger."""
    found = verdict(evidence, terms)
    if found in ("better", "worse"):
        return sentences.winner(evidence, terms, found == "better")
    if found == "equivalent":
        return sentences.equivalent(evidence, terms)
    return sentences.futile(evidence, terms) if is_futile(evidence) else sentences.undecided(evidence, terms)


def _keep_or_continue(evidences: Sequence[Evidence], terms: ExperimentTerms, baseline: str) -> Advice:
    if not evidences:
        return Advice("continue", None, f"there is no challenger to compare {baseline} with")
    still_open = [e for e in evidences if verdict(e, terms) == "undecided" and not is_futile(e)]
    # While some are open, the reason is about those: what is settled calls for nothing.
    reason = "; ".join(describe(evidence, terms) for evidence in still_open or evidences)
    return Advice("continue", None, reason) if still_open else Advice("keep", baseline, reason)


def _improvement(evidence: Evidence) -> float:
    difference = evidence.difference
    return float("-inf") if isinstance(difference, NotEstimable) else difference
