"""`bakeoff export`: the log as a Parquet, CSV or JSON lines file, or as a stream that goes on."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.cli.access import registry_of
from app.errors import (
    ArtefactRefused,
    Contradiction,
    InvalidRequest,
    StoreUnavailable,
    UnknownExperiment,
    UnknownVersion,
)
from app.files import written_as_a_whole
from app.services.export.columns import Contracts
from app.services.export.follow import Follower
from app.services.export.rows import Selection, position_of
from app.services.export.whole import Format, find, write
from app.settings import Settings
from app.tables.counts import counted

if TYPE_CHECKING:
    from app.store.log_rows import LogRows

_POLL_S = 0.5
_SUFFIXES: dict[str, Format] = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.epilog = (
        "Without --experiment, --since and --until it is the whole log. The service may run meanwhile. With --follow, "
        "lines go to standard output as they are committed, until SIGTERM or Ctrl-C; each has a seq, and --after SEQ "
        "goes on exactly behind it."
    )
    add = parser.add_argument
    add("--experiment", metavar="ID", help="only rows of this experiment")
    add("--since", type=moment_of, metavar="TIME", help="only rows served from this date or ISO time on (UTC)")
    add("--until", type=moment_of, metavar="TIME", help="only rows served before this date or ISO time (UTC)")
    add("--format", choices=get_args(Format), help="default: by the file's name; jsonl with --follow")
    add("--out", metavar="FILE|-", help="the file to write, or - (standard output)")
    add("--force", action="store_true", help="replace a file that is there")
    add("--follow", action="store_true", help="go on with what is committed, as CSV or JSON lines on standard output")
    add(
        "--after",
        metavar="SEQ",
        help="with --follow: the seq of the last line that was read (default: the beginning of the log)",
    )


def run(args: argparse.Namespace) -> int:
    """Write the export.

    Raises `InvalidRequest`, `Contradiction`, `UnknownExperiment`, `StoreUnavailable`, `DataRefused` and `SettingError`.
    """
    form = _checked_format(args)
    settings = Settings.from_environ()
    contracts, ordinals = contracts_of(settings)
    with log_of(settings) as log:
        if args.follow:
            after = position_of(args.after) if args.after is not None else log.begin()
            return _follow(Follower(log, contracts, ordinals, sys.stdout.buffer, after, as_csv=form == "csv"))
        if args.experiment is not None and args.experiment not in log.experiments():
            known = ", ".join(log.experiments()[:5]) or "none"
            raise UnknownExperiment(f"the log has no experiment {args.experiment!r}; the newest are {known}")
        return _export(args, form, log, contracts)


def _checked_format(args: argparse.Namespace) -> Format:
    if args.follow:
        if args.out not in (None, "-") or args.experiment or args.since is not None or args.until is not None:
            raise InvalidRequest(
                "--follow writes the whole log to standard output: give it without --out and selection"
            )
        if args.format == "parquet":
            raise InvalidRequest("a Parquet file ends with its metadata and cannot be a stream: use jsonl or csv")
        return args.format or "jsonl"
    if args.after is not None:
        raise InvalidRequest("--after needs --follow")
    if args.out is None:
        raise InvalidRequest("say where to: --out FILE, or --out - for standard output")
    form: Format | None = args.format or _SUFFIXES.get(Path(args.out).suffix.lower())
    if form is None:
        raise InvalidRequest(f"the name {args.out!r} does not tell the format: give --format parquet, csv or jsonl")
    if args.out == "-" and form == "parquet" and sys.stdout.isatty():
        raise InvalidRequest("Parquet is binary, and standard output is a terminal: redirect it, or give --out FILE")
    return form


def contracts_of(settings: Settings) -> tuple[Contracts, dict[int, str]]:
    """The contracts of all versions, retired ones too, with the classes as the log numbers them; names by ordinal."""
    contracts, ordinals = {}, {}
    with registry_of(settings) as registry:
        for name in registry.names():
            with contextlib.suppress(ArtefactRefused, UnknownVersion):
                manifest = registry.manifest(name)
                contracts[name] = msgspec.structs.replace(manifest.contract, classes=registry.classes(manifest))
                ordinals[manifest.ordinal] = name
    return contracts, ordinals


@contextlib.contextmanager
def log_of(settings: Settings) -> Iterator[LogRows]:
    """The log of this installation. Raises `StoreUnavailable` if nothing was logged yet."""
    from app.store.archive.marks import last_mark
    from app.store.engine import Database
    from app.store.kinds import READING
    from app.store.log_rows import LogRows

    database = Database(settings.store_url)
    file = database.kind.file
    if file is not None and not file.exists():
        raise StoreUnavailable(f"{file} does not exist, so nothing has been logged yet: is DATA_DIR right?")
    with contextlib.closing(database):
        with database.begin(READING) as connection:
            mark = last_mark(connection)
        if mark is not None:
            archived = f"predictions up to seq {mark.predictions:,} and outcomes up to {mark.outcomes:,}"
            print(f"note: {archived} are in the archive at {mark.place}, and not in this export", file=sys.stderr)
        yield LogRows(database)


def _export(args: argparse.Namespace, form: Format, log: LogRows, contracts: Contracts) -> int:
    target = None if args.out == "-" else Path(args.out).absolute()
    _require_free(target, force=args.force)
    bar = (TextColumn("exporting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*bar, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("exporting", total=None)
        found = find(log, Selection(args.experiment, args.since, args.until), contracts)
        try:
            with written_as_a_whole(target, partial(_require_free, target, force=args.force)) as out:
                rows = write(log, found, form, out, lambda done, of: progress.update(task, completed=done, total=of))
        except BrokenPipeError:
            raise
        except OSError as error:
            place = error.filename or target or "standard output"
            raise InvalidRequest(f"{place}: {error.strerror or error}; no export was made") from error
    place = target or "standard output"
    print(f"{counted(rows)} written to {place}; the log goes on after {found.end}", file=sys.stderr)
    return 0


def _require_free(target: Path | None, *, force: bool) -> None:
    if target is not None and target.exists() and not force:
        raise Contradiction(f"{target} exists already: give another name, or --force to replace it")


def _follow(follower: Follower) -> int:
    stop = _stop_on_signals()
    told = False
    while not stop.is_set():
        try:
            lines, told = follower.step(), False
        except StoreUnavailable as error:
            if not told:
                print(f"waiting: {error.message}", file=sys.stderr)
            lines, told = 0, True
        if not lines:
            stop.wait(_POLL_S)
    return 0


def _stop_on_signals() -> threading.Event:
    # Only a flag is set, so that no line is cut off; a second signal ends the process where the reader is stuck.
    stop = threading.Event()

    def end(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    return stop


def moment_of(text: str) -> int:
    """A date or an ISO time as µs since 1970; without a zone it is in UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date or a time such as 2026-11-20T12:00") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1_000_000)
