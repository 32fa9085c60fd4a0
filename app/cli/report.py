"""`bakeoff report`: the experiment as text, from `GET /experiment` and, for a ramp, `GET /config`.

In the dashboard's order: what to do, each comparison with its interval drawn on one common scale, versions, checks.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Mapping
from typing import Any

from app.cli import comparison as words
from app.cli.access import ask
from app.cli.breakdown import breakdown_lines, path_of
from app.cli.comparison import UNKNOWN, number
from app.cli.plot import PlotMarks, axis, marks_for, plotted, scale_of
from app.cli.table import table_lines
from app.errors import InvalidRequest
from app.scoring.table import METRICS
from app.settings import Settings
from app.stats.evidence import percent

_NARROWEST, _WIDEST = 40, 120
_PIPED_COLUMNS = 100
_POLL_S = 1.5  # longer than the monitor's tick and the API's cached snapshot together

_PLAIN = str.maketrans({"–": "-", "−": "-", "…": "...", "≤": "<=", "≥": ">=", "±": "+-", "α": "alpha"})
_DRAWN = "─├┤●│−–"
_OK = {True: "ok", False: "FAILED", None: "not known yet"}
# A narrow terminal loses the columns after these, the last one first: they matter least for the decision.
_REQUIRED_COLUMNS = 5
_ALL_ROWS = (
    "MEAN and its interval: over all labelled rows, also those that another version served. LABELLED and AS SERVED: "
    "the rows that the version served."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--json", action="store_true", help="print the API's answer as JSON")
    parser.add_argument("--url", metavar="URL", help="the API's address (default: API_URL)")
    parser.add_argument("--id", metavar="ID", help="a finished experiment's id (default: the running one)")
    parser.add_argument(
        "--by", metavar="PART", help="show the comparison by the true class (class) or by a feature (feature:NAME)"
    )
    parser.add_argument("--challenger", metavar="VERSION", help="with --by: the version to compare with the baseline")
    parser.add_argument("--metric", metavar="NAME", help="with --by: a secondary metric, not the one that decides")
    parser.add_argument("--html", metavar="FILE", help="write the report to one HTML file, to send or to print")
    parser.add_argument("--ascii", action="store_true", help="draw with ASCII characters")
    parser.add_argument(
        "--wait", type=float, default=0.0, metavar="SECONDS", help="first let the monitor catch up, at most this long"
    )


def run(args: argparse.Namespace) -> int:
    """Print the report. Raises `Unavailable`, `ApiRefused`, `InvalidRequest` and `SettingError`."""
    settings = Settings.from_environ()
    path = f"/experiments/{args.id}" if args.id else "/experiment"
    # The API lets an administrator read, too, so either token will do.
    url, token = args.url or settings.api_url, settings.tokens.to_send("read", admin=True)
    report = caught_up(lambda: ask(url, path, token), args.wait)
    for name in ("challenger", "metric"):
        if getattr(args, name) is not None and args.by is None:
            raise InvalidRequest(f"--{name} goes with --by: say by what, such as --by class", field=f"--{name}")
    if args.html is not None:
        from app.cli.report_file import write_report  # what it needs takes a while to import

        return write_report(args, report, url, token)
    asked = {"by": args.by, "challenger": args.challenger, "metric": args.metric}
    parts = None if args.by is None else ask(url, path_of(report["id"], asked), token)
    if args.json:
        print(json.dumps(report if parts is None else parts, indent=2, ensure_ascii=False))
        return 0
    width = min(max(shutil.get_terminal_size((_PIPED_COLUMNS, 24)).columns, _NARROWEST), _WIDEST)
    plain = args.ascii or not _can_encode(_DRAWN, sys.stdout.encoding)
    # The configuration is the one in force now; it says nothing about a finished experiment.
    config = None if args.id or parts is not None else ask(url, "/config", token)
    lines = lines_of(report, width, config, plain=plain) if parts is None else breakdown_lines(parts, width)
    text = "\n".join(lines).translate(_PLAIN if plain else {})
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
        _head(report, width) + textwrap.wrap(_terms(config or {}), width),
        _advice(report, width),
        _comparisons(report, width, marks),
        _metrics(report, width),
        _versions(report, width) + textwrap.wrap(_ramp(config or {}), width, subsequent_indent="  "),
        _checks(report, width),
    ]
    lines = [line for section in sections if section for line in ("", *section)][1:]
    return [line.translate(_PLAIN) if plain else line for line in lines]


def _head(report: Mapping[str, Any], width: int) -> list[str]:
    started, ended = _second(report["started"]), report["ended"]
    ran = f"running since {started}" if ended is None else f"ran from {started} to {_second(ended)}"
    computed = f"; computed {_second(report['computed_at'])}" if report.get("computed_at") else ""
    text = (
        f"Experiment {report['id']}{words.named(report)}, {ran}: {report['metric']} against {report['baseline']}, "
        f"alpha {report['alpha']:g}{computed}"
    )
    return textwrap.wrap(text, width)


def _terms(config: Mapping[str, Any]) -> str:
    """Whose outcomes vote, when a reward counts, and which answers are slow; empty from a release without these."""
    slow = config.get("guardrail_slow")
    if slow is None:
        return ""
    unit = config.get("unit") or "none, each request votes (begin a new experiment to change it)"
    window = config.get("reward_window_s")
    rewards = f"; reward window {_span(window)}" if window else "; no reward window"
    watched = "not watched" if slow == "off" else f"above {slow}"
    return f"Unit: {unit}{rewards if _uses_rewards(config['metric']) else ''}; slow answers: {watched}"


def _span(seconds: float) -> str:
    """Seconds as REWARD_WINDOW takes them, in the largest unit that divides them."""
    units = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))
    return next((f"{seconds / size:.0f}{unit}" for size, unit in units if seconds % size == 0), f"{seconds:g}s")


def _versions(report: Mapping[str, Any], width: int) -> list[str]:
    variants = report["variants"]
    rewarded = _uses_rewards(report["metric"])
    # An API of a release without these means leaves the column out, so the others are as it knew them.
    all_rows = not rewarded and any(variant.get("mean_all") is not None for variant in variants)
    means = ("MEAN", "INTERVAL", "AS SERVED") if all_rows else ("MEAN", "INTERVAL")
    counted = "REWARDS" if rewarded else "LABELLED"
    headings = ("VERSION", "TARGET", "REQUESTS", counted, *means, "ERRORS", "P99 MS")
    rows = [_version(variant, rewarded, all_rows) for variant in variants]
    numeric = range(1, len(headings))
    lines = table_lines(rows, headings, numeric=numeric, width=width, required=_REQUIRED_COLUMNS)
    explained = textwrap.wrap(_ALL_ROWS, width) if all_rows else []
    return [*lines, *explained, *_taking_part(report, width)]


def _taking_part(report: Mapping[str, Any], width: int) -> list[str]:
    """In which share of the requests each version could take part, if not in all, and why some take none."""
    # An API of a release before versions of different columns knows neither.
    excluded = report.get("excluded", {})
    shares = {variant["version"]: variant.get("answerable_share") for variant in report["variants"]}
    texts = [
        f"{version} could take part in {percent(share)} of the requests: the others lack a column that it reads"
        for version, share in shares.items()
        if share is not None and share < 1 and version not in excluded
    ]
    texts += [f"{version} takes no part: {reason}" for version, reason in excluded.items()]
    return [line for text in texts for line in textwrap.wrap(text, width, subsequent_indent="  ")]


def _uses_rewards(metric: str) -> bool:
    # The API may be of a newer release, with metrics that this one does not know.
    return metric in METRICS and METRICS[metric].uses_rewards


def _version(variant: Mapping[str, Any], rewarded: bool, all_rows: bool) -> tuple[str, ...]:
    interval = variant["interval_all" if all_rows else "interval"]
    return (
        variant["version"],
        f"{100 * variant['weight']:.4g} %",
        f"{variant['requests']:,}",
        f"{variant['rewards' if rewarded else 'labelled']:,}",
        number(variant["mean_all" if all_rows else "mean"]),
        UNKNOWN if interval is None else f"{number(interval[0])} … {number(interval[1])}",
        *((number(variant["mean"]),) if all_rows else ()),
        f"{variant['errors']:,}",
        number(variant["latency_ms"]["p99"]),
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
    comparisons = [c for c in report["comparisons"] if c["n"] or c["unjoined"]]
    # One scale for all, or intervals of different comparisons could not be compared by eye.
    scale = scale_of([c["interval"] for c in comparisons if c["interval"]], width)
    lines: list[str] = []
    for comparison in comparisons:
        lines += ["", *_comparison(comparison, report, width)] if lines else _comparison(comparison, report, width)
        if scale is not None and comparison["interval"]:
            lines.append(plotted(comparison["interval"], comparison["difference"], scale, marks))
    if scale is not None:
        lines.append(axis(scale, words.shown_as(report["metric"])))
    return [*lines, *_without_outcomes(report, width)]


def _without_outcomes(report: Mapping[str, Any], width: int) -> list[str]:
    """The challengers of which nothing is known yet, in one line."""
    names = [c["challenger"] for c in report["comparisons"] if not (c["n"] or c["unjoined"])]
    if not names:
        return []
    text = f"No outcome yet against {report['baseline']}: {', '.join(names)}"
    return textwrap.wrap(text, width, subsequent_indent="  ")


def _comparison(comparison: Mapping[str, Any], report: Mapping[str, Any], width: int) -> list[str]:
    text = (
        f"{comparison['challenger']} against {report['baseline']}: {comparison['verdict'].upper()}, "
        f"{comparison['method'].replace('_', ' ')}, {words.votes(comparison)}"
        f"{words.improvement(comparison, words.shown_as(report['metric']))}{words.labels_left(comparison)}"
    )
    if comparison["unjoined"]:
        missing = (
            "rewards whose row is not in the log" if _uses_rewards(report["metric"]) else "labels without both answers"
        )
        text += f"; {comparison['unjoined']:,} {missing}"
    lines = textwrap.wrap(text, width, subsequent_indent="  ")
    notes = (f"note: {warning}" for warning in comparison.get("warnings", ()))
    for more in (words.counts(comparison, report["baseline"]), *notes):
        lines += textwrap.wrap(more, width, initial_indent="  ", subsequent_indent="  ")
    return lines


def _metrics(report: Mapping[str, Any], width: int) -> list[str]:
    """The secondary metrics, which an API of a former release does not know."""
    # What limits the metric that decides is said there, and most of it limits the others alike.
    known = frozenset(warning for each in report["comparisons"] for warning in each.get("warnings", ()))
    texts = [text for metric in report.get("metrics", ()) for text in words.secondary(metric, known)]
    return [line for text in texts for line in textwrap.wrap(text, width, subsequent_indent="  ")]


def _checks(report: Mapping[str, Any], width: int) -> list[str]:
    lines = []
    for kind in ("checks", "guardrails"):
        for check in report[kind]:
            of = f" of {check['version']}" if check.get("version") else ""
            detail = f" ({check['detail']})" if check.get("detail") else ""
            text = f"{check['name'].replace('_', ' ')}{of}: {_OK[words.passed(check, report)]}{detail}"
            lines += textwrap.wrap(text, width, subsequent_indent="  ")
    return lines


def _advice(report: Mapping[str, Any], width: int) -> list[str]:
    first, *more = words.advice(report)
    indented = (textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="  ") for text in more)
    return [*textwrap.wrap(first, width), *(line for lines in indented for line in lines)]


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
