"""Comparison by wins and losses: one label scores the answers of both versions as right or wrong."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from app.monitor.experiment.methods.contract import Observation
from app.scoring.contract import Method
from app.stats import paired, paired_interval
from app.stats.estimates import Interval, NotEstimable
from app.stats.paired import PairedSummary
from app.stats.strongest import Strongest


class PairedComparison(msgspec.Struct, frozen=True, tag="paired"):
    """Counts of wins, losses and ties, and the strongest evidence."""

    summary: PairedSummary = PairedSummary()
    strongest: Strongest = Strongest()

    @property
    def name(self) -> Method:
        """`paired`."""
        return "paired"

    @property
    def n(self) -> int:
        """Labelled requests that both versions answered."""
        return self.summary.n

    def advance(self, observations: Sequence[Observation]) -> PairedComparison:
        """The state after more labels."""
        outcomes = np.array([int(each.value) for each in observations], np.int64)
        return PairedComparison(*paired.follow(self.summary, self.strongest, outcomes))

    def log_e(self) -> float | NotEstimable:
        """ln E of this moment."""
        return paired.log_e(self.summary)

    def side(self) -> int:
        """Which version was alone right more often: 1 the challenger, −1 the baseline, 0 neither."""
        return (self.summary.wins > self.summary.losses) - (self.summary.wins < self.summary.losses)

    def difference(self) -> float | NotEstimable:
        """The difference of the accuracies."""
        return paired.difference(self.summary)

    def interval(self, alpha: float) -> Interval | NotEstimable:
        """The exact confidence sequence."""
        return paired_interval.interval(self.summary, alpha)

    def probability_better(self) -> float | NotEstimable:
        """The posterior chance that the challenger wins a disagreement."""
        return paired.probability_better(self.summary)
