"""`python -m app restore`: put a backup back, whole or not at all, while nothing runs on the data."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from app.domain.backup import BackupContents
    from app.store.putting_back import Homes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("source", metavar="FILE|-", help="what `backup` wrote; - for standard input")
    parser.add_argument(
        "--force", action="store_true", help="move what is in DATA_DIR and MODEL_DIR aside, instead of refusing"
    )


def run(args: argparse.Namespace) -> int:
    """Verify the checksums, put the log, the key and the shelf back, and let the doctor look at them.

    1 where something is broken, then or now. What was there before is kept beside it.
    """
    from app.cli import doctor
    from app.cli.backup import homes_of_settings
    from app.errors import BackupRefused

    homes = homes_of_settings()
    try:
        with _alone(homes), _opened(args.source) as source:
            contents, aside = _restored(homes, source, force=args.force)
    except OSError as error:
        place = error.filename or args.source
        raise BackupRefused(f"{place}: {error.strerror or error}; nothing was changed") from error
    print(f"Put back: {len(contents.files)} files of {contents.created_at}, written by release {contents.release}.")
    for folder in aside:
        print(f"What was there before is in {folder}: remove it when you are sure.")
    return doctor.show(doctor.of_state())


def _restored(homes: Homes, source: IO[bytes], *, force: bool) -> tuple[BackupContents, list[Path]]:
    from app.errors import BackupRefused
    from app.inference.shelf_files import keep_last_ordinal, last_ordinal
    from app.store.archive import unpack
    from app.store.putting_back import put_back, staging, standing

    there = standing(homes)
    if there and not force:
        raise BackupRefused(f"{there[0]} is there already: nothing is overwritten without --force")
    given_away = last_ordinal(homes.model_dir)
    with staging(homes):
        contents = unpack(source, homes.staged)
        aside = put_back(homes, contents.files, _stamp())
    # Ids of versions published since the backup are still out there: their numbers must not name others.
    keep_last_ordinal(homes.model_dir, given_away)
    return contents, aside


@contextlib.contextmanager
def _alone(homes: Homes) -> Iterator[None]:
    """Nothing else works on the data. Raises `Contradiction`."""
    from app.errors import Contradiction
    from app.monitor.lock import MonitorLock
    from app.store.progress import SharedProgress

    with MonitorLock(homes.data_dir) as lock:
        if not lock.acquire():
            raise Contradiction(f"a monitor runs on {homes.data_dir}: stop it first")
        if SharedProgress(homes.data_dir / "progress").alive():
            raise Contradiction(f"an api runs on {homes.data_dir}: stop it first")
        yield


@contextlib.contextmanager
def _opened(source: str) -> Iterator[IO[bytes]]:
    if source == "-":
        yield sys.stdin.buffer
        return
    with Path(source).open("rb") as file:
        yield file


def _stamp() -> str:
    """The time, to the microsecond: one restore must not put things aside where another did."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S.%fZ")
