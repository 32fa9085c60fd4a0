"""Write and read a backup: a gzipped tar whose last file holds the checksums of all others."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

import msgspec

from app.domain.backup import BACKUP_FORMAT, CONTENTS, SHELF, BackupContents, belongs
from app.domain.manifest import FileSum
from app.errors import BackupRefused

_PIECE_BYTES = 1024 * 1024
_LARGEST_CONTENTS = 16 * 1024 * 1024
_EFFORT = 3  # of gzip: the log is text, and more effort takes long for little


def write(out: IO[bytes], files: Mapping[str, Path], created_at: str, release: str) -> BackupContents:
    """Write `files` (name in the archive: where it is now) to `out`. Raises `OSError`."""
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
        contents = BackupContents(created_at=created_at, release=release, files=sums)
        data = msgspec.json.format(msgspec.json.encode(contents), indent=2)
        archive.addfile(_entry(CONTENTS, len(data)), io.BytesIO(data))
    return contents


def unpack(source: IO[bytes], place: Callable[[str], Path]) -> BackupContents:
    """Write the files of a backup to where `place` says for each name, synced, and compare each with its checksum.

    Raises `BackupRefused` where it is no backup, is cut short or was changed, and `OSError` for the disk.
    """
    try:
        with gzip.GzipFile(fileobj=source) as packed:
            with tarfile.open(fileobj=packed, mode="r|") as archive:
                found, text = _unpacked(archive, place)
            while packed.read(_PIECE_BYTES):
                pass  # to the end: there gzip finds out whether something is missing
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BackupRefused(f"it is not a backup, or was cut short: {error}") from error
    contents = _contents(text)
    if found != contents.files:
        wrong = sorted(name for name in found.keys() | contents.files if found.get(name) != contents.files.get(name))
        raise BackupRefused(f"its files are not those that were backed up: {', '.join(wrong[:5])}")
    return contents


def _unpacked(archive: tarfile.TarFile, place: Callable[[str], Path]) -> tuple[dict[str, FileSum], bytes | None]:
    found: dict[str, FileSum] = {}
    contents: bytes | None = None
    for entry in archive:
        file = archive.extractfile(entry) if entry.isreg() else None
        if file is None or not (entry.name == CONTENTS or belongs(entry.name)):
            raise BackupRefused(f"{entry.name!r} has no place in a backup")
        if entry.name == CONTENTS:
            contents = file.read(_LARGEST_CONTENTS)
        else:
            found[entry.name] = _write(file, place(entry.name), 0o644 if entry.name.startswith(f"{SHELF}/") else 0o600)
    return found, contents


def _write(file: IO[bytes], path: Path, mode: int) -> FileSum:
    path.parent.mkdir(parents=True, exist_ok=True)
    summed = _Summed(file)
    size = 0
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as written:
        while piece := summed.read(_PIECE_BYTES):
            written.write(piece)
            size += len(piece)
        written.flush()
        os.fsync(written.fileno())
    return FileSum(sha256=summed.sha256.hexdigest(), bytes=size)


def _contents(text: bytes | None) -> BackupContents:
    if text is None:
        raise BackupRefused(f"it has no {CONTENTS}: it is not a backup, or was cut short")
    try:
        contents = msgspec.json.decode(text, type=BackupContents)
    except msgspec.DecodeError as error:
        raise BackupRefused(f"its {CONTENTS} cannot be read: {error}") from error
    if contents.format != BACKUP_FORMAT:
        raise BackupRefused(f"its format is {contents.format}, this release reads {BACKUP_FORMAT}")
    return contents


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o600
    return entry


class _Summed:
    """Reads a file and sums what was read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        data = self._file.read(size)
        self.sha256.update(data)
        return data
