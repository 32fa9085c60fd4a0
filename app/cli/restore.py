"""`bakeoff restore`: restores a backup, completely or not at all, while nothing runs on the data."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

from app.cli import doctor
from app.cli.backup import places_of_state
from app.errors import BackupRefused, Contradiction
from app.inference.storage import LAST_ORDINAL, keep_last_ordinal, last_ordinal
from app.settings import Settings
from app.store.backup import (
    KEY,
    STORE,
    BackupContents,
    RestoreTargets,
    existing_files,
    put_in_place,
    staging,
    state_of_archive,
    unpack,
)
from app.store.host_files import SharedProgress
from app.store.kinds import Kind, monitor_lock


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("source", metavar="FILE|-", help="a file that `bakeoff backup` wrote, or - (standard input)")
    parser.add_argument("--force", action="store_true", help="move existing data aside instead of refusing")


def run(args: argparse.Namespace) -> int:
    """Restore the log, the key and the model registry, then check them as `bakeoff doctor` does.

    The exit status is 1 if a check finds something broken. Raises `BackupRefused` if the backup is damaged, if there
    are data and no `--force`, or if the registry is on S3; `Contradiction` if a monitor or an API runs;
    `StoreUnavailable` and `SettingError`.
    """
    places, kind = places_of_state()
    bucket = Settings.from_environ().model_bucket
    if bucket is not None:
        raise BackupRefused(
            f"the model registry is at {bucket}, where a restore could not put all files in place at once: set "
            "MODEL_DIR to a folder for this command, and then copy that folder to the bucket"
        )
    try:
        with _exclusive(places, kind), _opened(args.source) as source:
            contents, aside = _restored(places, kind, source, force=args.force)
    except OSError as error:
        place = error.filename or args.source
        raise BackupRefused(f"{place}: {error.strerror or error}; nothing was changed") from error
    print(f"Restored: {len(contents.files)} files of {contents.created_at}, written by release {contents.release}.")
    if contents.log is not None:
        place = contents.log.place
        is_folder = "://" not in place
        print(state_of_archive(contents.log) if is_folder else f"The archive of older rows is at {place}.")
        print(f"`bakeoff archive --check --to {place}` compares its files with its manifest.")
    for place in aside:
        print(f"The former data are in {place}: remove them once you no longer need them.")
    return doctor.show(doctor.of_state())


def _restored(
    places: RestoreTargets, kind: Kind, source: IO[bytes], *, force: bool
) -> tuple[BackupContents, list[str]]:
    """The contents that were restored, and the places that hold the former data."""
    in_server = _refuse_to_overwrite(places, kind, force=force)
    given_away, stamp = last_ordinal(places.model_dir), _stamp()
    with staging(places):
        contents = _unpacked(source, places)
        _require_named_key(places)
        with _server_restored(kind, places.staged(STORE), f"replaced-{stamp}") as commit:
            aside = [str(folder) for folder in put_in_place(places, contents.files, stamp, commit)]
    _keep_ordinal(places, given_away)
    if in_server and STORE in contents.files:
        aside.append(f"the schema replaced-{stamp} of {kind.place}")
    return contents, aside


def _refuse_to_overwrite(places: RestoreTargets, kind: Kind, *, force: bool) -> bool:
    """Whether a database server has a log. Raises `BackupRefused` if there are any data and no `force`."""
    in_server = kind.server is not None and kind.server.has_store()
    existing = [*map(str, existing_files(places)), *([kind.place] if in_server else [])]
    if existing and not force:
        raise BackupRefused(f"{existing[0]} exists already: add --force to move the existing data aside")
    return in_server


def _unpacked(source: IO[bytes], places: RestoreTargets) -> BackupContents:
    try:
        return unpack(source, places.staged)
    except BackupRefused as error:
        raise BackupRefused(f"{source.name}: {error.message}; nothing was changed") from error


def _require_named_key(places: RestoreTargets) -> None:
    """Raise `BackupRefused` where DEPLOYMENT_KEY_FILE names another key than the backup has."""
    staged, named = places.staged(KEY), places.named_key
    if named is None or not staged.is_file():
        return
    if staged.read_text().split() != named.read_text().split():
        raise BackupRefused(
            f"the backup was made with another key than {named}, which DEPLOYMENT_KEY_FILE names: mount the "
            "key of that deployment. Nothing was changed"
        )


def _server_restored(kind: Kind, store: Path, aside: str) -> AbstractContextManager[Callable[[], None]]:
    """The restore of the log in a server, which the block commits; does nothing if the log is a file."""
    # A backup that was made before the first start has no log: then the server's is left as it is.
    if kind.server is None or not store.is_file():
        return contextlib.nullcontext(lambda: None)
    return kind.server.restoring(store, aside)


def _keep_ordinal(places: RestoreTargets, given_away: int) -> None:
    # Prediction ids of versions published since the backup are still in use: their ordinals must not name others.
    try:
        keep_last_ordinal(places.model_dir, given_away)
    except OSError as error:
        # By now the data are replaced, so `run` must not say that nothing was changed.
        raise BackupRefused(
            f"the backup is restored, but {places.model_dir / LAST_ORDINAL} could not be written "
            f"({error.strerror or error}): write {given_away} into it before you publish another version"
        ) from error


@contextlib.contextmanager
def _exclusive(places: RestoreTargets, kind: Kind) -> Iterator[None]:
    """Keeps monitors out for the block. Raises `Contradiction` if a monitor or an API works on the data."""
    # With the monitor's lock, a monitor that starts in between waits until the restore is complete.
    with monitor_lock(places.data_dir, kind) as lock:
        alone = lock.acquire()
        # The hosts come first: where a monitor runs a server cannot say, and mostly it is one of them.
        hosts = [] if kind.server is None else kind.server.live_hosts()
        if hosts:
            also = "" if alone else "; a monitor, or another restore, works on it too"
            raise Contradiction(
                f"an API uses {kind.place} on {', '.join(hosts)} (for a container its id): stop it there first. If it "
                f"was killed, try again in 15 s{also}"
            )
        if SharedProgress(places.data_dir / "progress").alive():
            raise Contradiction(f"an API runs on {places.data_dir}: stop it first")
        if not alone:
            where = places.data_dir if kind.server is None else f"{kind.place}, on this or another host"
            raise Contradiction(f"a monitor runs on {where}, or another restore: stop it first")
        yield


@contextlib.contextmanager
def _opened(source: str) -> Iterator[IO[bytes]]:
    if source == "-":
        yield sys.stdin.buffer
        return
    with Path(source).open("rb") as file:
        yield file


def _stamp() -> str:
    # To the microsecond, because two restores must not move data aside to the same place.
    return datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S.%fZ")
