"""`bakeoff monitor`: one process that turns the log into evidence, reports and alarms."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import threading
from typing import Any

import msgspec

from app.bootstrap.monitor import Monitor, OnceDone
from app.cli import comparison as words
from app.cli.archive import existing_log
from app.domain.report import ComparisonReport, ExperimentReport, VariantReport
from app.monitor.rebuild import Rebuilt
from app.observe.logs import configure
from app.settings import Settings
from app.stats.evidence import percent
from app.tables.counts import counted

_WHY_OUTDATED = (
    "the state before was written by another release of bakeoff, which counted in another way. For example, labels of "
    "answers not at the configured weights no longer count in the check of the label rate (CHANGELOG.md)"
)
_WHY_CORRECTED = "outcomes were corrected, and the evidence now counts their last values from the start"
_WHY_ERASED = "{:,} rows were erased since, which the state before may have counted (docs/erasing.md)"
_WHY = "the state before may have been written by another release of bakeoff, or was damaged"
_EQUALITY = {True: "equal to the last bit", False: "DIFFERENT", None: "there was none before"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--once", action="store_true", help="process the whole log, print the summary and exit")
    parser.add_argument("--rebuild", action="store_true", help="recompute everything from the log, and compare")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON (with --once or --rebuild)")


def run(args: argparse.Namespace) -> int:
    """Run the monitor until SIGTERM or SIGINT, which it obeys between two ticks; or once, or a rebuild.

    Exit status 1 where a rebuild differs from the state that was there, unless another release had written that
    or outcomes were corrected or erased.
    """
    settings = Settings.from_environ()
    configure(settings)
    if args.rebuild:
        with existing_log(settings):  # or an empty store would be made where DATA_DIR is wrong
            pass
    with contextlib.closing(Monitor(settings)) as monitor:
        if args.rebuild:
            return _show_rebuilt(monitor.rebuild(), as_json=args.json)
        if args.once:
            return _show_once(monitor.once(), as_json=args.json)
        monitor.run(_stop_on_signals())
        return 0


def _show_once(done: OnceDone, *, as_json: bool) -> int:
    if as_json:
        _print_json({"rows": done.rows, "experiment": done.report})
    else:
        summary = _summary(done.report) if done.report else ["no experiment yet"]
        print("\n".join([f"{counted(done.rows)} processed", *summary]))
    return 0


def _show_rebuilt(done: Rebuilt, *, as_json: bool) -> int:
    # None, no state before, is no difference.
    equal = all(each is not False for each in done.states_equal.values())
    if as_json:
        _print_json(
            {
                "rows": done.rows,
                "equal": equal,
                "was_outdated": done.was_outdated,
                "corrections": done.corrections,
                "erased": done.erased,
                "states_equal": done.states_equal,
                **_compared(done),
            }
        )
    else:
        print("\n".join(_rebuilt_lines(done)))
    if equal:
        return 0
    reasons = (
        (done.was_outdated, _WHY_OUTDATED),
        (done.corrections > 0, _WHY_CORRECTED),
        (done.erased > 0, _WHY_ERASED.format(done.erased)),
    )
    why = "; ".join(reason for holds, reason in reasons if holds)
    kind = "note" if why else "error"
    print(f"{kind}: the rebuilt state, now in force, differs from the one before: {why or _WHY}", file=sys.stderr)
    return 0 if why else 1


def _compared(done: Rebuilt) -> dict[str, Any]:
    rows = [
        {"experiment": c.experiment, "challenger": c.challenger, "before": c.before, "after": c.after, "equal": c.equal}
        for c in done.comparisons
    ]
    return {"comparisons": rows}


def _rebuilt_lines(done: Rebuilt) -> list[str]:
    lines = [f"{counted(done.rows)} processed again (each once for every projection)"]
    lines += [
        f"{c.experiment} {c.challenger}: ln E {_shown(c.before)} before, {_shown(c.after)} after, "
        f"{'equal' if c.equal else 'DIFFERENT'}"
        for c in done.comparisons
    ]
    return lines + [f"state of {name}: {_EQUALITY[equal]}" for name, equal in done.states_equal.items()]


def _summary(report: ExperimentReport) -> list[str]:
    variants = [f"  {_variant(each)}" for each in report.variants]
    compared = [f"  {line}" for each in report.comparisons for line in _comparison(each, report.baseline)]
    advice = report.recommendation
    return [f"experiment {report.id} ({report.metric})", *variants, *compared, f"  {advice.action}: {advice.reason}"]


def _variant(variant: VariantReport) -> str:
    outcomes = counted(variant.rewards, "reward") if variant.rewards else counted(variant.labelled, "label")
    means = "" if variant.mean_all is None else f"mean of all labelled rows {words.number(variant.mean_all)}, "
    share = variant.answerable_share
    part = "" if share is None or share == 1 else f"; could take part in {percent(share)} of the requests"
    served = f"as served {words.number(variant.mean)}"
    return f"{variant.version}: {counted(variant.requests, 'request')}, {outcomes}; {means}{served}{part}"


def _comparison(comparison: ComparisonReport, baseline: str | None) -> list[str]:
    """The same words as those of `bakeoff report`, and ln E with all its digits."""
    known = msgspec.to_builtins(comparison)
    lines = [
        f"{comparison.challenger} against {baseline}: {comparison.verdict}, {words.votes(known)}"
        f"{words.improvement(known)}; ln E {_shown(comparison.log_e)}",
        words.counts(known, baseline),
        *(f"note: {warning}" for warning in comparison.warnings),
    ]
    return [line if place == 0 else f"  {line}" for place, line in enumerate(lines) if line]


def _shown(log_e: float | None) -> str:
    return "–" if log_e is None else f"{log_e:.12g}"  # digits enough to see that two values differ


def _print_json(values: dict[str, Any]) -> None:
    print(json.dumps(msgspec.to_builtins(values), indent=2, ensure_ascii=False))


def _stop_on_signals() -> threading.Event:
    # Only a flag is set: a step that is cut off in the middle would be done again at the next start.
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
