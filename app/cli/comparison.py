"""A comparison in words, for `bakeoff report` and `bakeoff monitor`: who votes, by how much, and what limits it.

Reads the answer of `GET /experiment`, which an API of an older or a newer release may have made.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

UNKNOWN = "–"
_LEAST_P = 1e-4


def p_value(p: float | None) -> str:
    """A p-value with its sign, such as `p = 0.012`; below .0001 no digits."""
    return f"p < {_LEAST_P:.4f}" if p is not None and p < _LEAST_P else f"p = {number(p)}"


def number(value: float | None) -> str:
    """Four significant digits."""
    return UNKNOWN if value is None else f"{value:.4g}"


def signed(value: float | None) -> str:
    """A difference with its sign; positive is good for the challenger, whatever the metric."""
    return UNKNOWN if value is None else f"{value:+.4f}".replace("-", "−")


def votes(comparison: Mapping[str, Any]) -> str:
    """How many outcomes there are, and how many of them vote."""
    n, units, unit = comparison["n"], comparison.get("units"), comparison.get("unit")
    outcomes = f"{n:,} outcome{'' if n == 1 else 's'}"
    if units is None or unit is None:
        return outcomes
    if unit == "request":
        return outcomes if units == n else f"{outcomes}, of which {units:,} vote"
    return f"{outcomes}, of which {units:,} vote (each {'own key' if unit == 'key' else unit} once)"


def improvement(comparison: Mapping[str, Any]) -> str:
    """The improvement with its interval and p-value; empty while there is no interval."""
    interval = comparison["interval"]
    if interval is None:
        return ""
    ends = f"{signed(interval[0])} … {signed(interval[1])}"
    return f"; improvement {signed(comparison['difference'])} ({ends}), {p_value(comparison['p_value'])}"


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
        parts.append(f"wins and losses from {_rows(comparison['distinct_rows'])}")
    if comparison.get("missing"):
        parts.append(f"no answer of {challenger} to {_rows(comparison['missing'])}")
    if comparison.get("unlabelled_disagreements"):
        parts.append(f"disagreements without a label {comparison['unlabelled_disagreements']:,}")
    return "; ".join(parts)


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


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
