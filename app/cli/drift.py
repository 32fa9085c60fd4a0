"""`bakeoff drift`: the drift report of a CSV or Parquet file, without a server."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from app.cli.access import registry_of
from app.cli.missing import add_missing, missing_of
from app.cli.table import table_lines, terminal_width
from app.domain.contract import FeatureContract
from app.domain.manifest import REFERENCE_FILE
from app.domain.timestamps import iso_utc
from app.drift.alarm_streams import what_changed
from app.drift.reference import DriftReference
from app.drift.report import drift_report
from app.drift.report_types import AlarmStream, DriftReport, StreamReport
from app.drift.watch import start, update
from app.settings import Settings
from app.simulation.rows import feature_cells, reading_of
from app.tables.counts import counted
from app.tables.meaning import TableReading

_HEADINGS = ("FEATURE", "SCORE", "EVIDENCE", "MISSING", "UNSEEN", "OUT OF RANGE")
_ALARM_HEADINGS = ("ALARM RAISED BY", "KIND", "AFTER ROW", "EVIDENCE THEN")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.epilog = (
        "The rows are scored in the order of the file, as requests would come. The order of a sorted file alone looks "
        "like drift: --shuffle removes it. The exit status is 0 whether there is drift or not."
    )
    add = parser.add_argument
    add("file", type=Path, metavar="FILE", help="a CSV or Parquet file: rows with the model's features, by name")
    add("--version", required=True, metavar="NAME", help="the version whose training data the rows are compared with")
    add("--window", type=_positive, metavar="N", help="score the last N rows (default: all)")
    add("--shuffle", type=int, metavar="SEED", help="put the rows into a random order first")
    add_missing(parser, "those of the version's training")
    add("--json", action="store_true", help="print the report as GET /drift does")


def run(args: argparse.Namespace) -> int:
    """Print the report. Raises `DataRefused`, `UnknownVersion`, `ArtefactRefused`, `SettingError`."""
    report = _report(args)
    if args.json:
        print(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    else:
        print("\n".join(lines_of(report, terminal_width(), shuffled=args.shuffle is not None)))
    return 0


def lines_of(report: DriftReport, width: int | None = None, *, shuffled: bool = False) -> list[str]:
    """The verdict, what raised an alarm, the score, each feature, and each joint statistic that has evidence."""
    joint = [f"  {part.explanation} (evidence {part.evidence:.2f})" for part in report.joint if part.evidence > 0]
    features = [_feature(feature) for feature in report.features]
    return [
        f"{counted(report.requests)} compared with {counted(report.reference_rows)} of {report.version}'s reference",
        "",
        _verdict(report, shuffled=shuffled),
        *_alarm_streams(report.alarm_streams, width),
        f"score {report.score:.2f}: at least {report.score:.0%} of the last {min(report.window, report.requests)} "
        "rows are displaced",
        "",
        *table_lines(features, _HEADINGS, numeric=range(1, len(_HEADINGS)), width=width),
        *(["", "features taken together:", *joint] if joint else []),
        "",
        *_limits(report),
    ]


def contract_rows(contract: FeatureContract, reading: TableReading, origin: str) -> np.ndarray:
    """The rows of the table in contract order, an array of objects of shape (n, features).

    Raises `DataRefused` if a feature has no column. A cell is never refused: text in a numeric feature stays text,
    which the drift report counts as unseen, as the monitor does for requests.
    """
    others = [column for column in reading.table.columns if column.name != contract.target]
    cells = feature_cells(contract, reading, others, origin)
    rows = np.empty((len(reading.table.lines), len(cells)), dtype=object)
    for index, values in enumerate(cells):
        rows[:, index] = values
    return rows


def _report(args: argparse.Namespace) -> DriftReport:
    with registry_of(Settings.from_environ()) as registry:
        artefact, later = registry.verified(args.version), registry.references(args.version).valid
        newest = later[-1] if later else None
        reference = newest.reference if newest else DriftReference.from_json(artefact.read(REFERENCE_FILE))
    published = artefact.manifest
    reading = reading_of(args.file, missing_of(args, published.source))
    rows = contract_rows(published.contract, reading, str(args.file))
    if args.shuffle is not None:
        rows = rows[np.random.default_rng(args.shuffle).permutation(len(rows))]
    state = update(reference, start(reference, args.window or len(rows)), rows)
    report = drift_report(args.version, reference, state)
    if newest is None:
        return report
    number, since = newest.manifest.number, iso_utc(newest.manifest.counts_from_us)
    return msgspec.structs.replace(report, reference_number=number, reference_since=since)


def _verdict(report: DriftReport, *, shuffled: bool) -> str:
    if report.alarm:
        began = "" if report.since_requests is None else f"; it began at about row {report.since_requests + 1}"
        sorting = "" if shuffled else " If the file is sorted, its order alone can be the reason: try --shuffle 1."
        return f"A change is proven in {what_changed(report.alarm_streams)}{began}.{sorting}"
    if report.alarms:
        changed = what_changed(report.alarm_streams)
        return f"A change was proven in {changed} earlier in the file, and is over at its end."
    if report.evidence > 0:
        return f"No change is proven; evidence {report.evidence:.2f} of 1."
    return "No change is proven, and there is no evidence of one."


def _alarm_streams(streams: Sequence[AlarmStream], width: int | None) -> list[str]:
    """A table of the streams as they were when they raised the alarm; empty without one."""
    if not streams:
        return []
    rows = [(each.name, each.kind, f"{each.requests:,}", f"{each.evidence:.2f}") for each in streams]
    return ["", *table_lines(rows, _ALARM_HEADINGS, numeric=(2, 3), width=width), ""]


def _limits(report: DriftReport) -> list[str]:
    bound = report.false_alarm_probability
    promise = f"On unchanged data an alarm within {bound.requests:,} rows has a chance of at most {bound.at_most:.0%}."
    least, outliers = report.least_detectable_shift_sd, report.least_detectable_outlier_share
    lines = [promise]
    if least is not None:
        lines.append(f"The smallest shift that this reference can prove is about {least:.2f} standard deviations.")
    if outliers is not None:
        lines.append(f"Outliers at 8 standard deviations can be proven from about {outliers:.2g} of the rows on.")
    return [*lines, *report.notes]


def _feature(feature: StreamReport) -> tuple[str, ...]:
    shares = (feature.missing, feature.unseen, feature.out_of_range)
    odd = ("–" if share is None else f"{share:.1%}" for share in shares)
    return (feature.name, f"{feature.score:.2f}", f"{feature.evidence:.2f}", *odd)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number
