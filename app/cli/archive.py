"""`bakeoff archive`: moves the old part of the log to Parquet files, in a folder or on S3, while the service runs."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from app.cli.export import contracts_of, moment_of
from app.clock import now_us
from app.domain.timestamps import iso_utc
from app.errors import ArchiveUnavailable, Contradiction, InvalidRequest, StoreUnavailable
from app.settings import Settings
from app.store import kinds
from app.store.engine import Database
from app.store.stamps import stamp
from app.tables.counts import counted

if TYPE_CHECKING:
    from app.services.archive.manifest import ArchivedFile
    from app.store.archive.archiver import Archived, Archiver, Plan

_DAY_US = 86_400 * 1_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.epilog = (
        "Only rows that the monitor has processed go, and none whose reward window is open. Files are written, read "
        "back and compared before anything is removed. Interrupted anywhere, the next run goes on. The monitor runs "
        "this command every night where KEEP_LOG is set."
    )
    add = parser.add_argument
    add("--before", type=moment_of, metavar="TIME", help="rows from before this date or ISO time (UTC); else KEEP_LOG")
    add("--to", metavar="DIR|s3://BUCKET/PREFIX", help="where the files go (default: ARCHIVE_TO)")
    add("--dry-run", action="store_true", help="say what would go, and change nothing")
    add(
        "--set-aside",
        action="store_true",
        help="after a restore: take files with rows that the log lost out of the archive, into its folder aside/",
    )
    add(
        "--check",
        action="store_true",
        help="compare the files there with the manifest; status 1 if one is not as it was",
    )
    add("--json", action="store_true", help="print the summary as JSON")


def run(args: argparse.Namespace) -> int:
    """Archive, and print what was. Exit status 143 where SIGTERM stopped it, after which the next run goes on.

    Raises `InvalidRequest`, `Contradiction`, `StoreUnavailable`, `ArchiveUnavailable` and `SettingError`.
    """
    settings = Settings.from_environ()
    to = args.to or settings.archive_to
    before_us = 0 if args.check or args.set_aside else _before_us(args, settings)
    if to is None:
        raise InvalidRequest("say where to: --to DIR or --to s3://BUCKET/PREFIX, or set ARCHIVE_TO")
    if args.check:
        return _checked(to)
    # Here: --help and a wrong option do not wait for these.
    from app.store.archive.archiver import ArchivingStopped

    stop = _stop_on_signals()
    with existing_log(settings) as database, archive_lock(settings, database), _shown() as shown:
        archiver = archiver_of(settings, database, to, lambda: not stop.is_set(), shown)
        if args.set_aside:
            print(_set_aside(archiver.set_aside(), to))
            return 0
        if args.dry_run:
            print(_planned(archiver.plan(before_us), before_us, to))
            return 0
        try:
            done = archiver.run(before_us)
        except ArchivingStopped as stopped:
            print(stopped.message, file=sys.stderr)
            return 143
    # A run that could archive nothing must not silence the alert, nor a lesser one take the place of the night's.
    if (done.files or done.limited_by is None) and before_us >= _kept_since_us(settings):
        stamp(settings.data_dir, "archive")
    print(msgspec.json.encode(done).decode() if args.json else _summary(done, before_us, to))
    return 0


def _checked(to: str) -> int:
    """Compare the files of an archive with its manifest, and print those that are not as they were."""
    from app.services.archive.manifest import MANIFEST, read_manifest
    from app.store.archive.places import place_of

    place = place_of(to)
    data = place.read(MANIFEST)
    if data is None:
        raise ArchiveUnavailable(f"{place.text} has no {MANIFEST}: is it where the log is archived?")
    files, bad = read_manifest(data, place.text).files, 0
    for file in files:
        try:
            place.require_same(file)
        except ArchiveUnavailable as error:
            bad += 1
            print(error.message, file=sys.stderr)
    print(f"{counted(len(files), 'file')} in the archive at {place.text}; {bad:,} are missing or changed.")
    return 1 if bad else 0


def _before_us(args: argparse.Namespace, settings: Settings) -> int:
    if args.before is not None:
        return int(min(args.before, now_us()))
    if settings.keep_log_s is None:
        raise InvalidRequest("say up to when: --before DATE, or set KEEP_LOG (such as 90d)")
    return _kept_since_us(settings)


def _kept_since_us(settings: Settings) -> int:
    """From when on KEEP_LOG keeps rows; 0 without it."""
    # At midnight, so that each run makes one file of a whole day.
    return 0 if settings.keep_log_s is None else (now_us() - round(settings.keep_log_s * 1e6)) // _DAY_US * _DAY_US


@contextlib.contextmanager
def existing_log(settings: Settings) -> Iterator[Database]:
    """The log of these settings, within the block. Raises `StoreUnavailable` where its file does not exist."""
    database = Database(settings.store_url)
    file = database.kind.file
    if file is not None and not file.exists():
        raise StoreUnavailable(f"{file} does not exist, so nothing has been logged yet: is DATA_DIR right?")
    with contextlib.closing(database):
        yield database


@contextlib.contextmanager
def archive_lock(settings: Settings, database: Database) -> Iterator[None]:
    """The lock of those who change the archive, held within the block. Raises `Contradiction` where another has it."""
    with kinds.monitor_lock(settings.data_dir, database.kind, kinds.ARCHIVE) as lock:
        if not lock.acquire():
            raise Contradiction("this log is being archived already, or erased from: wait for that run to end")
        yield


def archiver_of(
    settings: Settings,
    database: Database,
    to: str,
    going_on: Callable[[], bool],
    progress: Callable[[str, int], None],
) -> Archiver:
    """The archiver of the store, to the place `to`. Raises `InvalidRequest` and `ArchiveUnavailable`."""
    from app.store.archive.archiver import Archiver
    from app.store.archive.cursors import cursors
    from app.store.archive.log import ArchivableLog
    from app.store.archive.places import place_of
    from app.store.archive.writing import SpanWriter
    from app.store.log_rows import LogRows

    place = place_of(to)
    log, rows = ArchivableLog(database, now_us), LogRows(database)
    writer = SpanWriter(log, *contracts_of(settings))
    return Archiver(
        log,
        place,
        writer,
        partial(cursors, database),
        lambda: rows.ends()[1],
        now_us,
        # On the disk of the archive, where that is one: that of the log may be full.
        place.folder or Path(settings.data_dir),
        going_on,
        progress,
    )


@contextlib.contextmanager
def _shown() -> Iterator[Callable[[str, int], None]]:
    """A function that shows what is done; on a terminal only."""
    columns = (TextColumn("{task.description}"), TextColumn("{task.completed:,} rows"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        tasks = {}

        def shown(what: str, seqs: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=None)
            progress.update(tasks[what], advance=seqs)

        yield shown


def _planned(plan: Plan, before_us: int, to: str) -> str:
    (after, until), (outcomes_after, outcomes_until) = plan.span.predictions, plan.span.outcomes
    why = f". Nothing further can go yet: {plan.limited_by}" if plan.limited_by else ""
    if not len(plan.span):
        return f"nothing from before {_time(before_us)} is left to archive{why}"
    return (
        f"{counted(until - after, 'prediction')} and {counted(outcomes_until - outcomes_after, 'outcome')} from "
        f"before {_time(before_us)} would go to {to} (seqs up to {until:,} and {outcomes_until:,}){why}"
    )


def _set_aside(files: Sequence[ArchivedFile], to: str) -> str:
    if not files:
        return f"the archive at {to} has no rows that the log does not know to be archived: nothing was moved"
    rows = {kind: sum(file.rows for file in files if file.kind == kind) for kind in ("predictions", "outcomes")}
    return (
        f"{counted(rows['predictions'], 'prediction')} and {counted(rows['outcomes'], 'outcome')} in "
        f"{counted(len(files), 'file')} moved to aside/ in {to}; the log goes on without them"
    )


def _summary(done: Archived, before_us: int, to: str) -> str:
    why = f". Nothing further can go yet: {done.limited_by}" if done.limited_by else ""
    if not done.files:
        return f"nothing from before {_time(before_us)} was left to archive{why}"
    return (
        f"{counted(done.predictions, 'prediction')} and {counted(done.outcomes, 'outcome')} from before "
        f"{_time(before_us)} archived to {to}: {counted(done.files, 'file')}, {done.bytes / 1e6:.1f} MB{why}"
    )


def _time(at_us: int) -> str:
    moment = datetime.fromtimestamp(at_us / 1e6, UTC)
    return moment.date().isoformat() if at_us % _DAY_US == 0 else iso_utc(at_us)


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()

    def end(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)  # a second signal ends the process: the next run goes on all the same

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    return stop
