"""The paired test: both versions answered each request, so one label settles both.

Model: of the labelled requests on which exactly one version was right, the challenger was the right one with
probability θ; the hypothesis is θ = ½, which is equal accuracy. Assumption: whether a label arrives does not depend
on which of the two was served (else see `app.stats.robust`). Promise: P(E ever reaches 1/α) ≤ α under the hypothesis,
whatever the base rate does and however often one looks. Source: the beta mixture of the sign test as a betting
martingale, Waudby-Smith & Ramdas, arXiv 2010.09686; time-uniformity, Howard et al., arXiv 1810.08240.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from scipy.special import betainc, betaln

from app.stats.estimates import NO_LABELS, NotEstimable
from app.stats.strongest import Strongest, remember_path
from app.stats.tails import log_beta_sf

# Both parameters of the beta mixture: it bets most on θ near ½, where versions that are worth comparing lie.
PRIOR = 2.0
_LN2 = math.log(2.0)
_LOG_PRIOR_MASS = float(betaln(PRIOR, PRIOR))


class PairedSummary(msgspec.Struct, frozen=True):
    """All that the paired test needs of the labelled requests.

    `wins`: challenger right and baseline wrong; `losses`: the reverse; `ties`: both right or both wrong.
    """

    wins: int = 0
    losses: int = 0
    ties: int = 0

    @property
    def n(self) -> int:
        """Labelled requests for which both answers are known."""
        return self.wins + self.losses + self.ties

    def add(self, wins: int = 0, losses: int = 0, ties: int = 0) -> PairedSummary:
        """The summary with more labels added."""
        return PairedSummary(self.wins + wins, self.losses + losses, self.ties + ties)

    def swapped(self) -> PairedSummary:
        """The same labels seen with challenger and baseline exchanged."""
        return PairedSummary(self.losses, self.wins, self.ties)


def log_e(summary: PairedSummary) -> float:
    """ln E against equal accuracy, two-sided; E ≥ 1/α declares the side with the larger count the winner."""
    return float(_log_e(summary.wins, summary.losses))


def log_e_one_sided(summary: PairedSummary) -> float:
    """ln E⁺ against "the challenger is no better"; of `summary.swapped()`, against "it is no worse"."""
    wins, losses = summary.wins + PRIOR, summary.losses + PRIOR
    return log_e(summary) + _LN2 + log_beta_sf(0.5, wins, losses)


def difference(summary: PairedSummary) -> float | NotEstimable:
    """Accuracy of the challenger minus that of the baseline on the labelled requests."""
    return (summary.wins - summary.losses) / summary.n if summary.n else NO_LABELS


def probability_better(summary: PairedSummary) -> float | NotEstimable:
    """P(θ > ½ | labels): the posterior chance, uniform prior, that the challenger wins a disagreement.

    Informative only: it keeps no promise when one stops at a chosen moment.
    """
    if not summary.wins + summary.losses:
        return NotEstimable("no labelled request yet on which only one version was right")
    return float(betainc(summary.losses + 1, summary.wins + 1, 0.5))


def follow(summary: PairedSummary, memory: Strongest, outcomes: np.ndarray) -> tuple[PairedSummary, Strongest]:
    """Summary and memory after a batch of labels; the evidence is remembered as of each label.

    `outcomes`, shape (labels,), in order of acknowledgement: 1 the challenger alone was right, −1 the baseline alone,
    0 neither alone. The result does not depend on how the labels are cut into batches.
    """
    wins = summary.wins + np.cumsum(outcomes > 0)
    losses = summary.losses + np.cumsum(outcomes < 0)
    memory = remember_path(memory, log_es(wins, losses), np.sign(wins - losses), summary.n)
    won, lost = int(np.count_nonzero(outcomes > 0)), int(np.count_nonzero(outcomes < 0))
    return summary.add(won, lost, len(outcomes) - won - lost), memory


def _log_e(wins: int | np.ndarray, losses: int | np.ndarray) -> np.ndarray:
    log_odds: np.ndarray = betaln(PRIOR + wins, PRIOR + losses) - _LOG_PRIOR_MASS + (wins + losses) * _LN2
    return log_odds


def log_es(wins: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """ln E of each pair of counts; any shape."""
    return _log_e(wins, losses)
