"""The accuracy difference on all requests, where only disagreements, or only some of them, are labelled.

Where both answers are known and equal, both are right or both wrong: the difference is 0, label or none. So for
accuracy (and cost) an agreement is a tie without its label. Metrics that look at the class of the label, such as
recall, need the labels of agreements too, and can use none of this.

Counted are the first rows of units. There are three forms, each with P(it ever misses) ≤ α at all the moments it is
used at:

- `exact`: every disagreement is labelled. The paired interval on all requests; no assumption on who was labelled when.
- `product`: some are, and labels are declared not to depend on the answers. Difference = P(the two disagree) times
  P(win | disagree) − P(loss | disagree): a confidence sequence of the rate at .1α, of the other factor at .9α. By the
  union bound both hold, and then so does the product. Both factors are taken as constant. The rate is known from all
  requests and costs little; so it gets the smaller part of α.
- `worst_case`: otherwise. Each unlabelled disagreement counts against the end in question (`app.stats.robust`).

"The interval excludes 0 exactly when E ≥ 1/α" holds for `exact` only. `product` excludes 0 exactly when the paired
test's E ≥ 1/(.9α), since a rate above 0 does not change a sign. `worst_case` excludes 0 only when E ≥ 1/α would hold
with every unlabelled disagreement on the other side.

Sources: paired interval, Waudby-Smith & Ramdas, arXiv 2010.09686; rate, Howard et al., arXiv 1810.08240; bounds without
an assumption on labels, Manski (1990).
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import msgspec

from app.stats import means, paired_interval, robust
from app.stats.estimates import NO_LABELS, Interval, NotEstimable
from app.stats.paired import PairedSummary

_RATE_PART = 0.1

Form: TypeAlias = Literal["exact", "product", "worst_case"]


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of the first rows of units that both versions answered.

    `both` of them in all; the two answers of `differ` are not the same; `labelled` of these have a label, of which
    `wins` say that the challenger alone was right, and `losses` the baseline alone. On the other labelled ones both
    were wrong. `agreeing_labelled` of the rows on which the two agree have a label.
    """

    both: int = 0
    differ: int = 0
    labelled: int = 0
    wins: int = 0
    losses: int = 0
    agreeing_labelled: int = 0

    @property
    def seeks_disagreements(self) -> bool:
        """Whether disagreements are labelled more than twice as often as agreements."""
        agreements = self.both - self.differ
        return 2 * self.agreeing_labelled * self.differ < self.labelled * agreements

    @property
    def unlabelled(self) -> int:
        """Disagreements without a label."""
        return self.differ - self.labelled

    @property
    def disagreements(self) -> PairedSummary:
        """The labelled disagreements alone."""
        return PairedSummary(self.wins, self.losses, self.labelled - self.wins - self.losses)

    @property
    def known(self) -> PairedSummary:
        """All requests whose difference is known: labelled disagreements, and every agreement as a tie."""
        return self.disagreements.add(ties=self.both - self.differ)


class AllTraffic(NamedTuple):
    """The difference on all requests that both versions answered: estimate, interval, and how they were made.

    The estimate takes the unlabelled disagreements to be as the labelled ones.
    """

    estimate: float | NotEstimable
    interval: Interval | NotEstimable
    form: Form


def difference(coverage: Coverage, alpha: float, *, exogenous: bool) -> AllTraffic:
    """The challenger's accuracy minus the baseline's on all requests.

    `exogenous`: whether a label comes, and when, is declared not to depend on the answers. About 3 ms.
    """
    if not coverage.unlabelled:
        interval = paired_interval.interval(coverage.known, alpha)
        return AllTraffic(_estimate(coverage), interval, "exact")
    if exogenous and coverage.labelled:
        return AllTraffic(_estimate(coverage), _product(coverage, alpha), "product")
    return AllTraffic(_estimate(coverage), worst_case(coverage, alpha), "worst_case")


def worst_case(coverage: Coverage, alpha: float) -> Interval | NotEstimable:
    """The confidence sequence that holds whichever disagreements were labelled; it shrinks with every label."""
    return robust.worst_case_interval(coverage.known, coverage.unlabelled, 0, alpha)


def _estimate(coverage: Coverage) -> float | NotEstimable:
    if not coverage.both or (coverage.differ and not coverage.labelled):
        return NO_LABELS
    lead = coverage.wins - coverage.losses
    return coverage.differ / coverage.both * (lead / coverage.labelled) if coverage.labelled else 0.0


def _product(coverage: Coverage, alpha: float) -> Interval | NotEstimable:
    rate = means.interval(coverage.differ, coverage.both, _RATE_PART * alpha)
    gain = paired_interval.interval(coverage.disagreements, (1 - _RATE_PART) * alpha)
    if isinstance(rate, NotEstimable) or isinstance(gain, NotEstimable):
        return NO_LABELS
    # A bound below 0 lies farthest out where the versions disagree most, one above 0 where they disagree least.
    return gain[0] * rate[gain[0] < 0], gain[1] * rate[gain[1] > 0]
