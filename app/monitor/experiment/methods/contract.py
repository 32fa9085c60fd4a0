"""What every method of comparison offers, and what it is fed with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self

import msgspec

from app.scoring.contract import Method
from app.stats.estimates import Interval, NotEstimable
from app.stats.strongest import Strongest


class Observation(msgspec.Struct, frozen=True):
    """One outcome that enters a comparison.

    `place` numbers the events of a fold. `value`: for a paired method what the challenger gained over the baseline
    (for accuracy 1, −1 or 0), for a two-sample method the outcome itself, of the arm `challenger`, which chance served
    with `propensity`. `informative`: the two versions did not give the same answer.
    """

    place: int
    at_us: int
    value: float
    challenger: bool = True
    propensity: float = 0.5
    informative: bool = True


class Comparison(Protocol):
    """The state of one comparison and what it says; frozen. Positive differences favour the challenger."""

    @property
    def name(self) -> Method: ...

    @property
    def n(self) -> int:
        """Outcomes taken in: each observation adds one."""

    @property
    def strongest(self) -> Strongest:
        """The strongest evidence of this comparison by itself."""

    def advance(self, observations: Sequence[Observation]) -> Self:
        """The state after more outcomes, in order; the same to the last bit in any portions."""

    def log_e(self) -> float | NotEstimable: ...

    def side(self) -> int:
        """Whom the evidence of this moment favours: 1 the challenger, −1 the baseline, 0 neither."""

    def difference(self) -> float | NotEstimable:
        """In the units of the metric."""

    def interval(self, alpha: float) -> Interval | NotEstimable:
        """In the units of the metric."""

    def probability_better(self) -> float | NotEstimable: ...
