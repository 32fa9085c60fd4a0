"""Comparison of the two versions' values on the same request, in a declared range."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from app.monitor.experiment.methods.contract import Observation
from app.scoring.contract import Method, Range
from app.stats import betting, paired_numeric
from app.stats.estimates import Interval, NotEstimable
from app.stats.paired_numeric import PairedNumericState
from app.stats.strongest import Strongest


class NumericComparison(msgspec.Struct, frozen=True, tag="paired_numeric"):
    """The wealth of the bets, and the range whose width is one unit of them."""

    declared: Range
    state: PairedNumericState

    @property
    def name(self) -> Method:
        """`paired_numeric`."""
        return "paired_numeric"

    @property
    def n(self) -> int:
        """Labelled requests that both versions answered."""
        return self.state.n

    @property
    def strongest(self) -> Strongest:
        """The strongest evidence."""
        return self.state.strongest

    def advance(self, observations: Sequence[Observation]) -> NumericComparison:
        """The state after more gains, in widths of the range."""
        gains = np.array([each.value for each in observations], float)
        return NumericComparison(self.declared, paired_numeric.update(self.state, gains))

    def log_e(self) -> float | NotEstimable:
        """ln E of this moment."""
        return paired_numeric.log_e(self.state)

    def side(self) -> int:
        """Which version's bets hold more of the wealth: 1 the challenger's, −1 the baseline's, 0 neither."""
        return betting.side(self.state.wealth)

    def difference(self) -> float | NotEstimable:
        """The mean gain, in the units of the metric."""
        gain = paired_numeric.difference(self.state)
        return gain if isinstance(gain, NotEstimable) else self.declared.difference(gain)

    def interval(self, alpha: float) -> Interval | NotEstimable:
        """The confidence sequence of the mean gain, in the units of the metric."""
        found = paired_numeric.interval(self.state, alpha)
        return found if isinstance(found, NotEstimable) else self.declared.interval(found)

    def probability_better(self) -> float | NotEstimable:
        """The posterior probability that the challenger's value is the better one, where they differ."""
        return paired_numeric.probability_better(self.state)
