"""The report as lines of text: the versions, each comparison with its interval on one scale, checks, what to do."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from app.cli.interval_plot import PlotMarks, Scale, marks_for, plotted, scale_of
from app.scoring.table import METRICS

_UNKNOWN = "–"
_PLAIN = str.maketrans({"–": "-", "−": "-", "…": "...", "≤": "<=", "≥": ">=", "±": "+-", "α": "alpha"})
_OK = {True: "ok", False: "FAILED", None: "not known yet"}
_HEADINGS = ("VERSION", "WEIGHT", "REQUESTS", "LABELLED", "MEAN", "INTERVAL", "ERRORS", "P99 MS")
# On a narrow terminal the last ones go first.
_LEAST_COLUMNS = 5


def lines_of(
    report: Mapping[str, Any], width: int, config: Mapping[str, Any] | None = None, *, plain: bool = False
) -> list[str]:
    """The report of `GET /experiment`, with a line about a ramp where `GET /config` has one, in at most `width`
    columns; `plain`: in ASCII characters."""
    marks = marks_for(plain=plain)
    sections = [
        _head(report, width),
        _versions(report, width) + textwrap.wrap(_ramp(config or {}), width, subsequent_indent="  "),
        _comparisons(report, width, marks),
        _checks(report, width),
        _advice(report, width),
    ]
    lines = [line for section in sections if section for line in ("", *section)][1:]
    return [line.translate(_PLAIN) if plain else line for line in lines]


def _head(report: Mapping[str, Any], width: int) -> list[str]:
    since = f"since {_second(report['started'])}" + (f" to {_second(report['ended'])}" if report["ended"] else "")
    computed = f"; computed {_second(report['computed_at'])}" if report.get("computed_at") else ""
    text = (
        f"Experiment {report['id']}, {report['state']} {since}: {report['metric']} against {report['baseline']}, "
        f"alpha {report['alpha']:g}{computed}"
    )
    return textwrap.wrap(text, width)


def _versions(report: Mapping[str, Any], width: int) -> list[str]:
    rows = [_HEADINGS, *(_version(variant, report["metric"]) for variant in report["variants"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    columns = len(_HEADINGS)
    while columns > _LEAST_COLUMNS and sum(widths[:columns]) + 2 * (columns - 1) > width:
        columns -= 1
    return ["  ".join(_cell(row, widths, column) for column in range(columns)).rstrip()[:width] for row in rows]


def _ramp(config: Mapping[str, Any]) -> str:
    """Where a ramp is, or that it was a ramp's end that made the split what it is; else nothing."""
    ramp = config.get("ramp")
    if ramp is None:
        ended = config.get("source") == "ramp"
        return f"A ramp has ended {_second(config['changed'])}; this is the split that it left." if ended else ""
    text = f"Ramp of {ramp['version']}: step {ramp['step']} of {len(ramp['steps'])}"
    if ramp["held"]:
        return f"{text}; it waits: {ramp['held']}"
    following = ramp["steps"][ramp["step"] :]
    what = f"{100 * following[0]:.4g} % follows" if following else "the last one; it ends"
    return f"{text}; {what} {_second(ramp['next_step_at'])} at the earliest"


def _cell(row: Sequence[str], widths: Sequence[int], column: int) -> str:
    return f"{row[column]:<{widths[column]}}" if column == 0 else f"{row[column]:>{widths[column]}}"


def _version(variant: Mapping[str, Any], metric: str) -> tuple[str, ...]:
    # The API may be of a newer release, with metrics that this one does not know.
    rewarded = metric in METRICS and METRICS[metric].uses_rewards
    outcomes = variant["rewards"] if rewarded else variant["labelled"]
    interval = variant["interval"]
    return (
        variant["version"],
        f"{100 * variant['weight']:.4g} %",
        f"{variant['requests']:,}",
        f"{outcomes:,}",
        _number(variant["mean"]),
        _UNKNOWN if interval is None else f"{_number(interval[0])} … {_number(interval[1])}",
        f"{variant['errors']:,}",
        _number(variant["latency_ms"]["p99"]),
    )


def _comparisons(report: Mapping[str, Any], width: int, marks: PlotMarks) -> list[str]:
    comparisons = report["comparisons"]
    scale = scale_of([c["interval"] for c in comparisons if c["interval"]], width)
    lines: list[str] = []
    for comparison in comparisons:
        lines += ["", *_comparison(comparison, report, width)] if lines else _comparison(comparison, report, width)
        if scale is not None and comparison["interval"]:
            lines.append(plotted(comparison["interval"], comparison["difference"], scale, marks))
    if scale is not None:
        lines.append(_axis(scale))
    return lines


def _comparison(comparison: Mapping[str, Any], report: Mapping[str, Any], width: int) -> list[str]:
    interval = comparison["interval"]
    text = (
        f"{comparison['challenger']} against {report['baseline']}: {comparison['verdict'].upper()}, "
        f"{comparison['method'].replace('_', ' ')}, {comparison['n']:,} outcomes"
    )
    if interval is not None:
        ends = f"{_signed(interval[0])} … {_signed(interval[1])}"
        text += f"; improvement {_signed(comparison['difference'])} ({ends}), p = {_number(comparison['p_value'])}"
    if comparison["unjoined"]:
        text += f"; {comparison['unjoined']:,} labels without both answers"
    return textwrap.wrap(text, width, subsequent_indent="  ")


def _axis(scale: Scale) -> str:
    """The ends of the scale, and zero below its mark."""
    low, high = _signed(scale.low), _signed(scale.high)
    line = [*low.ljust(scale.width)[: scale.width]]
    line[max(0, scale.width - len(high)) :] = [*high]
    zero = scale.column(0.0)
    if len(low) < zero < scale.width - len(high) - 1:
        line[zero] = "0"
    return "".join(line)


def _checks(report: Mapping[str, Any], width: int) -> list[str]:
    lines = []
    for kind in ("checks", "guardrails"):
        for check in report[kind]:
            of = f" of {check['version']}" if check.get("version") else ""
            detail = f" ({check['detail']})" if check.get("detail") else ""
            text = f"{check['name'].replace('_', ' ')}{of}: {_OK[check['ok']]}{detail}"
            lines += textwrap.wrap(text, width, subsequent_indent="  ")
    return lines


def _advice(report: Mapping[str, Any], width: int) -> list[str]:
    advice = report["recommendation"]
    what = advice["action"].upper() + (f" {advice['version']}" if advice["version"] else "")
    lines = textwrap.wrap(f"{what}: {advice['reason']}", width)
    chosen = next((c for c in report["comparisons"] if c["challenger"] == advice["version"]), None)
    for assumption in (chosen or {}).get("assumptions", ()):
        lines += textwrap.wrap(f"not by itself: {assumption}", width, initial_indent="  ", subsequent_indent="  ")
    return lines


def _second(moment: str) -> str:
    """The moment without its fractions."""
    return re.sub(r"\.\d+", "", moment)


def _number(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.4g}"


def _signed(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:+.4f}".replace("-", "−")
