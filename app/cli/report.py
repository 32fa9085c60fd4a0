"""`bakeoff report`: the experiment as text, from `GET /experiment` and, for a ramp, `GET /config`.

The versions come first, then each comparison with its interval drawn on one common scale, the checks, and what to do.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from app.cli.access import ask
from app.cli.table import table_lines
from app.scoring.table import METRICS
from app.settings import Settings

_NARROWEST, _WIDEST = 40, 120
_PIPED_COLUMNS = 100
_POLL_S = 1.5  # longer than the monitor's tick and the API's cached snapshot together

_UNKNOWN = "–"
_PLAIN = str.maketrans({"–": "-", "−": "-", "…": "...", "≤": "<=", "≥": ">=", "±": "+-", "α": "alpha"})
_DRAWN = "─├┤●│−–"
_OK = {True: "ok", False: "FAILED", None: "not known yet"}
# A narrow terminal loses the columns after these, the last one first: they matter least for the decision.
_REQUIRED_COLUMNS = 5

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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--json", action="store_true", help="print the API's answer as JSON")
    parser.add_argument("--url", metavar="URL", help="the API's address (default: API_URL)")
    parser.add_argument("--id", metavar="ID", help="a finished experiment's id (default: the running one)")
    parser.add_argument("--ascii", action="store_true", help="draw with ASCII characters")
    parser.add_argument(
        "--wait", type=float, default=0.0, metavar="SECONDS", help="first let the monitor catch up, at most this long"
    )


def run(args: argparse.Namespace) -> int:
    """Print the report. Raises `Unavailable`, `ApiRefused`, `InvalidRequest` and `SettingError`."""
    settings = Settings.from_environ()
    path = f"/experiments/{args.id}" if args.id else "/experiment"
    # The API lets an administrator read, too, so either token will do.
    url, token = args.url or settings.api_url, settings.api_token or settings.admin_token
    report = caught_up(lambda: ask(url, path, token), args.wait)
    if args.json:
        print(json.dumps(report, indent=2, ensure_ascii=False))
        return 0
    width = min(max(shutil.get_terminal_size((_PIPED_COLUMNS, 24)).columns, _NARROWEST), _WIDEST)
    plain = args.ascii or not _can_encode(_DRAWN, sys.stdout.encoding)
    # The configuration is the one in force now; it says nothing about a finished experiment.
    config = None if args.id else ask(url, "/config", token)
    text = "\n".join(lines_of(report, width, config, plain=plain))
    # Users' names and reasons may hold characters that this terminal lacks; a "?" is better than no report.
    print(text.encode(sys.stdout.encoding or "utf-8", "replace").decode(sys.stdout.encoding or "utf-8"))
    return 0


def caught_up(
    fetch: Callable[[], dict[str, Any]],
    wait_s: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """The report once the monitor has computed one whose counts no longer grow; after `wait_s` seconds, the latest."""
    deadline = clock() + wait_s
    report, before = fetch(), None
    while clock() < deadline and (report.get("computed_at") is None or _counted(report) != before):
        before = _counted(report)
        sleep(_POLL_S)
        report = fetch()
    return report


def lines_of(
    report: Mapping[str, Any], width: int, config: Mapping[str, Any] | None = None, *, plain: bool = False
) -> list[str]:
    """The report of `GET /experiment` as lines of at most `width` characters, all ASCII if `plain`.

    If `config`, the answer of `GET /config`, has a ramp, a line below the versions is about it.
    """
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


def _head(report: Mapping[str, Any], width: int) -> list[str]:
    since = f"since {_second(report['started'])}" + (f" to {_second(report['ended'])}" if report["ended"] else "")
    computed = f"; computed {_second(report['computed_at'])}" if report.get("computed_at") else ""
    text = (
        f"Experiment {report['id']}, {report['state']} {since}: {report['metric']} against {report['baseline']}, "
        f"alpha {report['alpha']:g}{computed}"
    )
    return textwrap.wrap(text, width)


def _versions(report: Mapping[str, Any], width: int) -> list[str]:
    outcomes = "REWARDS" if _uses_rewards(report["metric"]) else "LABELLED"
    headings = ("VERSION", "WEIGHT", "REQUESTS", outcomes, "MEAN", "INTERVAL", "ERRORS", "P99 MS")
    rows = [_version(variant, report["metric"]) for variant in report["variants"]]
    numeric = range(1, len(headings))
    return table_lines(rows, headings, numeric=numeric, width=width, required=_REQUIRED_COLUMNS)


def _uses_rewards(metric: str) -> bool:
    # The API may be of a newer release, with metrics that this one does not know.
    return metric in METRICS and METRICS[metric].uses_rewards


def _version(variant: Mapping[str, Any], metric: str) -> tuple[str, ...]:
    outcomes = variant["rewards"] if _uses_rewards(metric) else variant["labelled"]
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


def _ramp(config: Mapping[str, Any]) -> str:
    """Where a ramp is, or that the end of a ramp left the split in force; empty if neither."""
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


def _comparisons(report: Mapping[str, Any], width: int, marks: PlotMarks) -> list[str]:
    comparisons = report["comparisons"]
    # One scale for all, or intervals of different comparisons could not be compared by eye.
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
    """The ends of the scale, and a 0 below the zero mark if there is room for it between them."""
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
        text = f"not promoted automatically: {assumption}"
        lines += textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="  ")
    return lines


def _counted(report: Mapping[str, Any]) -> int:
    return sum(variant["requests"] + variant["labelled"] for variant in report["variants"])


def _can_encode(characters: str, encoding: str | None) -> bool:
    try:
        characters.encode(encoding or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True


def _second(moment: str) -> str:
    """The ISO time without fractions of a second."""
    return re.sub(r"\.\d+", "", moment)


def _number(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.4g}"


def _signed(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:+.4f}".replace("-", "−")
