"""A comparison in words, for `bakeoff report` and `bakeoff monitor`: who votes, by how much, and what limits it.

Reads the answer of `GET /experiment`, which an API of an older or a newer release may have made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from app.scoring.table import METRICS
from app.tables.counts import as_sentence, counted, noun_for

UNKNOWN = "–"
_ACTIONS = {
    "promote": "Promote",
    "keep": "Keep",
    "rollback": "Roll back",
    "investigate": "Investigate",
}
_LEAST_P = 1e-4


def p_value(p: float | None) -> str:
    """A p-value with its sign, such as `p = 0.012`; below .0001 no digits."""
    return f"p < {_LEAST_P:.4f}" if p is not None and p < _LEAST_P else f"p = {number(p)}"


def number(value: float | None) -> str:
    """Four significant digits."""
    return UNKNOWN if value is None else f"{value:.4g}"


def signed(value: float | None) -> str:
    """A difference with its sign; positive is good for the challenger, whatever the metric."""
    return UNKNOWN if value is None else f"{value:+z.4f}".replace("-", "−")


def votes(comparison: Mapping[str, Any]) -> str:
    """How many outcomes there are, and how many of them vote."""
    n, units, unit = comparison["n"], comparison.get("units"), comparison.get("unit")
    outcomes = counted(n, "outcome")
    if units is None or unit is None:
        return outcomes
    if unit == "request":
        return outcomes if units == n else f"{outcomes}, of which {units:,} vote"
    return f"{outcomes}, of which {units:,} vote (each {'own key' if unit == 'key' else unit} once)"


class ShownAs(NamedTuple):
    """How a metric's differences are shown: times `factor`, followed by a plural `unit`."""

    factor: int = 1
    unit: str = ""

    def change(self, value: float | None, width: float) -> str:
        """A difference with its sign, to two significant digits of its interval's `width`."""
        if value is None:
            return UNKNOWN
        size = self.factor * width
        digits = min(6, max(0, 1 - math.floor(math.log10(size)))) if size > 0 else 4
        return f"{self.factor * value:+z,.{digits}f}".replace("-", "−")


_AS_IT_IS = ShownAs()


def shown_as(metric: str) -> ShownAs:
    """The unit of a metric's differences; those of a metric of a newer API are shown as they are."""
    known = METRICS.get(metric)
    return _AS_IT_IS if known is None else ShownAs(known.scale, known.unit)


def improvement(comparison: Mapping[str, Any], shown: ShownAs = _AS_IT_IS) -> str:
    """The improvement with its interval and p-value; empty while there is no interval."""
    interval = comparison["interval"]
    if interval is None:
        return ""
    width = interval[1] - interval[0]
    middle, low, high = (shown.change(value, width) for value in (comparison["difference"], *interval))
    return f"; improvement {middle}{noun_for(middle, shown.unit)} ({low} … {high}), {p_value(comparison['p_value'])}"


def labels_left(comparison: Mapping[str, Any]) -> str:
    """The 80 % range of the votes until a decision; empty where it is decided or not known."""
    low, high = comparison.get("remaining") or (None, None)
    if low is None or comparison["verdict"] != "undecided":
        return ""
    # Beyond a million the forecast is not made.
    upper = " to more than a million" if high is None else f"–{math.ceil(high):,}"
    unit = comparison.get("unit")
    what = "labels" if unit in (None, "request") else f"labelled {'own key' if unit == 'key' else unit}s"
    return f"; {math.ceil(low):,}{upper} more {what} (80 % range)"


def counts(comparison: Mapping[str, Any], baseline: str | None) -> str:
    """Who was right on the labelled rows, and what is missing; empty where nothing of it is known."""
    challenger = comparison["challenger"]
    right = {
        "both right": comparison.get("both_right"),
        f"only {baseline}": comparison.get("only_baseline"),
        f"only {challenger}": comparison.get("only_challenger"),
        "both wrong": comparison.get("both_wrong"),
    }
    parts = [f"{name} {count:,}" for name, count in right.items() if count is not None]
    if comparison.get("distinct_rows"):
        rows = comparison["distinct_rows"]
        # Beyond 256 their number is an estimate.
        parts.append(f"wins and losses from {'about ' if rows > 256 else ''}{counted(rows)}")
    if comparison.get("missing"):
        parts.append(f"no answer of {challenger} to {counted(comparison['missing'])}")
    if comparison.get("unlabelled_disagreements"):
        parts.append(f"disagreements without a label {comparison['unlabelled_disagreements']:,}")
    return "; ".join(parts)


def passed(check: Mapping[str, Any], report: Mapping[str, Any]) -> bool | None:
    """Whether a check passed, as on the dashboard: None as well where there are no data that could have failed it."""
    names = ("labelled", "rewards") if "label" in check["name"] else ("requests",)
    counted = sum(variant[name] for variant in report["variants"] for name in names)
    return None if check["ok"] and not counted else check["ok"]


def secondary(metric: Mapping[str, Any], known: Collection[str] = ()) -> list[str]:
    """A secondary metric: its means, each challenger's improvement with its interval, and warnings but the `known`."""
    means = []
    for variant in metric["variants"]:
        # Rewards are of the served answers alone.
        of_all = variant["mean_all"] is not None
        mean, ends = (variant["mean_all" if of_all else "mean"], variant["interval_all" if of_all else "interval"])
        means.append(f"{variant['version']} {number(mean)}{_between(ends, number)}")
    state = "" if metric["processed"] >= 1 else f"; {100 * metric['processed']:.0f} % of the log is processed"
    failed = f"; {metric['error']}" if metric["error"] else ""
    better = "higher" if metric["higher_is_better"] else "lower"
    head = f"{metric['described']} ({metric['note']}; {better} is better): {', '.join(means) or UNKNOWN}{state}{failed}"
    warnings = (warning for each in metric["comparisons"] for warning in each.get("warnings", ()))
    notes = (f"  note: {warning}" for warning in dict.fromkeys(warnings) if warning not in known)
    return [head, *(_secondary_comparison(each) for each in metric["comparisons"]), *notes]


def _secondary_comparison(comparison: Mapping[str, Any]) -> str:
    ends = _between(comparison["interval"], signed)
    found = f"improvement {signed(comparison['improvement'])}{ends}"
    return f"  {comparison['challenger']}: {found}, {comparison['method'].replace('_', ' ')}, {votes(comparison)}"


def _between(ends: tuple[float, float] | None, shown: Callable[[float | None], str]) -> str:
    return "" if ends is None else f" ({shown(ends[0])} … {shown(ends[1])})"


def named(report: Mapping[str, Any]) -> str:
    """What the experiment is called and expects, in brackets; empty where nobody said so."""
    parts = (report.get("name"), report.get("hypothesis"))
    said = ": ".join(" ".join(part.split()) for part in parts if part)
    return f" ({said})" if said else ""


def advice(report: Mapping[str, Any]) -> list[str]:
    """What to do with the reason, and what keeps it from being done automatically."""
    advised = report["recommendation"]
    action, version = advised["action"], advised["version"]
    ended = report.get("ended") is not None
    if action == "continue":
        state = "Ended without a verdict" if ended else "Keep running: no decision yet"
        said = f"{state}. {as_sentence(advised['reason'])}"
    else:
        what = _ACTIONS.get(action, str(action).upper())
        said = f"{what} {version}: {advised['reason']}" if version else f"{what}: {advised['reason']}"
        said = f"Advice at the end: {said[:1].lower()}{said[1:]}" if ended else said
    chosen = next((each for each in report["comparisons"] if each["challenger"] == version), None)
    reasons = (chosen or {}).get("assumptions", ())
    return [said, *(f"not promoted automatically: {reason}" for reason in reasons)]
