"""Backups: a gzipped tar whose last file has the checksums of all others; written, verified, and put in place."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import re
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

import msgspec

from app.domain.manifest import REFERENCES, FileSum
from app.errors import BackupRefused
from app.files import creating

BACKUP_FORMAT = 1
CONTENTS = "backup.json"
ARCHIVE_MANIFEST = "manifest.json"
STORE, KEY, TOKEN, REGISTRY = "store.sqlite", "keys/deployment.key", "admin.token", "models"
_NAMES = re.compile(
    r"store\.sqlite|keys/deployment\.key|admin\.token|models/(?:[a-z0-9_]+/)?[A-Za-z0-9_.][A-Za-z0-9_.\-]*"
)
# In the archive the folders of later references are part of the file's name: the release before references restores no
# folder whose name has a dot, and leaves such files alone.
_REFERENCE_FILE = re.compile(r"\.references\.([a-z0-9_]+\.[1-9][0-9]*)\.([A-Za-z0-9_][A-Za-z0-9_.\-]*)")
_PIECE_BYTES = 1024 * 1024
_LARGEST_CONTENTS = 16 * 1024 * 1024
_EFFORT = 3  # of gzip, 1 to 9: the log is text, and more effort takes much longer for little
_STAGED = ".restoring"
_BESIDE_STORE = ("", "-wal", "-shm", "-journal")


class ArchivedLog(msgspec.Struct, frozen=True, kw_only=True):
    """The part of the log that is archived in the folder `place`: the text of its `manifest.json`, not its files."""

    place: str
    manifest: str


class BackupContents(msgspec.Struct, frozen=True, kw_only=True):
    """The file `backup.json`, the last of the archive: `files` has the checksums of the others by name.

    `log` is where older rows of the log are archived; None where that was not stated.
    """

    format: int = BACKUP_FORMAT
    created_at: str
    release: str
    files: Mapping[str, FileSum]
    log: ArchivedLog | None = None


def belongs(name: str) -> bool:
    """Whether a backup may have a file of that name: never one that leads out of the folders it is restored to."""
    return _NAMES.fullmatch(name) is not None and ".." not in name.split("/") and "." not in name.split("/")


def archived(path: str) -> str:
    """The name in a backup of a file of the model registry, given its path relative to the registry."""
    return f"{REGISTRY}/{path.replace('/', '.') if path.startswith(f'{REFERENCES}/') else path}"


def _registry_path(name: str) -> Path:
    """The path, relative to the registry, of the file that a backup calls `name`."""
    path = name.removeprefix(f"{REGISTRY}/")
    match = _REFERENCE_FILE.fullmatch(path)
    return Path(REFERENCES, match[1], match[2]) if match else Path(path)


def archived_log(place: Path) -> ArchivedLog:
    """The archive in the folder `place`, to be named in a backup. Raises `BackupRefused` where there is none."""
    path = place / ARCHIVE_MANIFEST
    try:
        return ArchivedLog(place=str(place.absolute()), manifest=path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise BackupRefused(f"{path}: {reason}; is {place} the folder to which the log is archived?") from error


def state_of_archive(log: ArchivedLog) -> str:
    """What a restore says of the archive that its backup names: there as it was, changed since, or missing."""
    path = Path(log.place) / ARCHIVE_MANIFEST
    try:
        same = path.read_text() == log.manifest
    except (OSError, UnicodeDecodeError):
        return f"The archive of older rows is not at {log.place}: copy it there, or they are missing from rebuilds."
    if same:
        return f"The archive of older rows is at {log.place}, with the manifest that it had."
    return f"The archive of older rows is at {log.place}, and its manifest has changed since the backup."


def write(
    out: IO[bytes], files: Mapping[str, Path], created_at: str, release: str, log: ArchivedLog | None = None
) -> BackupContents:
    """Write a backup of `files` (paths by name in the archive) to `out`; returns its contents.

    Raises `OSError`, and `BackupRefused` where the manifest of the archived `log` is too long.
    """
    sums: dict[str, FileSum] = {}
    with (
        gzip.GzipFile(fileobj=out, mode="wb", compresslevel=_EFFORT) as packed,
        tarfile.open(fileobj=packed, mode="w|", bufsize=_PIECE_BYTES) as archive,
    ):
        for name, path in files.items():
            with path.open("rb") as file:
                entry = _entry(name, os.fstat(file.fileno()).st_size)
                counted = _Summed(file)
                archive.addfile(entry, counted)
                sums[name] = FileSum(sha256=counted.sha256.hexdigest(), bytes=entry.size)
        contents = BackupContents(created_at=created_at, release=release, files=sums, log=log)
        data = msgspec.json.format(msgspec.json.encode(contents), indent=2)
        if len(data) > _LARGEST_CONTENTS:  # a restore would read no more, and refuse it
            raise BackupRefused(f"{CONTENTS} would have more than {_LARGEST_CONTENTS:,} bytes")
        archive.addfile(_entry(CONTENTS, len(data)), io.BytesIO(data))
    return contents


def unpack(source: IO[bytes], place: Callable[[str], Path]) -> BackupContents:
    """Write each file of a backup to the path that `place` gives for its name, synced, and verify its checksum.

    Raises `BackupRefused` where it is no backup, is cut short or was changed, and `OSError`.
    """
    try:
        with gzip.GzipFile(fileobj=source) as packed:
            with tarfile.open(fileobj=packed, mode="r|") as archive:
                found, text = _unpacked(archive, place)
            while packed.read(_PIECE_BYTES):
                pass  # to the end of the file: only there does gzip notice that something is missing
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BackupRefused(f"it is not a backup, or was cut short: {error}") from error
    contents = _contents(text)
    if found != contents.files:
        wrong = sorted(name for name in found.keys() | contents.files if found.get(name) != contents.files.get(name))
        raise BackupRefused(f"these files do not match the backup's own list: {', '.join(wrong[:5])}")
    return contents


def _unpacked(archive: tarfile.TarFile, place: Callable[[str], Path]) -> tuple[dict[str, FileSum], bytes | None]:
    found: dict[str, FileSum] = {}
    contents: bytes | None = None
    for entry in archive:
        file = archive.extractfile(entry) if entry.isreg() else None
        if file is None or not (entry.name == CONTENTS or belongs(entry.name)):
            raise BackupRefused(f"it holds {entry.name!r}, which no backup has")
        if entry.name == CONTENTS:
            contents = file.read(_LARGEST_CONTENTS)
        else:
            found[entry.name] = _write(
                file, place(entry.name), 0o644 if entry.name.startswith(f"{REGISTRY}/") else 0o600
            )
    return found, contents


def _write(file: IO[bytes], path: Path, mode: int) -> FileSum:
    path.parent.mkdir(parents=True, exist_ok=True)
    summed = _Summed(file)
    size = 0
    with creating(path, mode) as written:
        while piece := summed.read(_PIECE_BYTES):
            written.write(piece)
            size += len(piece)
    return FileSum(sha256=summed.sha256.hexdigest(), bytes=size)


def _contents(text: bytes | None) -> BackupContents:
    if text is None:
        raise BackupRefused(f"it has no {CONTENTS}: it is not a backup, or was cut short")
    try:
        contents = msgspec.json.decode(text, type=BackupContents)
    except msgspec.DecodeError as error:
        raise BackupRefused(f"its {CONTENTS} cannot be read: {error}") from error
    if contents.format != BACKUP_FORMAT:
        raise BackupRefused(
            f"its format is {contents.format}, and this release reads {BACKUP_FORMAT}: restore it with release "
            f"{contents.release}"
        )
    return contents


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o600
    return entry


class _Summed:
    """A file to read from, with the checksum of the bytes that were read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Up to `size` further bytes; all where it is negative."""
        data = self._file.read(size)
        self.sha256.update(data)
        return data


class RestoreTargets(msgspec.Struct, frozen=True):
    """Where a deployment keeps its state: data folder, the store's file (None for a server), model registry, and the
    file that DEPLOYMENT_KEY_FILE names (None: the key is in the data folder)."""

    data_dir: Path
    store: Path | None
    model_dir: Path
    named_key: Path | None = None

    def of(self, name: str) -> tuple[Path, Path]:
        """The root folder, and the path below it, of the file that a backup calls `name`."""
        if name == STORE and self.store is not None:
            return self.store.parent, Path(self.store.name)
        if name.startswith(f"{REGISTRY}/"):
            return self.model_dir, _registry_path(name)
        return self.data_dir, Path(name)

    def staged(self, name: str) -> Path:
        """Where that file is unpacked first, until all files are verified."""
        # Below its own root: a rename works only within one file system.
        root, path = self.of(name)
        return root / _STAGED / path

    def roots(self) -> list[Path]:
        """The root folders, once each."""
        places = (self.data_dir, self.store.parent if self.store else self.data_dir, self.model_dir)
        return [*dict.fromkeys(places)]


def existing_files(places: RestoreTargets) -> list[Path]:
    """The present files that a restore would replace: the store, the key, the token, every version."""
    store = places.store
    beside = [store.with_name(store.name + suffix) for suffix in _BESIDE_STORE] if store else []
    kept = [places.data_dir / KEY, places.data_dir / TOKEN]
    registry = places.model_dir.iterdir() if places.model_dir.is_dir() else ()
    # Other names with a dot are the registry's own: locks and the like.
    published = [path for path in registry if not path.name.startswith(".") or path.name == REFERENCES]
    return [*(path for path in (*beside, *kept) if path.exists()), *published]


@contextlib.contextmanager
def staging(places: RestoreTargets) -> Iterator[None]:
    """Empty staging folders for the block, which are removed at its end."""
    folders = [root / _STAGED for root in places.roots()]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    try:
        yield
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def put_in_place(
    places: RestoreTargets, names: Iterable[str], stamp: str, commit: Callable[[], None] = lambda: None
) -> list[Path]:
    """Move the present files aside and the staged files of these names in; returns the folders with the former files.

    `commit` is called last: it restores the log where a server has it. If it or a move fails, all moves are undone, and
    the `OSError` or `StoreUnavailable` is raised.
    """
    done: list[tuple[Path, Path]] = []
    units = {_unit(places, name) for name in names if name != STORE or places.store is not None}
    try:
        aside = {_aside(places, path, stamp, done) for path in existing_files(places)}
        for root, unit in sorted(units):
            _move(root / _STAGED / unit, root / unit, done)
        commit()
    except Exception:
        for source, target in reversed(done):
            target.rename(source)
        raise
    return sorted(aside)


def _unit(places: RestoreTargets, name: str) -> tuple[Path, Path]:
    """The root, and the path below it that is moved as one: a version's folder, or the file."""
    root, path = places.of(name)
    return (root, Path(path.parts[0])) if name.startswith(f"{REGISTRY}/") else (root, path)


def _aside(places: RestoreTargets, path: Path, stamp: str, done: list[tuple[Path, Path]]) -> Path:
    root = max((root for root in places.roots() if path.is_relative_to(root)), key=lambda root: len(root.parts))
    folder = root / f".replaced-{stamp}"
    _move(path, folder / path.relative_to(root), done)
    return folder


def _move(source: Path, target: Path, done: list[tuple[Path, Path]]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    source.rename(target)
    done.append((source, target))
