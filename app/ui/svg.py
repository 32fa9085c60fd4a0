"""Small drawings as SVG, for tables and for the report that is sent: an interval, a confidence sequence, splits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

from app.ui.events import Event
from app.ui.experiment_records import ApiComparison, ApiPoint, ApiSplit
from app.ui.wording import Scale, minus, moment, moment_of, share, unix_of

NEUTRAL = "#7d8590"
DOT = "#2b87d1"
ROW_WIDTH, ROW_HEIGHT = 240, 32
_EDGE = 6
_WIDTH, _HEIGHT = 720, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 84, 14, 34
# Each version has a colour and a dash: one of them is enough to tell it.
_LOOKS = (
    ("#2b87d1", "none"),
    ("#c4571b", "7 4"),
    ("#3a8f4a", "2 3"),
    ("#8657c4", "9 3 2 3"),
    ("#a8527b", "4 2"),
    ("#7a6a1f", "12 4"),
)


class Axis(NamedTuple):
    """The values from `low` to `high` over the pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """In pixels, kept inside the axis."""
        inside = min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))
        return self.start + (self.end - self.start) * inside


def axis_of(comparisons: Sequence[ApiComparison]) -> Axis | None:
    """The axis of a table: from the lowest to the highest end, with 0; None without any interval."""
    ends = [end for each in comparisons for end in each.interval or ()]
    if not ends:
        return None
    low, high = min(0.0, *ends), max(0.0, *ends)
    low, high = (low, high) if high > low else (-1.0, 1.0)
    return Axis(low, high, _EDGE, ROW_WIDTH - _EDGE)


def interval(each: ApiComparison, axis: Axis) -> str:
    """The interval of a comparison, with a dashed line at no difference; the line alone where there is none."""
    zero, centre = axis.place(0.0), ROW_HEIGHT / 2
    drawn = (
        f'<line x1="{zero:.1f}" x2="{zero:.1f}" y1="0" y2="{ROW_HEIGHT}" stroke="{NEUTRAL}" stroke-dasharray="4 3"/>'
    )
    if each.interval is not None and each.difference is not None:
        drawn += _whisker(axis, each.interval, each.difference, centre)
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{ROW_WIDTH}" height="{ROW_HEIGHT}">{drawn}</svg>'


def _whisker(axis: Axis, pair: tuple[float, float], value: float, centre: float) -> str:
    low, high, middle = (axis.place(each) for each in (*pair, value))
    return (
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{centre}" y2="{centre}" stroke="{NEUTRAL}" stroke-width="3"/>'
        f'<circle cx="{middle:.1f}" cy="{centre}" r="5.5" fill="{DOT}"/>'
    )


def improvement(points: Sequence[ApiPoint], scale: Scale, description: str) -> str:
    """The improvement over the votes, with its confidence sequence as a band. `description` is for screen readers."""
    known = [point for point in points if point.interval is not None and point.difference is not None]
    if not known:
        return ""
    low, high = _worth_seeing(known)
    across = Axis(0.0, float(max(known[-1].n, 1)), _LEFT, _WIDTH - _RIGHT)
    up = Axis(low, high, _HEIGHT - _BOTTOM, _TOP)
    ends = [(across.place(point.n), *(up.place(end) for end in point.interval or ())) for point in known]
    band = [(x, top) for x, _, top in ends] + [(x, bottom) for x, bottom, _ in reversed(ends)]
    line = [(across.place(point.n), up.place(point.difference or 0.0)) for point in known]
    drawn = [
        *_grid(up, [(value, minus(f"{scale.factor * value:g}")) for value in _ticks(low, high)]),
        *_below(across, [(value, f"{value:,.0f}") for value in _ticks(0.0, across.high)]),
        f'<polygon points="{_pairs(band)}" fill="{DOT}" opacity="0.22"/>',
        _across(up.place(0), 'stroke-width="1.5" stroke-dasharray="6 4"'),
        f'<polyline points="{_pairs(line)}" fill="none" stroke="{DOT}" stroke-width="2.5"/>',
        _text(_WIDTH - _RIGHT + 6, up.place(0) + 4, "no difference"),
        _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 2, "votes", "middle"),
    ]
    return _svg(_HEIGHT, description, drawn)


def splits(known: Sequence[ApiSplit], events: Sequence[Event], end_s: float, description: str) -> str:
    """The shares over time as steps, with a mark for each event above. `end_s` (Unix) is now, or when it ended."""
    timed = [(at, split.weights) for split in known if (at := unix_of(split.at)) is not None]
    if not timed:
        return ""
    start = timed[0][0]
    across = Axis(start, max(end_s, start + 1.0), _LEFT, _WIDTH - _RIGHT)
    up = Axis(0.0, 1.0, _HEIGHT - _BOTTOM, _TOP + 22)
    versions = list(dict.fromkeys(version for _, weights in timed for version in weights))
    drawn = [*_grid(up, [(value / 4, share(value / 4, 0)) for value in range(5)]), *_times(across)]
    taken: list[float] = []
    for place, version in enumerate(versions):
        colour, dash = _LOOKS[place % len(_LOOKS)]
        steps = _steps([(at, weights.get(version, 0.0)) for at, weights in timed], across, up)
        drawn.append(
            f'<polyline points="{_pairs(steps)}" fill="none" stroke="{colour}" stroke-width="2.5" '
            f'stroke-dasharray="{dash}"/>'
        )
        drawn.append(_text(_WIDTH - _RIGHT + 6, _free(steps[-1][1] + 4, taken), version, fill=colour))
    for event in events:
        at = unix_of(event.at)
        if at is not None and start <= at <= across.high:
            drawn.append(_mark(across.place(at), event))
    return _svg(_HEIGHT, description, drawn)


def _worth_seeing(points: Sequence[ApiPoint]) -> tuple[float, float]:
    """The range of the interval after the first fifth of the votes: before that it fills any chart."""
    later = [point for point in points if point.n >= points[-1].n / 5]
    ends = [end for point in later for end in (*(point.interval or ()), point.difference or 0.0)]
    low, high = min(0.0, *ends), max(0.0, *ends)
    margin = 0.08 * (high - low) or 1.0
    return low - margin, high + margin


def _ticks(low: float, high: float) -> list[float]:
    """Some five round values in the range."""
    raw = (high - low) / 5
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= raw)
    return [round(place * step, 12) for place in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _grid(up: Axis, ticks: Iterable[tuple[float, str]]) -> list[str]:
    drawn = []
    for value, name in ticks:
        y = up.place(value)
        drawn.append(_across(y, 'stroke-opacity="0.25"'))
        drawn.append(_text(_LEFT - 6, y + 4, name, "end"))
    return drawn


def _across(y: float, looks: str) -> str:
    return f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{NEUTRAL}" {looks}/>'


def _below(across: Axis, ticks: Iterable[tuple[float, str]]) -> list[str]:
    return [_text(across.place(value), _HEIGHT - _BOTTOM + 16, name, "middle") for value, name in ticks]


def _times(across: Axis) -> list[str]:
    """The first and the last moment, and the middle one."""
    found = []
    for part, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        at = across.low + part * (across.high - across.low)
        found.append(_text(across.place(at), _HEIGHT - _BOTTOM + 16, moment_of(at), anchor))
    return found


def _steps(values: Sequence[tuple[float, float]], across: Axis, up: Axis) -> list[tuple[float, float]]:
    found = []
    for place, (at, value) in enumerate(values):
        until = values[place + 1][0] if place + 1 < len(values) else across.high
        found += [(across.place(at), up.place(value)), (across.place(until), up.place(value))]
    return found


def _free(wanted: float, taken: list[float]) -> float:
    """A height for a name beside a line, moved below the names that are there."""
    while any(abs(wanted - other) < 13 for other in taken):
        wanted += 13
    taken.append(wanted)
    return wanted


def _mark(x: float, event: Event) -> str:
    """A sign for the kind of event on a line down the chart."""
    return (
        f"<g><title>{escape(f'{moment(event.at)}: {event.text}')}</title>"
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP + 10}" y2="{_HEIGHT - _BOTTOM}" stroke="{NEUTRAL}" '
        'stroke-width="1" stroke-dasharray="2 3"/>'
        f"{_text(x, _TOP + 6, event.sign, 'middle')}</g>"
    )


def _text(x: float, y: float, text: str, anchor: str = "start", fill: str = "currentColor") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}" font-size="12">{escape(text)}</text>'


def _pairs(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _svg(height: int, description: str, drawn: Iterable[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(description)}" '
        f'font-family="system-ui, sans-serif">{"".join(drawn)}</svg>'
    )
