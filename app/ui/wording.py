"""Numbers, times and names as people read them; an unknown value is a dash."""

from __future__ import annotations

from datetime import UTC, datetime

UNKNOWN = "–"
PRINTABLE = 4


def number(value: float | None, digits: int = PRINTABLE) -> str:
    """A number with `digits` significant digits, whole ones with thousands apart."""
    if value is None:
        return UNKNOWN
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    if 10**digits <= abs(value) < 1e9:
        return f"{value:,.0f}"
    return f"{value:,.{digits}g}"


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


def signed(value: float | None) -> str:
    """A difference with its sign."""
    return UNKNOWN if value is None else f"{value:+.4f}"


def interval(pair: tuple[float, float] | None) -> str:
    """Both ends."""
    return UNKNOWN if pair is None else f"{pair[0]:+.4f} to {pair[1]:+.4f}"


_LEAST_P = 1e-4


def p_value(p: float | None) -> str:
    """A p-value with its sign, such as `p = 0.012`; below .0001 no digits, for nobody needs them."""
    return f"p < {_LEAST_P:.4f}" if p is not None and p < _LEAST_P else f"p = {number(p, 2)}"


def duration(seconds: float | None) -> str:
    """Seconds in the largest unit that makes sense."""
    if seconds is None:
        return UNKNOWN
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def clock(unix_s: float) -> str:
    """A moment as a time of day in UTC."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%H:%M:%S UTC")


def moment(iso: str | None) -> str:
    """An ISO 8601 moment without its fractions."""
    return f"{iso[:10]} {iso[11:19]} UTC" if iso and len(iso) >= 19 else UNKNOWN


def seconds_since(iso: str | None, now: float) -> float | None:
    """How many seconds before `now` (Unix) an ISO 8601 moment was; None where it is none."""
    try:
        return None if iso is None else now - datetime.fromisoformat(iso).timestamp()
    except ValueError:
        return None


def as_sentence(text: str) -> str:
    """The text with a full stop and, unless it begins with a version's name or the like, a capital."""
    text = text.strip()
    first = text.split(" ", 1)[0]
    text = text[:1].upper() + text[1:] if first.isalpha() else text
    return text if text.endswith((".", "!", "?", ")")) else f"{text}."


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
