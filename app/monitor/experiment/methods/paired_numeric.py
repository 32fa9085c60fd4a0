"""Losses of both versions on the same request, in a declared range: Brier, log loss, absolute error."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from app.monitor.experiment.methods.contract import Observation
from app.scoring.contract import Method
from app.scoring.declared_range import Range
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
        """The method."""
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
        """The state after more gains, which are in widths of the range."""
        gains = np.array([each.value for each in observations], float)
        return NumericComparison(self.declared, paired_numeric.update(self.state, gains))

    def log_e(self) -> float | NotEstimable:
        """ln E of this moment."""
        return paired_numeric.log_e(self.state)

    def side(self) -> int:
        """Whose bets hold more of the wealth."""
        return betting.side(self.state.wealth)

    def difference(self) -> float | NotEstimable:
        """The mean gain."""
        gain = paired_numeric.difference(self.state)
        return gain if isinstance(gain, NotEstimable) else self.declared.difference(gain)

    def interval(self, alpha: float) -> Interval | NotEstimable:
        """The confidence sequence of the mean gain."""
        found = paired_numeric.interval(self.state, alpha)
        return found if isinstance(found, NotEstimable) else self.declared.interval(found)

    def probability_better(self) -> float | NotEstimable:
        """The posterior chance that the challenger's loss is the smaller one."""
        return paired_numeric.probability_better(self.state)
