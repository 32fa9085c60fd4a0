"""Intervals drawn with characters on one common scale, zero marked: right of it is better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_MARGIN = 0.05
_NARROWEST = 20


class PlotMarks(NamedTuple):
    """The characters of a drawing."""

    line: str
    left: str
    right: str
    point: str
    zero: str
    empty: str


class Scale(NamedTuple):
    """From `low` to `high` over `width` columns; zero is within."""

    low: float
    high: float
    width: int

    def column(self, value: float) -> int:
        """The column of a value, the nearest end's where it is outside."""
        place = (value - self.low) / (self.high - self.low) * (self.width - 1)
        return min(max(round(place), 0), self.width - 1)


def marks_for(*, plain: bool) -> PlotMarks:
    """The characters: ASCII where `plain`."""
    return PlotMarks("-", "[", "]", "o", "|", " ") if plain else PlotMarks("─", "├", "┤", "●", "│", " ")


def scale_of(intervals: Sequence[Sequence[float]], width: int) -> Scale | None:
    """A scale on which all intervals and zero fit; None where there is nothing to draw, or no room."""
    ends = [end for interval in intervals for end in interval]
    if not ends or width < _NARROWEST:
        return None
    low, high = min(0.0, *ends), max(0.0, *ends)
    margin = _MARGIN * (high - low) or 1e-6
    return Scale(low - margin, high + margin, width)


def plotted(interval: Sequence[float], point: float | None, scale: Scale, marks: PlotMarks) -> str:
    """One line: the interval, the point in it, and zero."""
    left, right = scale.column(interval[0]), scale.column(interval[1])
    cells = [marks.empty] * scale.width
    cells[left : right + 1] = [marks.line] * (right + 1 - left)
    cells[scale.column(0.0)] = marks.zero
    cells[left], cells[right] = marks.left, marks.right
    if point is not None:
        cells[scale.column(point)] = marks.point
    return "".join(cells).rstrip()
