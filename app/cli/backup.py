"""`bakeoff backup`: copies the log, the key and the model registry into one file, while the service runs."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import IO

from app import __version__
from app.cli.access import registry_of
from app.errors import ArtefactRefused, BackupRefused, SettingError, UnknownVersion
from app.files import written_as_a_whole
from app.inference.registry import ModelRegistry
from app.inference.retirement import retired_versions
from app.inference.storage import registry_files, storage_of
from app.services.queries.doctor import LEAST_FREE_BYTES
from app.settings import Settings
from app.store.backup import (
    ARCHIVE_MANIFEST,
    KEY,
    STORE,
    TOKEN,
    ArchivedLog,
    BackupContents,
    RestoreTargets,
    archived,
    archived_log,
    write,
)
from app.store.deployment import refusal
from app.store.engine import kind_of
from app.store.keys import load_or_create
from app.store.kinds import Kind
from app.store.sqlite import examine
from app.store.stamps import stamp


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--to",
        required=True,
        metavar="FILE|DIR|-",
        help="a .tar.gz file, a folder for a file named by the time, or - (standard output)",
    )
    parser.add_argument(
        "--without-log",
        action="store_true",
        help="only the key, the token and the model registry: for a log that is copied by Litestream or by its server",
    )
    parser.add_argument(
        "--archive",
        metavar="DIR|s3://BUCKET/PREFIX",
        help="where older rows of the log are archived (default: ARCHIVE_TO): its manifest.json is copied, its files "
        "are not",
    )


def run(args: argparse.Namespace) -> int:
    """Write the backup and print what is in it. Raises `BackupRefused`, `StoreUnavailable` and `SettingError`."""
    places, kind = places_of_state()
    settings = Settings.from_environ()
    if settings.model_bucket is not None:
        with registry_of(settings):
            pass  # the copy of the registry is what the bucket has now
    log = _archive(args.archive)
    target = None if args.to == "-" else _target(Path(args.to))
    # Beside the backup, since /tmp can be smaller than the log.
    scratch = places.data_dir if target is None else target.parent
    try:
        key = _key(places)
        refused = _refused(settings, places)
        with written_as_a_whole(target) as out:
            contents = _backup(places, key, None if args.without_log else kind, out, scratch, log)
    except OSError as error:
        raise BackupRefused(_failure(error, target)) from error
    # Standard output may be the backup itself.
    shown = sys.stderr if target is None else sys.stdout
    print(_summary(contents, target, args.without_log), file=shown)
    if log is not None:
        check = f"`bakeoff archive --check --to {log.place}` compares them with it"
        print(
            f"Of the archive at {log.place} it has the manifest, not the files: copy these yourself; {check}",
            file=shown,
        )
    for version, reason in sorted(refused.items()):
        print(
            f"warning: it has {version} as that is here, which is refused: {reason}. Keep an earlier backup, which may "
            f"have it sound; if it is of no more use, bakeoff retire {version}",
            file=sys.stderr,
        )
    # Only the reader of standard output knows whether the backup is complete there: docker/backup.sh stamps it then.
    if target is not None and not args.without_log:
        _stamp(places.data_dir)
    return 0


def _key(places: RestoreTargets) -> Path:
    """The file with the deployment's key. Raises `BackupRefused`: without one it would be made."""
    key = places.named_key or places.data_dir / KEY
    if not key.is_file():
        variable = "DATA_DIR" if places.named_key is None else "DEPLOYMENT_KEY_FILE"
        raise BackupRefused(
            f"there is no deployment key at {key}, so nothing was ever published with it: is {variable} right?"
        )
    return key


def _refused(settings: Settings, places: RestoreTargets) -> dict[str, str]:
    """Why versions that are not retired may not be served, by name. Raises `OSError`."""
    refused = {}
    with suppress(SettingError):  # of a damaged key, which is warned of
        registry = ModelRegistry(storage_of(settings), load_or_create(places.data_dir, places.named_key).registry)
        retired: Collection[str] = ()
        with suppress(ArtefactRefused):  # of the table
            retired = retired_versions(registry)
        for name in set(registry.names()).difference(retired):
            try:
                registry.verified(name)
            except ArtefactRefused as error:
                refused[name] = error.message
            except UnknownVersion:
                continue  # it has just been removed
    return refused


def _archive(named: str | None) -> ArchivedLog | None:
    """The archive that is named, else that of `ARCHIVE_TO`; None where that has none yet.

    Raises `BackupRefused`, `InvalidRequest` and `ArchiveUnavailable`.
    """
    place = named or Settings.from_environ().archive_to
    if place is None or "://" not in place:
        missing = place is None or (named is None and not (Path(place) / ARCHIVE_MANIFEST).exists())
        return None if place is None or missing else archived_log(Path(place))
    # Here: a backup without an archive on S3 does without its client.
    from app.store.archive.places import place_of

    data = place_of(place).read(ARCHIVE_MANIFEST)
    if data is None and named is not None:
        raise BackupRefused(f"{place} has no {ARCHIVE_MANIFEST}: is it where the log is archived?")
    return None if data is None else ArchivedLog(place=place, manifest=data.decode())


def places_of_state() -> tuple[RestoreTargets, Kind]:
    """The folders that hold the deployment's state, and the kind of database that holds its log.

    Raises `SettingError`.
    """
    settings = Settings.from_environ()
    kind = kind_of(settings.store_url)
    store = None if kind.file is None else kind.file.absolute()
    named_key = settings.deployment_key_file
    return RestoreTargets(settings.data_dir.absolute(), store, settings.model_dir.absolute(), named_key), kind


def _stamp(data_dir: Path) -> None:
    try:
        stamp(data_dir, "backup")
    except OSError as error:
        # The backup is complete, so this is no failure of it.
        print(f"warning: {data_dir} does not show that a backup was made ({error.strerror or error})", file=sys.stderr)


def _target(path: Path) -> Path:
    if path.is_dir():
        path /= time.strftime("bakeoff-%Y%m%dT%H%M%SZ.tar.gz", time.gmtime())
    return path.absolute()


def _backup(
    places: RestoreTargets, key: Path, kind: Kind | None, out: IO[bytes], scratch: Path, log: ArchivedLog | None
) -> BackupContents:
    if kind is not None and kind.file is not None:
        _require_room(kind.file, scratch)
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=scratch) as folder:
        files = {KEY: key, TOKEN: places.data_dir / TOKEN}
        files = {name: path for name, path in files.items() if path.is_file()}
        # The log before the registry, which only ever gains versions: so every version in the log is in the backup.
        if kind is not None and kind.snapshot(Path(folder) / STORE):
            files[STORE] = Path(folder) / STORE
            _warn_of_other_key(places, files[STORE], kind.place)
        files |= {archived(name): path for name, path in registry_files(places.model_dir).items()}
        return write(out, files, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), __version__, log)


def _warn_of_other_key(places: RestoreTargets, copy: Path, place: str) -> None:
    """Say that the key here is none, or not that of the log: it is a backup all the same, of what there is."""
    # The copy is asked, since a use of the store would make or migrate it.
    facts = examine(copy, 0.0)
    try:
        own = load_or_create(places.data_dir, places.named_key).fingerprint
    except SettingError as error:
        problem = error.message
    else:
        if facts is None or facts.key in (None, own):
            return
        problem = refusal(facts.key, own, place)
    print(f"warning: the backup has the log, and not the key that belongs to it: {problem}", file=sys.stderr)


def _require_room(store: Path, scratch: Path) -> None:
    # The copy is often made on the disk of the service: full, that records nothing more.
    log = sum(path.stat().st_size for path in (store, store.with_name(f"{store.name}-wal")) if path.exists())
    needed, free = log + LEAST_FREE_BYTES, shutil.disk_usage(scratch).free
    if free < needed:
        raise BackupRefused(
            f"{free / 1e6:,.0f} MB are free at {scratch}, and a copy of the log needs {needed / 1e6:,.0f} MB there; no "
            "backup was made: free some space, archive older rows, or use a larger volume"
        )


def _failure(error: OSError, target: Path | None) -> str:
    # The error can be about a file that was to be read, too, so "cannot be written" would not always be true.
    place = error.filename or target or "standard output"
    outcome = "what was written is not a backup" if target is None else "no backup was made"
    return f"{place}: {error.strerror or error}; {outcome}"


def _summary(contents: BackupContents, target: Path | None, without_log: bool) -> str:
    size_mb = sum(file.bytes for file in contents.files.values()) / 1e6
    versions = sorted({name.split("/")[1] for name in contents.files if name.count("/") == 2})
    reason = "as asked" if without_log else "because nothing has been recorded yet"
    log = "the log" if STORE in contents.files else f"no log, {reason}"
    which = f"versions {', '.join(versions)}" if versions else "no version"
    return (
        f"Backup written to {target or 'standard output'}: {len(contents.files)} files, {size_mb:.1f} MB uncompressed; "
        f"it has {which} and {log}"
    )
