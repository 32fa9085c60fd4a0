"""The advice on all challengers together, with the reason in one sentence.

Order of precedence: a crossed guardrail, a failed check, a winner that may be promoted, a proof that the present or all
outcomes together contradict, going on, all challengers settled. Promoting, and keeping because of a worse challenger,
need the present evidence; a verdict that is only remembered calls for no action.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from app.domain.experiment import ExperimentTerms
from app.domain.report import Action
from app.stats import sentences
from app.stats.checks import CheckResult
from app.stats.estimates import NotEstimable
from app.stats.evidence import Evidence
from app.stats.guardrails import GuardrailResult
from app.stats.verdict import Assessment, finding_of


class Advice(msgspec.Struct, frozen=True):
    """What to do now. `version` is the one that should serve afterwards; None where nothing is to change."""

    action: Action
    version: str | None
    reason: str


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
    findings = [finding_of(evidence, terms) for evidence in evidences]
    winners = [finding for finding in findings if finding.may_be_promoted]
    if winners:
        best = max(winners, key=_improvement)
        return Advice("promote", best.evidence.challenger, sentences.describe(best))
    return _without_winner(findings, baseline)


def _without_winner(findings: Sequence[Assessment], baseline: str) -> Advice:
    if not findings:
        return Advice("continue", None, f"there is no challenger to compare {baseline} with")
    changed = [finding for finding in findings if finding.needs_a_person]
    if changed:
        return Advice("investigate", None, _all(changed))
    # While some are open, the reason is about those: what is settled calls for nothing.
    still_open = [finding for finding in findings if not finding.is_settled]
    return Advice("continue", None, _all(still_open)) if still_open else Advice("keep", baseline, _all(findings))


def _all(findings: Sequence[Assessment]) -> str:
    return "; ".join(sentences.describe(finding) for finding in findings)


def _improvement(finding: Assessment) -> float:
    difference = finding.evidence.difference
    return float("-inf") if isinstance(difference, NotEstimable) else difference
