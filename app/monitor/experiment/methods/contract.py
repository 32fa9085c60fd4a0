"""The contract of the methods of comparison, and the observations that they take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, Self

import msgspec

from app.scoring.contract import Method
from app.stats.all_traffic import Coverage
from app.stats.estimates import Interval, NotEstimable
from app.stats.strongest import Strongest


class Observation(msgspec.Struct, frozen=True):
    """One outcome that enters a comparison.

    `place`: the position of its event in the batch. `at_us`: µs since 1970. `value`: for a paired method the
    challenger's gain over the baseline (`Metric.gain`; for accuracy 1, −1 or 0); for a two-sample method the outcome
    itself. `challenger`: whether it was the challenger's answer, which chance served with `propensity`. `informative`:
    the two versions gave different answers. `features`: the row as it is logged, a JSON array; empty where the
    comparison does not predict rewards from features, or the row is not known. `coverage` gives the first rows of units
    so far, where the two versions' answers are compared; few are asked for.
    """

    place: int
    at_us: int
    value: float
    challenger: bool = True
    propensity: float = 0.5
    informative: bool = True
    features: str = ""
    coverage: Callable[[], Coverage] | None = None


class Comparison(Protocol):
    """The state of one comparison, and the statistics of it. Frozen. Positive differences favour the challenger.

    The states are persisted, each with its tag, so a field may be added with a default and never renamed.
    """

    @property
    def name(self) -> Method:
        """The method's name, as reports show it."""

    @property
    def n(self) -> int:
        """The number of outcomes so far."""

    @property
    def strongest(self) -> Strongest:
        """The strongest evidence of this comparison alone, not adjusted for other challengers."""

    def advance(self, observations: Sequence[Observation]) -> Self:
        """The state after more outcomes, in order; the same to the last bit in batches of any size."""

    def log_e(self) -> float | NotEstimable:
        """ln E of this moment against "no difference"."""

    def side(self) -> int:
        """Which version the evidence of this moment favours: 1 the challenger, −1 the baseline, 0 neither."""

    def difference(self) -> float | NotEstimable:
        """The improvement by the challenger, in the units of the metric."""

    def interval(self, alpha: float) -> Interval | NotEstimable:
        """The confidence sequence of the improvement at error rate `alpha`, in the units of the metric."""

    def probability_better(self) -> float | NotEstimable:
        """A posterior probability that the challenger is better. For display: it has no error rate."""
