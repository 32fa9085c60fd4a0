"""Numbers, times and names as people read them; an unknown value is a dash."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import NamedTuple

from app.tables.counts import counted, noun_for

UNKNOWN = "–"
PRINTABLE = 4


def number(value: float | None, digits: int = PRINTABLE) -> str:
    """A number with `digits` significant digits, whole ones with thousands apart."""
    if value is None:
        return UNKNOWN
    if float(value).is_integer() and abs(value) < 1e15:
        return minus(f"{int(value):,}")
    if 10 ** (digits - 1) <= abs(value) < 1e9:
        return minus(f"{value:,.0f}")
    return minus(f"{value:,.{digits}g}")


def minus(text: str) -> str:
    """A number with the minus sign that the charts have, not a hyphen."""
    return text.replace("-", "−", 1) if text.startswith("-") else text


def share(value: float | None, digits: int = 1) -> str:
    """A share of 1 as a percentage."""
    return UNKNOWN if value is None else f"{100 * value:.{digits}f} %"


def part(value: float | None) -> str:
    """A share of 1 as a percentage that reads as all, or as none, only where it is."""
    if value is None or value in (0, 1):
        return share(value, 0)
    return "< 0.1 %" if value < 0.001 else f"{min(100 * value, 99.9):.1f} %"


def chance(value: float | None) -> str:
    """A probability as a percentage that is never rounded to certainty."""
    if value is not None and not 0.001 <= value <= 0.999:
        return "> 99.9 %" if value > 0.5 else "< 0.1 %"
    return share(value)


Pair = tuple[float, float]
# Means that are shares of the rows: shown in per cent, and their differences in points.
_SHARES = ("accuracy", "balanced_accuracy", "recall")


class Scale(NamedTuple):
    """How the figures of a metric are shown: times `factor`, with a unit for means and one for differences."""

    factor: float = 1.0
    unit: str = ""
    points: str = ""

    def mean(self, value: float | None, pair: Pair | None = None) -> str:
        """A mean, to as many digits as its interval `pair` has."""
        return UNKNOWN if value is None else f"{self._digits(value, pair, '')}{self.unit}"

    def means(self, pair: Pair | None) -> str:
        """Both ends of the interval of a mean."""
        return self._both(pair, "", self.unit)

    def change(self, value: float | None, pair: Pair | None = None) -> str:
        """A difference with its sign."""
        if value is None:
            return UNKNOWN
        shown = self._digits(value, pair, "+")
        return f"{shown}{noun_for(shown, self.points)}"

    def changes(self, pair: Pair | None) -> str:
        """Both ends of the interval of a difference."""
        return self._both(pair, "+", self.points)

    def _both(self, pair: Pair | None, sign: str, unit: str) -> str:
        return UNKNOWN if pair is None else " to ".join(self._digits(end, pair, sign) for end in pair) + unit

    def _digits(self, value: float, pair: Pair | None, sign: str) -> str:
        """Two significant digits of the interval's width: further ones say nothing."""
        width = 0.0 if pair is None else self.factor * abs(pair[1] - pair[0])
        if not (width > 0 and math.isfinite(width)):
            shown = f"{self.factor * value:{sign},.1f}" if self.unit else f"{value:{sign}.4g}"
        else:
            shown = f"{self.factor * value:{sign},.{min(6, max(0, 1 - math.floor(math.log10(width))))}f}"
        # Of what rounds to nothing a sign says nothing.
        return minus(shown) if shown.strip("+-0.") else shown.lstrip("+-")


def scale_of(metric: str) -> Scale:
    """How a metric's figures are shown; those of an unknown one as they are."""
    return Scale(100.0, " %", " points") if metric in _SHARES else Scale()


# More digits of odds than this are a power of ten, which takes less room.
_MOST_DIGITS = 4


def odds(log_e: float | None) -> str:
    """Evidence as odds; `log_e` is its natural logarithm."""
    if log_e is None:
        return UNKNOWN
    power = math.floor(log_e / math.log(10))
    return f"10^{power} to 1" if power > _MOST_DIGITS else f"{number(math.exp(log_e), 3)} to 1"


_LEAST_P = 1e-4


def p_value(p: float | None) -> str:
    """A p-value with its sign, such as `p = 0.012`; below .0001 no digits, for nobody needs them."""
    return f"p < {_LEAST_P:.4f}" if p is not None and p < _LEAST_P else f"p = {number(p, 2)}"


_SPANS = ((365 * 86400, "year"), (86400, "day"), (3600, "hour"), (60, "minute"))
_LESS = "less than a minute"


def span(low_s: float, high_s: float | None) -> str:
    """From `low_s` to `high_s` seconds as people say it; `high_s` is None where there is no limit."""
    low = _said(low_s)
    if high_s is None:
        return "a minute or more" if low == _LESS else f"{low} or more"
    high = _said(high_s)
    if low == high:
        return low if low == _LESS else f"about {low}"
    if low == _LESS:
        return f"up to {high}"
    count, unit = low.split(" ")
    return f"{count} to {high}" if high.split(" ")[1].rstrip("s") == unit.rstrip("s") else f"{low} to {high}"


def _said(seconds: float) -> str:
    for size, unit in _SPANS:
        # Fewer than two of a unit are too coarse, except of the smallest.
        if seconds >= (size if size == 60 else 2 * size):
            return counted(round(seconds / size), unit)
    return _LESS


def duration(seconds: float | None) -> str:
    """Seconds in the largest unit that makes sense."""
    if seconds is None:
        return UNKNOWN
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def literal(text: str) -> str:
    """Somebody's own words, so that Markdown shows them as they are."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|<>~$:&])", r"\\\1", " ".join(text.split()))


def clock(unix_s: float) -> str:
    """A moment as a time of day in UTC."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%H:%M:%S UTC")


def unix_of(iso: str) -> float | None:
    """An ISO 8601 moment in Unix seconds; None where it is none."""
    try:
        return datetime.fromisoformat(iso).timestamp()
    except ValueError:
        return None


def moment_of(unix_s: float) -> str:
    """A moment to the minute, in UTC."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M UTC")


def minute(iso: str) -> str:
    """An ISO 8601 moment to the minute, without its time zone: where there is little room."""
    return f"{iso[:10]} {iso[11:16]}"


def moment(iso: str | None) -> str:
    """An ISO 8601 moment without its fractions."""
    return f"{iso[:10]} {iso[11:19]} UTC" if iso and len(iso) >= 19 else UNKNOWN


def seconds_since(iso: str | None, now: float) -> float | None:
    """How many seconds before `now` (Unix) an ISO 8601 moment was; None where it is none."""
    at = None if iso is None else unix_of(iso)
    return None if at is None else now - at


def readable(name: str) -> str:
    """A name from the api, such as `sample_ratio`, as words."""
    return name.replace("_", " ")


_LOSSES = ("cost", "brier", "log_loss", "absolute_error", "squared_error")


def lower_is_better(metric: str) -> bool:
    """Whether a metric is a loss; unknown ones of a newer api are taken for scores."""
    return metric in _LOSSES


def mark(ok: bool | None) -> str:
    """A sign and a word, never colour alone."""
    return {True: "✔ passed", False: "✖ failed", None: "… not known yet"}[ok]
