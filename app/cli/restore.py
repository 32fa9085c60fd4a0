"""`bakeoff restore`: restore a backup, completely or not at all, while nothing runs on the data."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from app.store.backup import BackupContents, RestoreTargets
    from app.store.kinds import Kind


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("source", metavar="FILE|-", help="a file that `bakeoff backup` wrote, or - (stdin)")
    parser.add_argument("--force", action="store_true", help="move existing data aside instead of refusing")


def run(args: argparse.Namespace) -> int:
    """Verify the checksums, restore the log, the key and the model registry, and run the doctor's checks on them.

    1 where something is broken, then or now. The former data are kept beside the restored ones.
    """
    from app.cli import doctor
    from app.cli.backup import restore_targets_of
    from app.errors import BackupRefused

    homes, kind = restore_targets_of()
    try:
        with _alone(homes, kind), _opened(args.source) as source:
            contents, aside = _restored(homes, kind, source, force=args.force)
    except OSError as error:
        place = error.filename or args.source
        raise BackupRefused(f"{place}: {error.strerror or error}; nothing was changed") from error
    print(f"Restored: {len(contents.files)} files of {contents.created_at}, written by release {contents.release}.")
    for place in aside:
        print(f"The former data are in {place}: remove them once you no longer need them.")
    return doctor.show(doctor.of_state())


def _restored(homes: RestoreTargets, kind: Kind, source: IO[bytes], *, force: bool) -> tuple[BackupContents, list[str]]:
    """The contents that were restored, and the folders that hold the former data."""
    from app.inference.registry import keep_last_ordinal, last_ordinal
    from app.store.backup import STORE, put_back, staging, unpack

    in_server = _refuse_to_overwrite(homes, kind, force=force)
    given_away, stamp = last_ordinal(homes.model_dir), _stamp()
    with staging(homes):
        contents = unpack(source, homes.staged)
        with _taken_in(kind, homes.staged(STORE), f"replaced-{stamp}") as commit:
            aside = [str(folder) for folder in put_back(homes, contents.files, stamp, commit)]
    # Ids of versions published since the backup are still out there: their numbers must not name others.
    keep_last_ordinal(homes.model_dir, given_away)
    return contents, [*aside, *([f"the schema replaced-{stamp} of {kind.place}"] if in_server else [])]


def _refuse_to_overwrite(homes: RestoreTargets, kind: Kind, *, force: bool) -> bool:
    """Whether a server has a log already. Raises `BackupRefused` where anything is there, without `force`."""
    from app.errors import BackupRefused
    from app.store.backup import standing

    in_server = kind.is_there()
    there = [*map(str, standing(homes)), *([kind.place] if in_server else [])]
    if there and not force:
        raise BackupRefused(f"{there[0]} is there already: nothing is overwritten without --force")
    return in_server


def _taken_in(kind: Kind, store: Path, aside: str) -> AbstractContextManager[Callable[[], None]]:
    """A backup that was made before the first start has no log: then a server's is left as it is."""
    return kind.taking_in(store, aside) if store.is_file() else contextlib.nullcontext(lambda: None)


@contextlib.contextmanager
def _alone(homes: RestoreTargets, kind: Kind) -> Iterator[None]:
    """Nothing else works on the data. Raises `Contradiction`."""
    from app.errors import Contradiction
    from app.monitor.lock import monitor_lock
    from app.store.host_files import SharedProgress

    with monitor_lock(homes.data_dir, kind) as lock:
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
