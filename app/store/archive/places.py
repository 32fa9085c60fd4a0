"""Where an archive is: a folder, or a prefix of a bucket on S3."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs

from app.errors import ArchiveUnavailable, InvalidRequest
from app.files import creating, sync_folder
from app.services.archive.manifest import ArchivedFile

DRAFTS = ".archive-"
_PIECE_BYTES = 4 * 1024 * 1024


class Place:
    """The files of an archive, by their names relative to its root. Raises `ArchiveUnavailable`.

    A file appears as a whole or not at all, and survives a crash once it was put. `folder` is the root on a local disk,
    None on S3.
    """

    def __init__(self, text: str, filesystem: fs.FileSystem, root: str, folder: Path | None) -> None:
        self.text = text
        self._files = filesystem
        self._root = root
        self.folder = folder

    def read(self, name: str) -> bytes | None:
        """The content of a file; None where there is none."""
        with self._own_errors(name):
            try:
                with self._files.open_input_file(self._path(name)) as file:
                    return bytes(file.read())
            except FileNotFoundError:
                return None

    def open(self, name: str) -> Any:
        """A file to read parts of; close it at the end."""
        with self._own_errors(name):
            return self._files.open_input_file(self._path(name))

    def is_same(self, file: ArchivedFile) -> bool:
        """Whether a file has the size and the SHA-256 that its list says."""
        with self._own_errors(file.name):
            return sum_of(self._files.open_input_file(self._path(file.name))) == (file.bytes, file.sha256)

    def require_same(self, file: ArchivedFile, advice: str = "put back a copy of it") -> None:
        """Raise `ArchiveUnavailable`, with the advice, where a file is not as its list says."""
        if not self.is_same(file):
            raise ArchiveUnavailable(f"{file.name} in the archive at {self.text} is not as it was written: {advice}")

    def put(self, name: str, source: Path) -> None:
        """Copy the file at `source` to that name; a former one is replaced."""
        with self._own_errors(name), source.open("rb") as data:
            if self.folder is None:
                with self._files.open_output_stream(self._path(name)) as target:
                    while piece := data.read(_PIECE_BYTES):
                        target.write(piece)
                return
            self._put_in_folder(self.folder / name, data)

    def sizes(self) -> dict[str, int]:
        """The names of all files, and their bytes."""
        with self._own_errors(""):
            found = self._files.get_file_info(fs.FileSelector(self._root, recursive=True, allow_not_found=True))
            files = (each for each in found if each.type == fs.FileType.File)
            return {each.path[len(self._root) + 1 :]: each.size for each in files}

    def delete(self, name: str) -> None:
        """Delete a file."""
        with self._own_errors(name):
            self._files.delete_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _put_in_folder(self, target: Path, data: Any) -> None:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = target.with_name(f".{target.name}.draft")
        draft.unlink(missing_ok=True)  # of a process that was killed here
        with creating(draft, 0o600) as file:
            while piece := data.read(_PIECE_BYTES):
                file.write(piece)
        draft.replace(target)
        sync_folder(target.parent)
        sync_folder(target.parent.parent)

    @contextmanager
    def _own_errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise ArchiveUnavailable(f"the archive at {self.text} has no file {name}, which its list has") from error
        except (OSError, pa.ArrowException) as error:
            reason = " ".join(str(error).split())[:300]
            where = f"{name} in the archive at {self.text}" if name else f"the archive at {self.text}"
            raise ArchiveUnavailable(f"{where} cannot be used: {reason}") from error


@contextmanager
def drafts_in(folder: Path, advice: str) -> Iterator[Path]:
    """A new folder in `folder` for drafts of files, deleted at the end.

    Raises `ArchiveUnavailable`, with the advice, where they cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(prefix=DRAFTS, dir=folder) as own:
            yield Path(own)
    except OSError as error:
        raise ArchiveUnavailable(
            f"drafts of files cannot be written to {folder}: {error.strerror or error}. {advice}"
        ) from error


def place_of(text: str) -> Place:
    """The place that is named: a folder, or `s3://BUCKET/PREFIX`. Touches nothing.

    Raises `InvalidRequest` where it is neither, and `ArchiveUnavailable` where the client of S3 cannot be made.
    """
    if "://" not in text:
        folder = Path(text).absolute()
        return Place(str(folder), fs.LocalFileSystem(), str(folder), folder)
    if not text.startswith("s3://") or not text.removeprefix("s3://").strip("/"):
        raise InvalidRequest(f"{text!r} is no place for an archive: give a folder, or s3://BUCKET/PREFIX")
    try:
        # The region and the credentials are those that the usual variables of AWS and the host say.
        filesystem, root = fs.FileSystem.from_uri(text)
        # Where a server says nothing, the client of an address tries for 99 seconds, which hold a thread of the api. A
        # copy tries three times, as one that is made with options does: 11 seconds.
        quick = copy(filesystem)
        # What a copy loses (`tls_verify_certificates=false`) is kept, with the long wait.
        filesystem = quick if quick.equals(filesystem) else filesystem
    except (OSError, pa.ArrowException) as error:
        raise ArchiveUnavailable(f"the archive at {text} cannot be used: {error}") from error
    return Place(text.split("?")[0], filesystem, root.rstrip("/"), None)


def sum_of(file: object) -> tuple[int, str]:
    """The size in bytes, and the SHA-256, of what is left to read of an open file; closes it."""
    size, digest = 0, hashlib.sha256()
    with file:  # type: ignore[attr-defined]
        while piece := file.read(_PIECE_BYTES):  # type: ignore[attr-defined]
            size += len(piece)
            digest.update(piece)
    return size, digest.hexdigest()
