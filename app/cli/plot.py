"""Intervals drawn with characters, all on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from app.cli.comparison import ShownAs

_PLOT_MARGIN = 0.05
_NARROWEST_PLOT = 20


class PlotMarks(NamedTuple):
    """The characters of a drawn interval."""

    line: str
    left: str
    right: str
    point: str
    zero: str


class Scale(NamedTuple):
    """The axis of a plot: values from `low` to `high`, zero among them, over `width` characters."""

    low: float
    high: float
    width: int

    def column(self, value: float) -> int:
        """The position of a value, from 0; the first or last one for a value off the scale."""
        place = (value - self.low) / (self.high - self.low) * (self.width - 1)
        return min(max(round(place), 0), self.width - 1)


def marks_for(*, plain: bool) -> PlotMarks:
    """The characters to draw with, ASCII if `plain`."""
    return PlotMarks("-", "[", "]", "o", "|") if plain else PlotMarks("─", "├", "┤", "●", "│")


def scale_of(intervals: Sequence[Sequence[float]], width: int) -> Scale | None:
    """The scale that shows all intervals and zero; None if there is no interval, or `width` is too small to draw."""
    ends = [end for interval in intervals for end in interval]
    if not ends or width < _NARROWEST_PLOT:
        return None
    low, high = min(0.0, *ends), max(0.0, *ends)
    margin = _PLOT_MARGIN * (high - low) or 1e-6
    return Scale(low - margin, high + margin, width)


def plotted(interval: Sequence[float], point: float | None, scale: Scale, marks: PlotMarks) -> str:
    """One line that shows the interval, the point estimate in it, and zero."""
    left, right = scale.column(interval[0]), scale.column(interval[1])
    cells = [" "] * scale.width
    cells[left : right + 1] = [marks.line] * (right + 1 - left)
    # In this order, because marks may share a column: the ends say more than zero, and the point most of all.
    cells[scale.column(0.0)] = marks.zero
    cells[left], cells[right] = marks.left, marks.right
    if point is not None:
        cells[scale.column(point)] = marks.point
    return "".join(cells).rstrip()


def axis(scale: Scale, shown: ShownAs) -> str:
    """The ends of the scale, and a 0 below the zero mark if there is room for it between them."""
    low, high = (shown.change(end, scale.high - scale.low) for end in (scale.low, scale.high))
    line = [*low.ljust(scale.width)[: scale.width]]
    line[max(0, scale.width - len(high)) :] = [*high]
    zero = scale.column(0.0)
    if len(low) < zero < scale.width - len(high) - 1:
        line[zero] = "0"
    return "".join(line)
