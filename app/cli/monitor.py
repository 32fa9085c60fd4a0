"""`python -m app monitor`: one process that turns the log into evidence, reports and alarms."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.domain.report import ComparisonReport, ExperimentReport
    from app.monitor.projection import Projection
    from app.monitor.publisher import DriftCheck
    from app.monitor.rebuild import Rebuilt
    from app.settings import Settings
    from app.store.engine import Database


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--once", action="store_true", help="take in all there is, print the summary and exit")
    parser.add_argument("--rebuild", action="store_true", help="recompute everything from the log, and compare")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON (with --once or --rebuild)")


def run(args: argparse.Namespace) -> int:
    """Run the monitor until SIGTERM or SIGINT, which it heeds between two steps; or once, or a rebuild.

    Exit status 1 where a rebuild differs from what was there.
    """
    from app.observe.logs import configure
    from app.settings import Settings
    from app.store.engine import Database

    settings = Settings.from_environ()
    configure(settings)
    database = Database(settings.store_url)
    try:
        if args.rebuild:
            return _rebuild(settings, database, as_json=args.json)
        return _watch(settings, database, once=args.once, as_json=args.json)
    finally:
        database.close()


def projections(settings: Settings, database: Database) -> list[Projection]:
    """Every folder of the monitor. Raises `SettingError` where the key of the shelf can be neither made nor read."""
    from app.inference.registry import ModelRegistry
    from app.monitor.drift.projection import DriftProjection
    from app.monitor.drift.references import References
    from app.monitor.experiment.projection import ExperimentProjection
    from app.store.drift_reports import DriftTable
    from app.store.keys import load_or_create

    registry = ModelRegistry(settings.model_dir, load_or_create(settings.data_dir).registry)
    return [ExperimentProjection(), DriftProjection(References(registry), DriftTable(database))]


def drift_check(database: Database) -> DriftCheck:
    """What reports are told of drift."""
    from app.monitor.publisher import DriftCheck
    from app.store.configurations import ConfigurationLog
    from app.store.drift_reports import DriftTable

    return DriftCheck(ConfigurationLog(database).latest, DriftTable(database).standing)


def _watch(settings: Settings, database: Database, *, once: bool, as_json: bool) -> int:
    from app.bootstrap.monitor import MonitorActions
    from app.errors import Contradiction
    from app.monitor.lock import monitor_lock
    from app.monitor.loop import Loop, wait_for
    from app.monitor.publisher import Publisher
    from app.store.projections import MonitorStore

    stop = _stop_on_signals()
    store = MonitorStore(database, _now_us)
    publisher = Publisher(store, _now_us, drift_check(database))
    parts = projections(settings, database)
    acting = MonitorActions(settings, database, _now_us)
    with monitor_lock(settings.data_dir, database.kind) as lock:
        if once and not lock.acquire():
            raise Contradiction("a monitor runs already on this data, and takes everything in")
        if once:
            return _once(database, store, parts, publisher, as_json=as_json)
        loop = Loop(store, parts, publisher, acting.after_reports, ticks=acting.ticks)
        if wait_for(lock, stop):
            with acting:
                loop.run(stop, lock.held)
                # A server that was away has forgotten the lock, or has given it to another monitor.
                while not stop.is_set() and wait_for(lock, stop):
                    loop.run(stop, lock.held)
    return 0


def _once(database: Database, store: Any, parts: list[Projection], publisher: Any, *, as_json: bool) -> int:
    from app.domain.log_event import Cursor
    from app.monitor.projection import process_all
    from app.store.reports import MonitorReads

    rows = sum(process_all(projection, store) for projection in parts)
    publisher.publish()
    store.heartbeat(Cursor())
    stored = MonitorReads(database, _now_us).report()
    report = stored.report if stored else None
    if as_json:
        _print_json({"rows": rows, "experiment": report})
    else:
        print("\n".join([f"{rows:,} rows taken in", *(_summary(report) if report else ["no experiment yet"])]))
    return 0


def _rebuild(settings: Settings, database: Database, *, as_json: bool) -> int:
    from app.errors import Contradiction
    from app.monitor.lock import REBUILD, monitor_lock
    from app.monitor.rebuild import rebuild

    with monitor_lock(settings.data_dir, database.kind, REBUILD) as lock:
        if not lock.acquire():
            raise Contradiction("another rebuild runs on this data")
        done = rebuild(database, projections(settings, database), _now_us, drift_check(database))
    equal = all(done.states_equal[name] is not False for name in done.states_equal)
    if as_json:
        _print_json({"rows": done.rows, "equal": equal, "states_equal": done.states_equal, **_compared(done)})
    else:
        print("\n".join(_rebuilt_lines(done)))
    if not equal:
        print("error: the rebuilt state differs from the one that was there; the rebuilt one holds", file=sys.stderr)
    return 0 if equal else 1


def _compared(done: Rebuilt) -> dict[str, Any]:
    rows = [
        {"experiment": c.experiment, "challenger": c.challenger, "before": c.before, "after": c.after, "equal": c.equal}
        for c in done.comparisons
    ]
    return {"comparisons": rows}


def _rebuilt_lines(done: Rebuilt) -> list[str]:
    words = {True: "equal to the last bit", False: "DIFFERENT", None: "there was none before"}
    lines = [f"{done.rows:,} rows taken in again"]
    lines += [
        f"{c.experiment} {c.challenger}: ln E {_shown(c.before)} before, {_shown(c.after)} after, "
        f"{'equal' if c.equal else 'DIFFERENT'}"
        for c in done.comparisons
    ]
    return lines + [f"state of {name}: {words[equal]}" for name, equal in done.states_equal.items()]


def _summary(report: ExperimentReport) -> list[str]:
    variants = [f"  {v.version}: {v.requests:,} requests, {v.labelled:,} labels" for v in report.variants]
    compared = [f"  {c.challenger} against {report.baseline}: {_comparison(c)}" for c in report.comparisons]
    advice = report.recommendation
    return [f"experiment {report.id} ({report.metric})", *variants, *compared, f"  {advice.action}: {advice.reason}"]


def _comparison(comparison: ComparisonReport) -> str:
    return f"{comparison.verdict} over {comparison.n:,} outcomes, ln E {_shown(comparison.log_e)}"


def _shown(log_e: float | None) -> str:
    return "–" if log_e is None else f"{log_e:.12g}"


def _print_json(values: dict[str, Any]) -> None:
    import msgspec

    print(json.dumps(msgspec.to_builtins(values), indent=2, ensure_ascii=False))


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _now_us() -> int:
    return time.time_ns() // 1000
