"""Why an automatic promotion would be refused: assumptions that nothing confirms, failed checks, too short a run.

The labels of a comparison can be trusted in three ways. They are declared exogenous. The challenger passes the gate: it
is proven better although each unlabelled disagreement counts against it (`app.stats.robust.log_e`). Or the two versions
share all traffic 50/50: who served was a fair coin, so it is the same for both how labels depend on whether the served
answer was right. The coin does not help where labels depend on which answer it was (people contest refusals more than
approvals) and the versions err in different directions. So 50/50 is enough for a recommendation to a person, and not
for an automatic promotion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from app.domain.experiment import ExperimentTerms
from app.scoring.table import metric_of
from app.stats.checks import CheckResult
from app.stats.estimates import bar
from app.stats.evidence import Evidence, LabelArrival, percent
from app.tables.counts import counted

# At a share of .52, labels that come twice as often after a wrong answer need 30,000 disagreements to mislead.
BALANCED_WITHIN = 0.02
# A version that fails this often is not promoted without a person, however good its other answers are.
MOST_MISSING = 0.01
_ROUNDING = 1e-9
# Both are judged over a whole experiment, and the declaration is a term: neither helps the one that runs.
_DECLARE = "begin another experiment that declares LABELS_EXOGENOUS=true"
_NEXT_TIME = "begin another experiment that is split 50/50 throughout or declares LABELS_EXOGENOUS=true"
_DAY_S = 86_400.0


def unverified_assumptions(
    evidence: Evidence, checks: Sequence[CheckResult], terms: ExperimentTerms
) -> tuple[str, ...]:
    """The assumptions as clauses for a person; empty where an automatic promotion of this challenger is sound."""
    reasons = [f"the check {check.name} has failed" for check in checks if not check.ok]
    if evidence.method == "asymptotic":
        reasons.append("no range is declared for the metric, so the error rate holds only for very many outcomes")
    votes = evidence.votes
    if votes.missing > MOST_MISSING * votes.asked:
        share = f"{100 * votes.missing / votes.asked:.2g} %"
        reasons.append(f"{evidence.challenger} gave no answer to {share} of the rows that it was asked")
    if evidence.lacks_columns:
        reasons.append(
            f"{percent(1 - (evidence.comparable_share or 0.0))} of the requests lack a column of {evidence.challenger} "
            f"or {evidence.baseline}, and a champion refuses requests that lack one of its own"
        )
    if votes.few_wins is not None:
        wins, rows = votes.few_wins
        come = "win comes" if wins == 1 else "wins come"
        reasons.append(f"the {wins:,} {come} from {counted(rows, 'different row')}: one case may be counted many times")
    remedy = label_remedy(evidence, terms, automatic=True) if evidence.n else None
    if remedy is not None:
        reasons.append(f"whether a label comes may depend on the answer that was served: {remedy}")
    return tuple(reasons)


def label_remedy(evidence: Evidence, terms: ExperimentTerms, *, automatic: bool = False) -> str | None:
    """What would let a promotion rest on the labels, as a clause; None where it may rest on them already.

    `automatic`: no person looks at it before.
    """
    if metric_of(terms).outcome != "actual" or terms.labels_exogenous:
        return None
    if not automatic and _is_balanced(evidence.arrival):
        return None
    otherwise = _DECLARE if automatic else _NEXT_TIME
    gate = evidence.present.gate_log_e
    if gate is None:
        # A loss is not won or lost, so the worst that unlabelled requests can hide has no useful bound.
        return f"for this metric, {otherwise}"
    if gate >= bar(terms.alpha):
        return None
    unlabelled = evidence.arrival.unlabelled
    more = f"label the remaining {counted(unlabelled, 'disagreement')}" if unlabelled else "collect more labels"
    return f"{more}, or {otherwise}"


def too_young(observed_s: float, min_duration_s: float) -> tuple[str, ...]:
    """The reason to wait while an experiment has run for less than `min_duration_s` of the log's time; else nothing."""
    if observed_s >= min_duration_s:
        return ()
    return (
        f"the log covers {_span(observed_s)} of the experiment, and a promotion is automatic only after "
        f"{_span(min_duration_s)} (EXPERIMENT_MIN_DURATION)",
    )


def _span(seconds: float) -> str:
    """A span in the largest unit of which it holds at least two."""
    # Rounded down: a wait that is not over must not read as over.
    for size, unit in ((_DAY_S, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return f"{math.floor(10 * seconds / size) / 10:g} {unit}"
    return f"{math.floor(seconds)} s"


def _is_balanced(arrival: LabelArrival) -> bool:
    """Whether the two versions served all traffic 50/50, within two points, in every config revision.

    A third version with traffic is no balance: labels that depend on its answers favour the version unlike it.
    """
    weights = [weight for split in arrival.splits for weight in split]
    return bool(weights) and all(abs(weight - 0.5) <= BALANCED_WITHIN + _ROUNDING for weight in weights)
