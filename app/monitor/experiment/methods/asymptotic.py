"""Comparison of numbers without a declared range: valid only for very many outcomes, and flagged so in reports."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from app.monitor.experiment.methods.contract import Observation
from app.monitor.experiment.methods.two_sample import as_outcomes
from app.scoring.contract import Method
from app.stats import asymptotic
from app.stats.asymptotic import AsymptoticState
from app.stats.estimates import Interval, NotEstimable
from app.stats.strongest import Strongest

_NO_POSTERIOR = NotEstimable("not for numbers without a declared range")


class AsymptoticComparison(msgspec.Struct, frozen=True, tag="asymptotic"):
    """Mean and spread of the gains; `paired` where both versions answered each request, else weighted rewards."""

    paired: bool
    state: AsymptoticState = AsymptoticState()

    @property
    def name(self) -> Method:
        """`asymptotic`."""
        return "asymptotic"

    @property
    def n(self) -> int:
        """Labelled requests that both versions answered, or outcomes of either version."""
        return self.state.n

    @property
    def strongest(self) -> Strongest:
        """The strongest evidence."""
        return self.state.strongest

    def advance(self, observations: Sequence[Observation]) -> AsymptoticComparison:
        """The state after more outcomes."""
        if self.paired:
            gains = np.array([each.value for each in observations], float)
            return AsymptoticComparison(True, asymptotic.update_paired(self.state, gains))
        return AsymptoticComparison(False, asymptotic.update_two_sample(self.state, as_outcomes(observations)))

    def log_e(self) -> float | NotEstimable:
        """ln E of this moment."""
        return asymptotic.log_e(self.state)

    def side(self) -> int:
        """The sign of the difference."""
        return (self.state.mean > 0) - (self.state.mean < 0)

    def difference(self) -> float | NotEstimable:
        """The mean gain, or difference of the mean rewards."""
        return asymptotic.difference(self.state)

    def interval(self, alpha: float) -> Interval | NotEstimable:
        """The asymptotic confidence sequence."""
        return asymptotic.interval(self.state, alpha)

    def probability_better(self) -> float | NotEstimable:
        """Not estimable."""
        return _NO_POSTERIOR
