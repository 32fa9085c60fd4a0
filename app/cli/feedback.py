"""`bakeoff feedback`: sends the labels in a file to the running API, in batches, and reports by line."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.cli.access import ApiRefused, ask
from app.cli.decide import user_name
from app.errors import BakeoffError, DataRefused, InvalidRequest, Unavailable
from app.settings import Settings
from app.tables.counts import counted
from app.tables.labels import BadLine, LabelColumns, LabelFile, by_of, in_order, label_file, likely_columns
from app.tables.reading import read_table
from app.tables.table import Table, TableRefused

ROWS_PER_CALL = 2000
_TRIES = 6
_PAUSE_S = 1.0
_SHOWN_LINES = 20
_INTERRUPTED = 130
_TOO_LARGE, _TRY_AGAIN = 413, 503


class FeedbackSummary(msgspec.Struct, kw_only=True):
    """What became of the file's rows; `accepted` and `duplicates` count outcomes; `corrected`
    of the accepted replaced another. `refused` are in the file's order."""

    file: str
    rows: int
    without_label: int
    sent: int = 0
    accepted: int = 0
    duplicates: int = 0
    corrected: int = 0
    refused: list[BadLine]


class _Receiver(NamedTuple):
    """Where labels are sent, with which token, and who corrects: None where nothing is replaced.

    `reading` is the token for questions.
    """

    url: str
    token: str | None
    corrector: str | None = None
    reading: str | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.epilog = (
        "The file is CSV or Parquet. What can be accepted is, and each other line is reported with the reason. It is "
        "safe to send a file again: what is known already counts once. The exit status is 0 if every row with a label "
        "was accepted or known already. Rows without a label are left out."
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="a CSV file with a header line, or a Parquet file")
    names = parser.add_mutually_exclusive_group()
    names.add_argument(
        "--key",
        metavar="COLUMN",
        help="the column with your own keys (default: id, where there is no prediction_id)",
    )
    names.add_argument(
        "--prediction-id", metavar="COLUMN", help="the column with prediction ids (default: prediction_id)"
    )
    parser.add_argument(
        "--label",
        metavar="COLUMN",
        help="the column with true labels (default: actual, or else the one that the champion was trained to predict)",
    )
    parser.add_argument("--reward", metavar="COLUMN", help="the column with rewards (default: reward)")
    parser.add_argument(
        "--correct",
        action="store_true",
        help="replace what is recorded (needs ADMIN_TOKEN; the audit log has old and new values)",
    )
    parser.add_argument("--actor", metavar="NAME", help="who corrects (default: your user name)")
    parser.add_argument("--url", metavar="URL", help="the API's address (default: API_URL)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON, with all lines")


def run(args: argparse.Namespace) -> int:
    """Send the labels and print the report.

    The exit status is 0 if every row with an outcome was accepted or known, 130 after Ctrl-C, and otherwise 1. Raises
    `DataRefused`, `InvalidRequest`, `SettingError`, `Unavailable` and `ApiRefused`; what was accepted until then stays.
    """
    settings = Settings.from_environ()
    to = _Receiver(
        args.url or settings.api_url,
        settings.admin_token if args.correct else settings.tokens.to_send("feedback"),
        (args.actor or user_name()) if args.correct else None,
        settings.tokens.to_send("read", admin=True),
    )
    if args.correct and settings.admin_token is None:
        raise InvalidRequest("--correct replaces outcomes, which needs ADMIN_TOKEN: set it to the API's value")
    table = _table(args.file)
    labels = label_file(table, _columns(args, table, to))
    summary = FeedbackSummary(
        file=str(args.file),
        rows=len(table.lines) + len(table.ragged),
        without_label=labels.without,
        refused=list(labels.bad),
    )
    interrupted = False
    try:
        _send_all(labels, summary, to)
    except KeyboardInterrupt:
        interrupted = True
    except BakeoffError:
        if summary.sent:
            print(f"{_counts(summary)}\nThe rest was not sent: run the command again.", file=sys.stderr)
        raise
    summary.refused = in_order(summary.refused)
    print(msgspec.json.encode(summary).decode() if args.json else _text(summary))
    if interrupted:
        return _INTERRUPTED
    return 1 if summary.refused else 0


def _table(file: Path) -> Table:
    try:
        return read_table(file, ragged=True)
    except TableRefused as error:
        raise DataRefused(error.message) from error


def _columns(args: argparse.Namespace, table: Table, to: _Receiver) -> LabelColumns:
    """The columns of the options, or those that the names of the file's columns suggest. Raises `InvalidRequest`."""
    given = {option: getattr(args, option) for option in ("key", "prediction_id", "label", "reward")}
    for option, column in given.items():
        if column is not None and column not in table.names:
            shown = f"--{option.replace('_', '-')}"
            raise InvalidRequest(f"{args.file} has no column {column!r} for {shown}; {_listed(table)}")
    label, reward = _outcome_columns(given, table, to)
    if label is None and reward is None:
        raise InvalidRequest(f"{args.file} has no column actual or reward: give --label COLUMN; {_listed(table)}")
    named = given["key"] or given["prediction_id"] or likely_columns(table.names, None)[0]
    if named is None:
        raise InvalidRequest(f"{args.file} has no column prediction_id or id: give --key COLUMN; {_listed(table)}")
    by = "prediction_id" if given["prediction_id"] else by_of(named)
    columns = LabelColumns(named, by, label, reward)
    if len(set(columns.chosen)) < len(columns.chosen):
        raise InvalidRequest("one column is given twice: keys, labels and rewards are in columns of their own")
    return columns


def _outcome_columns(given: Mapping[str, str | None], table: Table, to: _Receiver) -> tuple[str | None, str | None]:
    """The columns of labels and of rewards: those that are given or, where none is, those with likely names."""
    if given["label"] or given["reward"]:
        return given["label"], given["reward"]
    _, label, reward = likely_columns(table.names, None)
    if label is None and reward is None:
        label = likely_columns(table.names, _target(to.url, to.reading))[1]
    return label, reward


def _listed(table: Table) -> str:
    return f"its columns are {', '.join(table.names)}"


def _target(url: str, token: str | None) -> str | None:
    """The name of the column that the champion predicts."""
    models = ask(url, "/models", token).get("models", [])
    first = next((model for model in models if "champion" in model.get("aliases", ())), None)
    target = (first or {}).get("contract", {}).get("target")
    return target if isinstance(target, str) else None


def _send_all(labels: LabelFile, summary: FeedbackSummary, to: _Receiver) -> None:
    bar = (TextColumn("sending"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    rows, size = len(labels.rows), ROWS_PER_CALL
    with Progress(*bar, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("sending", total=rows)
        while summary.sent < rows:
            stop = min(summary.sent + size, rows)
            try:
                answer = _sent(labels.as_csv(summary.sent, stop), to)
            except ApiRefused as error:
                if error.status != _TOO_LARGE or stop - summary.sent == 1:
                    raise
                size = max(1, (stop - summary.sent) // 2)  # the API takes fewer rows, or bytes, than we send
                continue
            _add(answer, labels, summary, stop)
            progress.update(task, completed=stop)


def _sent(csv: bytes, to: _Receiver) -> dict[str, Any]:
    """The API's answer to a batch, tried again while the API is overloaded or starts."""
    for attempt in range(1, _TRIES + 1):
        try:
            if to.corrector is None:
                answer: dict[str, Any] = ask(to.url, "/feedback?partial=true", to.token, csv=csv)
            else:
                headers = {"X-Actor": to.corrector.encode()}
                answer = ask(to.url, "/feedback?partial=true&correct=true", to.token, headers=headers, csv=csv)
            return answer
        except (Unavailable, ApiRefused) as error:
            if attempt == _TRIES or (isinstance(error, ApiRefused) and error.status != _TRY_AGAIN):
                raise
            time.sleep(_PAUSE_S)
    raise AssertionError("the last try returns or raises")


def _add(answer: dict[str, Any], labels: LabelFile, summary: FeedbackSummary, stop: int) -> None:
    rows = labels.rows[summary.sent : stop]
    items = answer.get("items")
    if not isinstance(items, list) or len(items) != len(rows):
        raise ApiRefused("the API did not say what became of each row: it is of an older release than this command")
    for row, item in zip(rows, items, strict=True):
        if item["status"] not in ("accepted", "duplicate"):
            summary.refused.append(BadLine(row.line, item["status"], item.get("message", "")))
    summary.accepted += answer["accepted"]
    summary.duplicates += answer["duplicates"]
    summary.corrected += answer.get("corrected", 0)
    summary.sent = stop


def _text(summary: FeedbackSummary) -> str:
    lines = [f"line {each.line}: {each.status}: {each.message}" for each in summary.refused[:_SHOWN_LINES]]
    if len(summary.refused) > _SHOWN_LINES:
        lines.append(f"… and {counted(len(summary.refused) - _SHOWN_LINES, 'more line')}: --json lists all")
    return "\n".join([_counts(summary), *lines])


def _counts(summary: FeedbackSummary) -> str:
    reasons = Counter(each.status for each in summary.refused)
    why = f" ({', '.join(f'{count:,} {status}' for status, count in reasons.items())})" if reasons else ""
    replaced = f" ({summary.corrected:,} of them replaced another)" if summary.corrected else ""
    without = f"; no label yet in {counted(summary.without_label)}" if summary.without_label else ""
    return (
        f"{summary.file}: {counted(summary.rows)}; {counted(summary.accepted, 'outcome')} accepted{replaced}, "
        f"{summary.duplicates:,} known already, {counted(len(summary.refused), 'line')} not accepted{why}{without}"
    )
