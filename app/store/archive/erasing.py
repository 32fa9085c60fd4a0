"""Takes a person's rows out of an archive: files that have any are written again without them, under other names.

New files are written, read back and compared with the old ones less these rows. Then one rename of the manifest puts
all of them in force, and only after that the old ones are deleted. What a killed run leaves is not listed, and is
deleted by the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from app.domain.erasure import Wanted
from app.domain.log_event import PredictionRow
from app.errors import ArchiveUnavailable
from app.services.archive.columns import REPLAYED
from app.services.archive.manifest import ASIDE, MANIFEST, ArchivedFile, FileKind, Manifest, file_name, written
from app.services.export.batches import user_of
from app.store.archive.places import Place, drafts_in, sum_of
from app.store.archive.reader import opened
from app.store.archive.unarchived import predictions_of
from app.store.archive.writing import parquet_writer
from app.store.erasing import Found

_AGAIN = "The archive still has its former files: make room, and give the same command again"
_KEYS: dict[FileKind, list[str]] = {
    "predictions": ["prediction_id", "user", "id", "request_id"],
    "outcomes": ["prediction_id", "user"],
}


class Archived(NamedTuple):
    """A person's rows in an archive: their ids and outcomes, and how many each file has."""

    found: Found
    files: dict[str, int]


class ErasableArchive:
    """The archive at `place`, whose `manifest` is in force. Every call raises `ArchiveUnavailable`.

    The caller holds the lock of archiving. `scratch` is a folder for drafts, `progress` gets each file that is done.
    """

    def __init__(
        self, place: Place, manifest: Manifest, scratch: Path, progress: Callable[[str], None] = lambda _name: None
    ) -> None:
        self._place = place
        self._manifest = manifest
        self._scratch = scratch
        self._progress = progress

    @property
    def place(self) -> str:
        """Where the archive is."""
        return self._place.text

    def has_set_aside(self) -> bool:
        """Whether there are files that were taken out of the archive: these are not searched."""
        return any(name.startswith(f"{ASIDE}/") for name in self._place.sizes())

    def found(self, wanted: Wanted) -> Archived:
        """The rows that are archived."""
        rows: dict[str, PredictionRow] = {}
        outcomes: dict[str, list[int]] = {}
        files: dict[str, int] = {}
        for file in self._manifest.of("predictions"):
            with opened(self._place, file) as parquet:
                for group, mask in self._masks(parquet, "predictions", wanted, ()):
                    table = parquet.read_row_group(group, columns=list(REPLAYED)).filter(mask)
                    rows |= {row.prediction_id: row for row in predictions_of(table)}
                    files[file.name] = files.get(file.name, 0) + len(table)
        for file in self._manifest.of("outcomes"):
            with opened(self._place, file) as parquet:
                for group, mask in self._masks(parquet, "outcomes", wanted, rows):
                    table = parquet.read_row_group(group, columns=["prediction_id", "epoch"]).filter(mask)
                    files[file.name] = files.get(file.name, 0) + len(table)
                    for each in table.to_pylist():
                        outcomes.setdefault(each["prediction_id"], []).append(each["epoch"])
        return Archived(Found(rows, outcomes), files)

    def rewrite(self, wanted: Wanted, archived: Archived, at: str) -> int:
        """Put files without these rows in the place of those that have them; how many. `at` is the ISO time."""
        ids = archived.found.rows
        kept: list[ArchivedFile] = []
        for file in self._manifest.files:
            if file.name not in archived.files:
                kept.append(file)
                continue
            again = self._rewritten(file, wanted, ids)
            kept += [] if again is None else [again]
            self._progress(file.name)
        if archived.files:
            with drafts_in(self._scratch, _AGAIN) as folder:
                listed = folder / MANIFEST
                listed.write_bytes(written(msgspec.structs.replace(self._manifest, written_at=at, files=tuple(kept))))
                self._place.put(MANIFEST, listed)
        return len(archived.files)

    def delete_replaced(self, archived: Archived) -> None:
        """Delete the files that `rewrite` has replaced, once nobody needs them."""
        for name in archived.files:
            self._place.delete(name)

    def _rewritten(self, file: ArchivedFile, wanted: Wanted, ids: Collection[str]) -> ArchivedFile | None:
        """The file without the rows, put and compared; None where none is left."""
        self._place.require_same(file)
        with drafts_in(self._scratch, _AGAIN) as folder, opened(self._place, file) as old:
            draft = folder / "again.parquet"
            masks = dict(self._masks(old, file.kind, wanted, ids))
            kept = 0
            with parquet_writer(draft, old.schema_arrow) as writer:
                for table in _left(old, masks):
                    writer.write_table(table, row_group_size=len(table))
                    kept += len(table)
            if not kept:
                return None
            again = _described(file, draft, kept)
            self._place.put(again.name, draft)
            self._compare(again, old, masks)
            return again

    def _compare(self, again: ArchivedFile, old: pq.ParquetFile, masks: dict[int, pa.Array]) -> None:
        """Read a new file back. Raises `ArchiveUnavailable` where it is not the old one less the rows."""
        same = self._place.is_same(again)
        if same:
            with opened(self._place, again) as new:
                groups = (new.read_row_group(group) for group in range(new.num_row_groups))
                pairs = zip_longest(groups, _left(old, masks))
                same = all(one is not None and one.equals(other) for one, other in pairs if other is not None)
                same = same and new.metadata.num_rows == again.rows
        if not same:
            raise ArchiveUnavailable(
                f"{again.name} in the archive at {self._place.text} is not as it was written. The archive still has "
                "its former files: try again"
            )

    def _masks(
        self, parquet: pq.ParquetFile, kind: FileKind, wanted: Wanted, ids: Collection[str]
    ) -> Iterator[tuple[int, pa.Array]]:
        """The row groups with rows of the person, and which of their rows these are."""
        users = pa.array([user_of(each) for each in wanted.users], pa.string())
        for group in range(parquet.num_row_groups):
            table = parquet.read_row_group(group, columns=_KEYS[kind])
            mask = pc.is_in(table.column("user"), users)
            if kind == "predictions":
                mask = pc.or_(mask, pc.is_in(table.column("id"), pa.array(sorted(wanted.own_keys), pa.string())))
                requests = pa.array(sorted(wanted.request_ids), pa.string())
                mask = pc.or_(mask, pc.is_in(table.column("request_id"), requests))
            else:
                mask = pc.or_(mask, pc.is_in(table.column("prediction_id"), pa.array(sorted(ids), pa.string())))
            if pc.any(mask).as_py():
                yield group, mask


def _left(parquet: pq.ParquetFile, masks: dict[int, pa.Array]) -> Iterator[pa.Table]:
    """The row groups of a file without the rows of `masks`; those that are empty then are left out."""
    for group in range(parquet.num_row_groups):
        table = parquet.read_row_group(group)
        if group in masks:
            table = table.filter(pc.invert(masks[group]))
        if len(table):
            yield table


def _described(before: ArchivedFile, draft: Path, rows: int) -> ArchivedFile:
    """What is in a file that takes the place of another one."""
    table = pq.read_table(draft, columns=["seq", "prediction_id", "time"], partitioning=None)
    ends = {name: pc.min_max(table.column(name)).as_py() for name in ("seq", "prediction_id")}
    times = pc.min_max(table.column("time").cast(pa.int64())).as_py()
    size, digest = sum_of(draft.open("rb"))
    first, last = ends["seq"]["min"], ends["seq"]["max"]
    return msgspec.structs.replace(
        before,
        name=file_name(before.kind, before.day, first, last, before.revision + 1),
        rows=rows,
        first_seq=first,
        last_seq=last,
        first_us=times["min"],
        last_us=times["max"],
        first_id=ends["prediction_id"]["min"],
        last_id=ends["prediction_id"]["max"],
        bytes=size,
        sha256=digest,
        erased=before.erased + before.rows - rows,
        revision=before.revision + 1,
    )
