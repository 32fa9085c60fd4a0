"""The manifest of an archive: its files, what is in each, and how far the archive goes."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from app.errors import ArchiveUnavailable

MANIFEST = "manifest.json"
MANIFEST_FORMAT = 1
# The folder of files that were taken out, each time in one of its own with a manifest.
ASIDE = "aside"
# Raised when a column changes its name, type or meaning; not when one is added. Those before stay readable.
ARCHIVE_SCHEMA = 2
FileKind: TypeAlias = Literal["predictions", "outcomes"]


class ArchivedFile(msgspec.Struct, frozen=True):
    """A file of one day (UTC): of serving for predictions, of arrival for outcomes.

    Its rows are in the order of their seqs, from `first_seq` to `last_seq`; those between that it lacks are of another
    day. `first_us` and `last_us` are the earliest and the latest time (µs since 1970), `first_id` and `last_id` the
    least and the greatest prediction id. `erased` rows were taken out since the file was first written, in `revision`
    steps, each of which replaced the file.
    """

    name: str
    kind: FileKind
    day: str
    rows: int
    first_seq: int
    last_seq: int
    first_us: int
    last_us: int
    first_id: str
    last_id: str
    bytes: int
    sha256: str
    schema: int = 1
    erased: int = 0
    revision: int = 0


class Manifest(msgspec.Struct, frozen=True):
    """What an archive has: predictions and outcomes of the log up to these seqs, in `files`, in the order of seqs.

    `log` is the number of the log; None where an earlier release wrote the archive.
    """

    format: int = MANIFEST_FORMAT
    written_at: str = ""
    predictions: int = 0
    outcomes: int = 0
    files: tuple[ArchivedFile, ...] = ()
    log: int | None = None

    def of(self, kind: FileKind) -> list[ArchivedFile]:
        """The files of a kind, by their first seq."""
        return sorted((file for file in self.files if file.kind == kind), key=lambda file: file.first_seq)

    def since(self, predictions: int, outcomes: int) -> list[ArchivedFile]:
        """The files with rows behind these seqs."""
        ends = {"predictions": predictions, "outcomes": outcomes}
        return [file for file in self.files if file.last_seq > ends[file.kind]]


def read_manifest(data: bytes | None, place: str) -> Manifest:
    """The manifest in a file; an empty one where there is no file. Raises `ArchiveUnavailable` that names `place`."""
    if data is None:
        return Manifest()
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError as error:
        raise ArchiveUnavailable(f"{MANIFEST} of the archive at {place} cannot be read: {error}") from error
    if manifest.format != MANIFEST_FORMAT:
        raise ArchiveUnavailable(
            f"the archive at {place} has format {manifest.format}, and this release reads {MANIFEST_FORMAT}: use the "
            "release that wrote it, or a later one"
        )
    newer = next((file for file in manifest.files if file.schema > ARCHIVE_SCHEMA), None)
    if newer is not None:
        raise ArchiveUnavailable(
            f"{newer.name} in the archive at {place} has schema {newer.schema}, and this release reads up to "
            f"{ARCHIVE_SCHEMA}: use the release that wrote it, or a later one"
        )
    return manifest


def written(manifest: Manifest) -> bytes:
    """The file of a manifest."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1)


def file_name(kind: FileKind, day: str, first_seq: int, last_seq: int, revision: int = 0) -> str:
    """The name, relative to the archive's root, of a file of that day with seqs of a span."""
    again = f"-r{revision}" if revision else ""
    return f"{kind}/day={day}/{first_seq:012d}-{last_seq:012d}{again}.parquet"
