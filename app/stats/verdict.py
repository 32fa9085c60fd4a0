"""The verdict on one challenger, and how it stands now.

What was proven stays in the record; an action needs the present.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec
import numpy as np

from app.domain.experiment import ExperimentTerms
from app.scoring.table import metric_of
from app.stats.assumptions import label_remedy
from app.stats.estimates import NotEstimable, bar
from app.stats.evidence import Evidence, Verdict
from app.stats.strongest import decided

Standing: TypeAlias = Literal["open", "stands", "faded", "reversed", "contrary"]


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """All that advice and sentences about one challenger are made from, so that they cannot contradict each other.

    `verdict`: the most that was ever proven. `standing`: what the present makes of it. `open`: nothing is proven yet;
    `stands`: the present evidence carries it too; `faded`: it is on the same side, but too weak for an action;
    `reversed`: the present contradicts it; `contrary`: it holds for units, each with one vote, and all outcomes
    together are on the other side. `futile`: an improvement of the least interesting size is ruled out,
    and the present estimate is smaller too. `remedy`: what would let a promotion rest on the labels; None where it may.
    """

    evidence: Evidence
    terms: ExperimentTerms
    verdict: Verdict
    standing: Standing
    futile: bool
    remedy: str | None

    @property
    def may_be_promoted(self) -> bool:
        """Whether the challenger is better by the present evidence, and its labels can be trusted."""
        return self.verdict == "better" and self.standing == "stands" and self.remedy is None

    @property
    def is_settled(self) -> bool:
        """Whether the challenger calls for nothing more: worse, equivalent or futile, by the present evidence too."""
        if self.needs_a_person:
            return False
        return self.shows_futile or (self.standing == "stands" and self.verdict in ("worse", "equivalent"))

    @property
    def needs_a_person(self) -> bool:
        """Whether what is proven is not what is seen."""
        return self.standing in ("reversed", "contrary")

    @property
    def shows_futile(self) -> bool:
        """Whether futility is what is to be said: no winner is proven, or the proof is too weak now."""
        return self.futile and (self.verdict == "undecided" or self.standing == "faded")


def finding_of(evidence: Evidence, terms: ExperimentTerms) -> Assessment:
    """The finding about one challenger at this moment."""
    found = verdict(evidence, terms)
    return Assessment(
        evidence=evidence,
        terms=terms,
        verdict=found,
        standing=_standing(evidence, terms, found),
        futile=evidence.conclusions.futile_at is not None and not _reaches_least_effect(evidence, terms),
        remedy=label_remedy(evidence, terms),
    )


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
    return applies and decided(evidence.agreement, terms.alpha / evidence.challengers)


def _standing(evidence: Evidence, terms: ExperimentTerms, found: Verdict) -> Standing:
    if found == "equivalent":
        return "reversed" if _exceeds_margin(evidence, terms) else "stands"
    if found == "undecided":
        return _standing_of_futility(evidence, terms)
    side = 1 if found == "better" else -1
    if -side in _sides_of_the_present(evidence, terms):
        return "reversed"
    if _all_outcomes_contradict(evidence, side):
        return "contrary"
    carried = evidence.present.side == side and evidence.present.log_e >= bar(terms.alpha)
    return "stands" if carried else "faded"


def _standing_of_futility(evidence: Evidence, terms: ExperimentTerms) -> Standing:
    if evidence.conclusions.futile_at is None:
        return "open"
    return "reversed" if _reaches_least_effect(evidence, terms) else "stands"


def _all_outcomes_contradict(evidence: Evidence, side: int) -> bool:
    """Whether the outcomes, each as often as it came and with the value that it has, favour the other version."""
    of_all, votes = evidence.improvement_of_all, evidence.votes
    # Where each outcome is a vote, within the range, the two say the same.
    return of_all is not None and of_all * side < 0 and (votes.outcomes > evidence.n or votes.outside > 0)


def _exceeds_margin(evidence: Evidence, terms: ExperimentTerms) -> bool:
    """Whether the present estimate is a difference of at least the margin."""
    difference, margin = evidence.difference, terms.equivalence_margin
    return margin is not None and not isinstance(difference, NotEstimable) and abs(difference) >= margin


def _reaches_least_effect(evidence: Evidence, terms: ExperimentTerms) -> bool:
    """Whether the present estimate is an improvement that is worth having."""
    difference, least = evidence.difference, terms.min_effect
    return least is not None and not isinstance(difference, NotEstimable) and difference >= least


def _sides_of_the_present(evidence: Evidence, terms: ExperimentTerms) -> set[int]:
    """The sides that the estimate, the interval and the evidence of this moment are on; 0 where one is on none."""
    difference, interval, present = evidence.difference, evidence.interval, evidence.present
    low, high = (0.0, 0.0) if isinstance(interval, NotEstimable) else interval
    return {
        0 if isinstance(difference, NotEstimable) else int(np.sign(difference)),
        int(low >= 0 < high) - int(low < 0 >= high),
        present.side if present.log_e >= bar(terms.alpha) else 0,
    }
