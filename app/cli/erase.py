"""`bakeoff erase`: a person's rows leave the log and the archive, while the service runs."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from app.cli.archive import archive_lock, archiver_of, existing_log
from app.cli.decide import user_name
from app.clock import now_us
from app.domain.erasure import Erasure, Tombstones, Wanted
from app.domain.prediction_id import user_hash
from app.domain.timestamps import iso_utc
from app.errors import InvalidRequest
from app.settings import Settings
from app.store.deployment import DeploymentKey
from app.store.engine import Database
from app.store.keys import Keys, load_or_create
from app.store.stamps import stamped_at_s
from app.tables.counts import counted

if TYPE_CHECKING:
    from app.services.archive.manifest import Manifest
    from app.store.archive.erasing import Archived, ErasableArchive

# For rows that API workers had in their queues when the command began.
_QUEUED_S = 1.0
# What docker/litestream.yml keeps of replaced files.
LITESTREAM_KEEPS = timedelta(hours=168)
_MOST_LOOKED_FOR = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.epilog = (
        "Rows that fit any of the options go, with their labels and rewards. API and monitor may run meanwhile. "
        "Interrupted anywhere, the same command goes on. What an experiment has counted stays counted until "
        "`bakeoff monitor --rebuild`. docs/erasing.md says what stays, and where else the rows may be."
    )
    add = parser.add_argument
    add("--user", action="append", default=[], metavar="ID", help="a user, as the requests named it; repeatable")
    add("--key", action="append", default=[], metavar="KEY", help="an own key (`id` of a request); repeatable")
    add("--request-id", action="append", default=[], metavar="ID", help="the X-Request-Id of a request; repeatable")
    add("--dry-run", action="store_true", help="say what would go, and change nothing")
    add("--yes", action="store_true", help="do it; without this option only say what would go, with exit status 1")
    add("--actor", metavar="NAME", help="who erases, for the audit log (default: your user name)")
    add("--json", action="store_true", help="print the summary as JSON")


class _Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What was erased, or would be: rows by place and by experiment, and what is left to know."""

    store: Mapping[str, int]
    archive: Mapping[str, int]
    experiments: Mapping[str, tuple[int, int]]
    remains: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was found."""
        return not self.store and not self.archive


def run(args: argparse.Namespace) -> int:
    """Erase, and print what was. Exit status 0 also where there was nothing.

    Raises `InvalidRequest` without `--yes`, `Contradiction` while the log is archived, `StoreUnavailable`,
    `ArchiveUnavailable` and `SettingError`.
    """
    settings = Settings.from_environ()
    if not any((args.user, args.key, args.request_id)) or "" in (*args.user, *args.key, *args.request_id):
        raise InvalidRequest("say whose rows: --user ID, --key KEY or --request-id ID")
    with existing_log(settings) as database, archive_lock(settings, database):
        keys = load_or_create(settings.data_dir, settings.deployment_key_file)
        key = DeploymentKey(database, keys.fingerprint, setting=settings.key_setting)
        key.require()  # with another key nothing of theirs would be found
        wanted = _wanted(args, keys)
        work = _Work(settings, database, Tombstones(keys.erased), wanted)
        if args.dry_run or not args.yes:
            found = work.planned()
        else:
            found = work.done(args.actor or user_name(), texts=(*args.key, *args.request_id))
    if args.json:
        print(msgspec.json.encode(found).decode())
    else:
        print("\n".join(_lines(found, done=args.yes and not args.dry_run)))
    if args.yes or args.dry_run:
        return 0
    raise InvalidRequest("nothing was changed: add --yes to erase this for good")


def _wanted(args: argparse.Namespace, keys: Keys) -> Wanted:
    try:
        users = frozenset(user_hash(keys.salt, each) for each in args.user)
    except UnicodeError:
        raise InvalidRequest("a user's id must be text in UTF-8") from None
    return Wanted(users, frozenset(args.key), frozenset(args.request_id))


class _Work:
    """One run. The caller holds the lock of archiving."""

    def __init__(self, settings: Settings, database: Database, tombstones: Tombstones, wanted: Wanted) -> None:
        from app.monitor.erasing import StateCleaner, traces_of
        from app.store.archive.log import ArchivableLog
        from app.store.erasing import ErasableLog
        from app.store.erasures import Erasures

        self._settings = settings
        self._database = database
        self._tombstones = tombstones
        self._wanted = wanted
        self._log = ErasableLog(database, tombstones, traces_of, StateCleaner())
        self._notes = Erasures(database)
        self._archivable = ArchivableLog(database, now_us)
        mark = self._archivable.mark()
        self._place = settings.archive_to or (mark.place if mark else None)

    def planned(self) -> _Summary:
        """What would be erased."""
        from app.store.archive.places import place_of
        from app.store.archive.reader import ArchiveReader

        archive = None
        if self._place is not None:
            reader, mark = ArchiveReader(place_of(self._place)), self._archivable.mark()
            if mark is not None:
                reader.require(mark)
            archive = self._erasable(reader.manifest())
        archived = _archived(archive, self._wanted)
        found = self._log.found(self._wanted, now_us(), archived.found.ids)
        done = self._log.remove(self._wanted, found, archived.found, None)
        return self._summary(msgspec.structs.replace(done, archived=self._log.by_experiment(archived.found)), archived)

    def done(self, actor: str, texts: tuple[str, ...]) -> _Summary:
        """Erase, and say what was."""
        from app.store.erasing import Found

        archive = None
        if self._place is not None:
            # Half of a step of archiving must be finished first: rows would be in the log and in unlisted files.
            archiver = archiver_of(self._settings, self._database, self._place, lambda: True, lambda _what, _rows: None)
            archive = self._erasable(archiver.recover())
        until_us = now_us()
        erasure = self._notes.begin(self._wanted, self._tombstones, until_us)
        archived = _archived(archive, self._wanted)
        found = self._log.found(self._wanted, until_us, archived.found.ids)
        erasure = self._log.remove(self._wanted, found, archived.found, erasure)
        time.sleep(_QUEUED_S)
        late = self._log.found(self._wanted, until_us, archived.found.ids)
        if late.ids:
            erasure = self._log.remove(self._wanted, late, Found({}, {}), erasure)
        erasure = self._without_archived(archive, archived, erasure)
        named = [*texts, *found.ids[:_MOST_LOOKED_FOR]]
        left = self._database.kind.scrub(named)
        summary = self._summary(erasure, archived)
        what = "; ".join(_counts(summary)) or "nothing was found"
        person = self._tombstones.of_subject(self._wanted)
        self._notes.end(erasure, now_us(), actor, f"{what} (person {person}, a keyed hash)")
        return msgspec.structs.replace(
            summary, remains=(*((left,) if left else ()), *_elsewhere(self._settings, archive))
        )

    def _erasable(self, manifest: Manifest) -> ErasableArchive:
        from app.store.archive.erasing import ErasableArchive
        from app.store.archive.places import place_of

        assert self._place is not None
        place = place_of(self._place)
        return ErasableArchive(place, manifest, place.folder or Path(self._settings.data_dir))

    def _without_archived(self, archive: ErasableArchive | None, archived: Archived, erasure: Erasure) -> Erasure:
        """Take the rows out of the archive, and note how many."""
        if archive is None:
            return erasure
        if archived.files:
            # Noted first: a run that goes on after the files were replaced would find none.
            erasure = msgspec.structs.replace(erasure, archived=self._log.by_experiment(archived.found))
            self._notes.put(erasure)
            archive.rewrite(self._wanted, archived, iso_utc(now_us()))
        mark = self._archivable.mark()
        if mark is not None:
            # Whoever has read the archive reads its manifest again for a mark that is new.
            self._archivable.put_mark(archive.place, mark.predictions, mark.outcomes, mark.newest_us)
        archive.delete_replaced(archived)
        return erasure

    def _summary(self, erasure: Erasure, archived: Archived) -> _Summary:
        experiments = dict(erasure.experiments)
        for name, (rows, outcomes) in erasure.archived.items():
            before = experiments.get(name, (0, 0))
            experiments[name] = before[0] + rows, before[1] + outcomes
        counts = {
            "predictions": sum(rows for rows, _ in erasure.archived.values()),
            "outcomes": sum(outcomes for _, outcomes in erasure.archived.values()),
            "files": len(archived.files),
        }
        archive = {place: count for place, count in counts.items() if count}
        return _Summary(store=erasure.counts, archive=archive, experiments=experiments)


def _archived(archive: ErasableArchive | None, wanted: Wanted) -> Archived:
    from app.store.archive.erasing import Archived
    from app.store.erasing import Found

    return Archived(Found({}, {}), {}) if archive is None else archive.found(wanted)


def _counts(summary: _Summary) -> Iterator[str]:
    for where, counts in (("log and state", summary.store), ("archive", summary.archive)):
        if counts:
            yield f"{where}: {', '.join(f'{count:,} {place}' for place, count in counts.items())}"


def _lines(summary: _Summary, *, done: bool) -> Iterator[str]:
    if summary.is_empty:
        yield "Nothing of that is in the log or in the archive."
    else:
        yield "Erased:" if done else "Would be erased:"
        yield from (f"  {line}" for line in _counts(summary))
    for name, (rows, outcomes) in summary.experiments.items():
        of = f"experiment {name}" if name else "no experiment"
        yield f"  {of}: {counted(rows, 'prediction')}, {counted(outcomes, 'outcome')}"
    if summary.experiments:
        yield (
            "What the monitor had counted of them stays in its counts and sums, which name nobody; "
            "`bakeoff monitor --rebuild` counts without them."
        )
    yield from summary.remains


def _elsewhere(settings: Settings, archive: ErasableArchive | None) -> Iterator[str]:
    """Where else the rows may be, and until when, as far as the settings say."""
    made_s = stamped_at_s(settings.data_dir, "backup")
    if made_s is not None:
        last = datetime.fromtimestamp(made_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
        yield (
            f"Backups have the rows still, the last one of {last}: docker/deploy.sh keeps the last five in backups/, "
            "and others stay until you delete them. After restoring one, erase again."
        )
    else:
        yield "Backups that you made have the rows until you delete them. After restoring one, erase again."
    if settings.litestream_bucket:
        until = (datetime.now(UTC) + LITESTREAM_KEEPS).strftime("%Y-%m-%d %H:%M UTC")
        bucket = settings.litestream_bucket
        yield f"Litestream's copy in {bucket} has them until {until} (retention in docker/litestream.yml)."
    if settings.archive_to and settings.archive_to.startswith("s3://"):
        yield f"If the bucket of {settings.archive_to} keeps versions of objects, delete the old ones there."
    if archive is not None and archive.has_set_aside():
        yield f"Files in aside/ of the archive at {archive.place} were not searched: delete them if you can."
    yield "Files that `bakeoff export` wrote, and models trained on them, are not changed."
