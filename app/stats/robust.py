"""What holds although a label's arrival may depend on the answer that was served: evidence, bounds and an interval.

Each disagreement takes part, labelled or not, and an unlabelled one counts against the conclusion. So who is labelled,
and when, cannot lead to it: P(the evidence ever reaches 1/α) ≤ α while the challenger is no better. Source for the
bounds: Manski (1990), Nonparametric bounds on treatment effects.
"""

from __future__ import annotations

from app.stats import paired, paired_interval
from app.stats.estimates import NO_LABELS, Interval, NotEstimable
from app.stats.paired import PairedSummary


def log_e(summary: PairedSummary, unlabelled_disagreements: int) -> float:
    """ln E⁺ against "the challenger is no better", as if every unlabelled disagreement were a loss.

    E⁺ rises with each win and falls with each loss. So it never exceeds the E⁺ of all disagreements with their labels,
    in the order of the log, which is an e-process.
    """
    return paired.log_e_one_sided(summary.add(losses=unlabelled_disagreements))


def worst_case(
    summary: PairedSummary, unlabelled_disagreements: int, unlabelled_agreements: int = 0
) -> Interval | NotEstimable:
    """The sample's accuracy difference if every unlabelled disagreement went to one side: Manski's bounds.

    With n all requests that both answered: [(w − l − u)/n, (w − l + u)/n]. No assumption on who is labelled; no
    sampling error in it.
    """
    n = summary.n + unlabelled_disagreements + unlabelled_agreements
    if not n:
        return NO_LABELS
    lead = summary.wins - summary.losses
    return (lead - unlabelled_disagreements) / n, (lead + unlabelled_disagreements) / n


def worst_case_interval(
    summary: PairedSummary, unlabelled_disagreements: int, unlabelled_agreements: int, alpha: float
) -> Interval | NotEstimable:
    """The confidence sequence that holds whoever was labelled: P(it ever misses) ≤ α with no assumption on labels.

    `worst_case` with sampling error: each end is that of the paired interval with the unlabelled disagreements against
    it. A label of one can only shrink it. About 2 ms.
    """
    seen = summary.add(ties=unlabelled_agreements)
    if not seen.n + unlabelled_disagreements:
        return NO_LABELS
    low = paired_interval.lower_end(seen.add(losses=unlabelled_disagreements), alpha)
    return low, paired_interval.upper_end(seen.add(wins=unlabelled_disagreements), alpha)
