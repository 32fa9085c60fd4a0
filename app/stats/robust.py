"""When a label's arrival depends on the answer that was served: a test that stays right, and worst-case bounds.

Model: users answer with one probability when the served answer was right and with another when it was wrong, both
unknown. Among labelled requests on which exactly one version was right, whether the served answer was right is
conditioned on, and then who was served is compared with the logged share. θ = P(the challenger is the right one) is
mixed over a Beta(2, 2) of 128 nodes. Promise: P(E ever reaches 1/α) ≤ α when θ = ½. Where everything was served by
one version nothing can be learned this way, and E stays 1. Source: conditional likelihood ratios as e-values,
Ramdas et al., arXiv 2210.01948; bounds: Manski (1990), Nonparametric bounds on treatment effects.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np
from scipy.special import logsumexp

from app.stats import paired_interval
from app.stats.estimates import NO_LABELS, Interval, NotEstimable
from app.stats.paired import PairedSummary


class ServedCounts(msgspec.Struct, frozen=True):
    """Labelled requests with exactly one version right, served while the challenger's share was `share`."""

    share: float
    challenger_right: int = 0
    challenger_wrong: int = 0
    baseline_right: int = 0
    baseline_wrong: int = 0


def _nodes() -> tuple[np.ndarray, np.ndarray]:
    # The nodes are fixed, so the mixture is a finite sum of likelihood ratios, and an e-process whatever its accuracy.
    points, weights = np.polynomial.legendre.leggauss(128)
    thetas = (points + 1) / 2
    return thetas, np.log(weights / 2 * 6 * thetas * (1 - thetas))


_THETAS, _LOG_WEIGHTS = _nodes()


def log_e(epochs: Iterable[ServedCounts]) -> float:
    """ln E against equal accuracy (θ = ½) from the counts of each epoch of constant share."""
    return float(logsumexp(_log_wealth(epochs)))


def side(epochs: Iterable[ServedCounts]) -> int:
    """Which version the evidence favours: 1 the challenger, −1 the baseline, 0 neither."""
    wealth = _log_wealth(epochs)
    return int(np.sign(logsumexp(wealth[_THETAS > 0.5]) - logsumexp(wealth[_THETAS < 0.5])))


def _log_wealth(epochs: Iterable[ServedCounts]) -> np.ndarray:
    total: np.ndarray = _LOG_WEIGHTS + sum((_log_ratio(counts) for counts in epochs), np.zeros_like(_THETAS))
    return total


def _log_ratio(counts: ServedCounts) -> np.ndarray:
    # Served by one version only: who was served says nothing.
    if not 0 < counts.share < 1:
        return np.zeros_like(_THETAS)
    log_t, log_rest = np.log(_THETAS), np.log1p(-_THETAS)
    right = np.log(counts.share * _THETAS + (1 - counts.share) * (1 - _THETAS))
    wrong = np.log((1 - counts.share) * _THETAS + counts.share * (1 - _THETAS))
    ratio: np.ndarray = (
        (counts.challenger_right + counts.baseline_wrong) * log_t
        + (counts.baseline_right + counts.challenger_wrong) * log_rest
        - (counts.challenger_right + counts.baseline_right) * right
        - (counts.challenger_wrong + counts.baseline_wrong) * wrong
    )
    return ratio


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
    """The confidence sequence that holds whoever was labelled: P(it ever misses) ≤ α with no assumption on labels."""
    seen = summary.add(ties=unlabelled_agreements)
    low = paired_interval.interval(seen.add(losses=unlabelled_disagreements), alpha)
    high = paired_interval.interval(seen.add(wins=unlabelled_disagreements), alpha)
    if isinstance(low, NotEstimable) or isinstance(high, NotEstimable):
        return NO_LABELS
    return low[0], high[1]
