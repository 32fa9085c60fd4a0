"""The declared range of a loss or reward, and the scale on which the tests work."""

from __future__ import annotations

import msgspec


class Range(msgspec.Struct, frozen=True):
    """The values that a metric may take, from `low` to `high`; a value outside counts as the nearer end."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """`high` minus `low`. One unit of the tests is this much of the metric."""
        return self.high - self.low

    def to_unit(self, value: float) -> float:
        """The value moved onto [0, 1]; NaN stays NaN, so that a test can refuse it."""
        return min(max((value - self.low) / self.width, 0.0), 1.0)

    def difference(self, unit_difference: float) -> float:
        """A difference on the unit scale in the units of the metric."""
        return unit_difference * self.width

    def interval(self, unit_interval: tuple[float, float]) -> tuple[float, float]:
        """An interval of differences on the unit scale in the units of the metric."""
        low, high = unit_interval
        return low * self.width, high * self.width
