"""`bakeoff backup`: one file with everything that cannot be made again, while the service runs."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from app import __version__
from app.store.backup import KEY, REGISTRY, STORE, TOKEN

if TYPE_CHECKING:
    from app.store.backup import BackupContents, RestoreTargets
    from app.store.kinds import Kind


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--to",
        required=True,
        metavar="FILE|DIR|-",
        help="a .tar.gz file, a folder for one named by the time, or - (stdout)",
    )


def run(args: argparse.Namespace) -> int:
    """Copy the log, the key and the model registry. Only the owner can read the file: the key in it signs versions.

    The log is copied as of one moment, then the registry, which only ever gains versions.
    """
    from app.errors import BackupRefused

    homes, kind = restore_targets_of()
    target = None if args.to == "-" else _target(Path(args.to))
    try:
        with _written(target) as out:
            contents = _backup(homes, kind, out, homes.data_dir if target is None else target.parent)
    except OSError as error:
        place = error.filename or target or "standard output"
        raise BackupRefused(f"{place} cannot be written: {error.strerror}") from error
    size = sum(file.bytes for file in contents.files.values())
    versions = sorted({name.split("/")[1] for name in contents.files if name.count("/") == 2})
    print(
        f"{target or 'Standard output'}: {len(contents.files)} files, {size / 1e6:.1f} MB unpacked; "
        f"versions {', '.join(versions) or 'none'}; the log {'is' if STORE in contents.files else 'is not yet'} there",
        file=sys.stderr if target is None else sys.stdout,
    )
    return 0


def restore_targets_of() -> tuple[RestoreTargets, Kind]:
    """Where the state of the deployment is that the settings describe, and what its log is. Raises `SettingError`."""
    from app.settings import Settings
    from app.store.backup import RestoreTargets
    from app.store.kinds import kind_of

    settings = Settings.from_environ()
    kind = kind_of(settings.store_url)
    store = None if kind.file is None else kind.file.absolute()
    return RestoreTargets(settings.data_dir.absolute(), store, settings.model_dir.absolute()), kind


def _target(path: Path) -> Path:
    if path.is_dir():
        path /= time.strftime("bakeoff-%Y%m%dT%H%M%SZ.tar.gz", time.gmtime())
    return path.absolute()


@contextlib.contextmanager
def _written(target: Path | None) -> Iterator[IO[bytes]]:
    """The file to write to; it gets its name when it is whole, and never replaces another before."""
    if target is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.rename(target)
    finally:
        draft.unlink(missing_ok=True)


def _backup(homes: RestoreTargets, kind: Kind, out: IO[bytes], room: Path) -> BackupContents:
    """Write everything; the copy of the log is made in a folder of its own under `room`, not on a small /tmp."""
    from app.errors import BackupRefused
    from app.inference.registry import registry_files
    from app.store.backup import write

    if not (homes.data_dir / KEY).is_file():
        raise BackupRefused(f"{homes.data_dir} holds no key, so nothing was ever served from it: is DATA_DIR right?")
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=room) as folder:
        files = {name: homes.data_dir / name for name in (KEY, TOKEN) if (homes.data_dir / name).is_file()}
        if kind.snapshot(Path(folder) / STORE):
            files[STORE] = Path(folder) / STORE
        files |= {f"{REGISTRY}/{name}": path for name, path in registry_files(homes.model_dir).items()}
        return write(out, files, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), __version__)
