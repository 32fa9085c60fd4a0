"""The assumptions behind a verdict that nothing confirms. While there is one, a promotion is not automatic."""

from __future__ import annotations

from collections.abc import Sequence

from app.domain.experiment import ExperimentTerms
from app.stats.checks import CheckResult
from app.stats.estimates import bar
from app.stats.evidence import Evidence

# At a share of .52, labels that come twice as often after a wrong answer need 30,000 disagreements to mislead.
BALANCED_WITHIN = 0.02
ENOUGH_LABELLED = 0.95


def unverified_assumptions(
    evidence: Evidence, checks: Sequence[CheckResult], terms: ExperimentTerms
) -> tuple[str, ...]:
    """The assumptions as clauses for a person; empty where an automatic promotion of this challenger is sound."""
    reasons = [f"the check {check.name} has failed" for check in checks if not check.ok]
    if evidence.method == "asymptotic":
        reasons.append("no range is declared for the metric, so the error rate holds only for very many outcomes")
    if evidence.method in ("paired", "paired_numeric") and evidence.n and not _labels_are_trusted(evidence, terms):
        reasons.append(
            "whether a label arrives may depend on the answer that was served: labels are not declared exogenous "
            "(LABELS_EXOGENOUS=true), the split is not close to 50/50 in every revision, fewer than 95 % of the "
            "disagreements are labelled, and the test that allows for it does not confirm a difference"
        )
    return tuple(reasons)


def _labels_are_trusted(evidence: Evidence, terms: ExperimentTerms) -> bool:
    arrival = evidence.arrival
    balanced = bool(arrival.shares) and all(abs(share - 0.5) <= BALANCED_WITHIN for share in arrival.shares)
    complete = arrival.disagreements > 0 and arrival.labelled >= ENOUGH_LABELLED * arrival.disagreements
    robust = arrival.robust_log_e is not None and arrival.robust_log_e >= bar(terms.alpha)
    return terms.labels_exogenous or balanced or complete or robust
