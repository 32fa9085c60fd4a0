"""Comparison of rewards in a declared range: each outcome counts for the version that was served."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from app.domain.experiment import CovariateColumn
from app.monitor.experiment.methods.contract import Observation
from app.scoring.contract import Method, Range
from app.stats import betting, two_sample
from app.stats.covariates import design
from app.stats.estimates import Interval, NotEstimable
from app.stats.strongest import Strongest
from app.stats.two_sample import Outcomes, TwoSampleState

_NO_POSTERIOR = NotEstimable("the two-sample test has no simple posterior")


class TwoSampleComparison(msgspec.Struct, frozen=True, tag="two_sample"):
    """The wealth of the bets, the range whose width is one unit of them, and the columns that predict rewards."""

    declared: Range
    state: TwoSampleState
    columns: tuple[CovariateColumn, ...] = ()

    @property
    def name(self) -> Method:
        """`two_sample`."""
        return "two_sample"

    @property
    def n(self) -> int:
        """Outcomes of either version."""
        return self.state.n

    @property
    def strongest(self) -> Strongest:
        """The strongest evidence."""
        return self.state.strongest

    def advance(self, observations: Sequence[Observation]) -> TwoSampleComparison:
        """The state after more outcomes, in the order in which they were acknowledged."""
        outcomes = as_outcomes(observations)
        unit = msgspec.structs.replace(
            outcomes,
            # Onto [0, 1], all at once; the test itself counts what lies outside as the nearer end.
            values=(outcomes.values - self.declared.low) / self.declared.width,
            columns=design(self.columns, [each.features for each in observations]) if self.columns else None,
        )
        return msgspec.structs.replace(self, state=two_sample.update(self.state, unit))

    def log_e(self) -> float | NotEstimable:
        """ln E of this moment."""
        return two_sample.log_e(self.state)

    def side(self) -> int:
        """Which version's bets hold more of the wealth: 1 the challenger's, −1 the baseline's, 0 neither."""
        return betting.side(self.state.wealth)

    def difference(self) -> float | NotEstimable:
        """The difference of the mean rewards, weighted by the propensities, in the units of the metric."""
        found = two_sample.difference(self.state)
        return found if isinstance(found, NotEstimable) else self.declared.difference(found)

    def interval(self, alpha: float) -> Interval | NotEstimable:
        """The confidence sequence of the difference, in the units of the metric."""
        found = two_sample.interval(self.state, alpha)
        return found if isinstance(found, NotEstimable) else self.declared.interval(found)

    def probability_better(self) -> float | NotEstimable:
        """Not estimable."""
        return _NO_POSTERIOR


def as_outcomes(observations: Sequence[Observation]) -> Outcomes:
    """The observations as columns, values in the units of the metric."""
    return Outcomes(
        served_challenger=np.array([each.challenger for each in observations], bool),
        values=np.array([each.value for each in observations], float),
        propensities=np.array([each.propensity for each in observations], float),
        informative=np.array([each.informative for each in observations], bool),
    )
