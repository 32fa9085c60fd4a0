"""What is proven about each challenger, and what to do about all of them together, with the reason in one sentence.

Order of precedence: a crossed guardrail, a failed check, a proven winner, all challengers settled, going on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

from app.domain.experiment import ExperimentTerms
from app.stats import sentences
from app.stats.checks import CheckResult
from app.stats.estimates import NotEstimable
from app.stats.evidence import Evidence, Verdict
from app.stats.guardrails import GuardrailResult
from app.stats.refusals import refusals
from app.stats.strongest import decided

Action: TypeAlias = Literal["continue", "promote", "keep", "rollback", "investigate"]


class Advice(msgspec.Struct, frozen=True):
    """What to do now. `version` is the one that should serve afterwards; None where nothing is to change.

    `refusals` say why the monitor may not do it by itself; empty where it may.
    """

    action: Action
    version: str | None
    reason: str
    refusals: tuple[str, ...] = ()


def verdict(evidence: Evidence, terms: ExperimentTerms) -> Verdict:
    """The most that was ever proven: a winner before equivalence, equivalence before nothing.

    `better` or `worse` is wrong with probability ≤ α over the whole course; `equivalent`, likewise, for a real
    difference of at least the margin.
    """
    if decided(evidence.strongest, terms.alpha):
        return "better" if evidence.strongest.side > 0 else "worse"
    if _agree(evidence, terms) or evidence.conclusions.equivalent_at is not None:
        return "equivalent"
    return "undecided"


def _agree(evidence: Evidence, terms: ExperimentTerms) -> bool:
    """Only accuracies are bounded by how often the answers differ."""
    applies = terms.metric == "accuracy" and terms.equivalence_margin is not None
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
    """The recommendation from everything that is known at this moment."""
    broken = next((guardrail for guardrail in guardrails if guardrail.crossed), None)
    if broken:
        return Advice("rollback", baseline, sentences.crossed(broken, baseline))
    if not all(check.ok for check in checks):
        reason = sentences.failed_checks(checks)
        return Advice("investigate", None, reason, (reason,))
    better = [evidence for evidence in evidences if verdict(evidence, terms) == "better"]
    if better:
        return _promote(max(better, key=_improvement), checks, terms)
    return _keep_or_continue(evidences, terms, baseline)


def describe(evidence: Evidence, terms: ExperimentTerms) -> str:
    """One sentence about one challenger."""
    said = verdict(evidence, terms)
    if said in ("better", "worse"):
        return sentences.winner(evidence, terms, said == "better")
    if said == "equivalent":
        return sentences.equivalent(evidence, terms)
    return sentences.futile(evidence, terms) if is_futile(evidence) else sentences.undecided(evidence, terms)


def _promote(best: Evidence, checks: Sequence[CheckResult], terms: ExperimentTerms) -> Advice:
    return Advice("promote", best.challenger, describe(best, terms), refusals(best, checks, terms))


def _keep_or_continue(evidences: Sequence[Evidence], terms: ExperimentTerms, baseline: str) -> Advice:
    if not evidences:
        return Advice("continue", None, f"there is no challenger to compare {baseline} with")
    still_open = [e for e in evidences if verdict(e, terms) == "undecided" and not is_futile(e)]
    told = still_open or evidences
    reason = "; ".join(describe(evidence, terms) for evidence in told)
    return Advice("continue", None, reason) if still_open else Advice("keep", baseline, reason)


def _improvement(evidence: Evidence) -> float:
    difference = evidence.difference
    return float("-inf") if isinstance(difference, NotEstimable) else difference
