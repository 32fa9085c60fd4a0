"""Reads archived rows as the log had them: in the order of their seqs, or by prediction id."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from app.domain.archive import ArchiveMark
from app.domain.log_event import OutcomeRow, PredictionRow
from app.errors import ArchiveUnavailable
from app.services.archive.columns import OUTCOMES, REPLAYED, follow_outcome_in, outcomes_of
from app.services.archive.manifest import MANIFEST, ArchivedFile, FileKind, Manifest, read_manifest
from app.store.archive.arrays import is_ascending
from app.store.archive.places import Place
from app.store.archive.unarchived import PACKED, predictions_of

# Row groups that are kept, each some thousands of rows: pages of a replay go on where the last one ended. No file is
# kept open: as long as one is, the disk keeps it, also after an erasure has put another one in its place.
_GROUPS_KEPT, _FILES_KEPT = 12, 64
_COLUMNS = {"predictions": REPLAYED, "outcomes": tuple(OUTCOMES.names)}
_PUT_BACK = "put back a copy of it; until then nothing can be rebuilt"
_Row = TypeVar("_Row", PredictionRow, OutcomeRow)


class _Group(NamedTuple):
    """A row group of a file: the seqs and the prediction ids that it spans."""

    file: ArchivedFile
    place: int
    first_seq: int
    last_seq: int
    first_id: str
    last_id: str


class ArchiveReader:
    """Reads the archive at a place, by its own manifest or a given one. Raises `ArchiveUnavailable`. For one thread.

    `whole`: of predictions all that the log has, not what a replay needs. `checked` are files that the caller has
    compared with their sums.
    """

    def __init__(
        self,
        place: Place,
        manifest: Manifest | None = None,
        *,
        whole: bool = False,
        checked: Collection[ArchivedFile] = (),
    ) -> None:
        self.place = place
        self._manifest = manifest
        self._whole = whole
        self._files: OrderedDict[str, tuple[pq.FileMetaData, list[_Group]]] = OrderedDict()
        self._checked = {(file.name, file.sha256) for file in checked}
        self._tables: OrderedDict[tuple[str, int], tuple[pa.Table, list[int]]] = OrderedDict()

    def manifest(self) -> Manifest:
        """The manifest, as it is now."""
        self._manifest = read_manifest(self.place.read(MANIFEST), self.place.text)
        return self._manifest

    def require(self, mark: ArchiveMark) -> None:
        """Read the manifest again where it does not reach `mark`. Raises `ArchiveUnavailable` if it still does not."""
        known = self._manifest
        if known is None or known.predictions < mark.predictions or known.outcomes < mark.outcomes:
            known = self.manifest()
        if known.log is not None and mark.log is not None and known.log != mark.log:
            raise ArchiveUnavailable(
                f"the archive at {self.place.text} is of another log: set ARCHIVE_TO to the archive of this one, which "
                f"was last at {mark.place}"
            )
        if known.predictions < mark.predictions or known.outcomes < mark.outcomes:
            raise ArchiveUnavailable(
                f"the archive at {self.place.text} ends at prediction {known.predictions:,} and outcome "
                f"{known.outcomes:,}, but the log is archived up to {mark.predictions:,} and {mark.outcomes:,}, last "
                f"at {mark.place}: set ARCHIVE_TO to where these files are now"
            )

    def require_files(self) -> None:
        """Raise `ArchiveUnavailable` where a listed file is missing or has another size."""
        sizes = self.place.sizes()
        for file in self._known().files:
            if sizes.get(file.name) != file.bytes:
                state = "is missing" if file.name not in sizes else "has another size than its list says"
                raise ArchiveUnavailable(f"{file.name} in the archive at {self.place.text} {state}: {_PUT_BACK}")

    def predictions(self, after: int, until: int, limit: int) -> list[PredictionRow]:
        """Up to `limit` predictions with seqs above `after` and up to `until`, in order."""
        return self._in_order("predictions", predictions_of, (after, until, limit))

    def outcomes(self, after: int, until: int, limit: int) -> list[OutcomeRow]:
        """Up to `limit` outcomes with seqs above `after` and up to `until`, in order."""
        return self._in_order("outcomes", outcomes_of, (after, until, limit))

    def table(self, kind: FileKind, after: int, until: int) -> pa.Table | None:
        """The rows with seqs above `after` and up to `until`, in order, as columns; None where there are none."""
        found = []
        for file in self._between(kind, after, until):
            for group in self._groups_between(file, after, until):
                table, seqs = self._table(group)
                start = bisect_right(seqs, after)
                found.append(table.slice(start, bisect_right(seqs, until) - start))
        if not found:
            return None
        whole = pa.concat_tables(found, promote_options="permissive").unify_dictionaries()
        # Only files of neighbouring days overlap.
        return whole if is_ascending(whole.column("seq")) else whole.sort_by("seq")

    def predictions_of_ids(self, ids: Collection[str]) -> list[PredictionRow]:
        """The archived predictions with these ids."""
        return [row for table in self._with_ids("predictions", ids) for row in predictions_of(table)]

    def outcomes_of_ids(self, ids: Collection[str]) -> list[OutcomeRow]:
        """The archived outcomes of the predictions with these ids, in the order of their seqs."""
        found = [row for table in self._with_ids("outcomes", ids) for row in outcomes_of(table)]
        return sorted(found, key=lambda row: row.seq)

    def follow_outcome(self, first_seq: int, last_seq: int) -> set[str]:
        """The ids of the predictions with seqs of this span before which an outcome of theirs was written."""
        found: set[str] = set()
        for file in self._between("predictions", first_seq - 1, last_seq):
            for group in self._groups_between(file, first_seq - 1, last_seq):
                table, seqs = self._table(group)
                start, end = bisect_left(seqs, first_seq), bisect_right(seqs, last_seq)
                found |= follow_outcome_in(table.slice(start, end - start))
        return found

    def _in_order(
        self, kind: FileKind, decoded: Callable[[pa.Table], list[_Row]], span: tuple[int, int, int]
    ) -> list[_Row]:
        after, until, limit = span
        rows: list[_Row] = []

        def reached(first_seq: int) -> bool:
            # Files of neighbouring days overlap: a later file may begin before the last row that was found.
            return len(rows) >= limit and first_seq > rows[limit - 1].seq

        for file in self._between(kind, after, until):
            if reached(file.first_seq):
                break
            for group in self._groups_between(file, after, until):
                if reached(group.first_seq):
                    break
                table, seqs = self._table(group)
                start = bisect_right(seqs, after)
                rows += decoded(table.slice(start, min(limit, bisect_right(seqs, until) - start)))
                rows.sort(key=lambda row: row.seq)
                del rows[limit:]
        return rows

    def _between(self, kind: FileKind, after: int, until: int) -> list[ArchivedFile]:
        """The files with seqs above `after` and up to `until`, by their first seq."""
        return [file for file in self._known().of(kind) if file.last_seq > after and file.first_seq <= until]

    def _groups_between(self, file: ArchivedFile, after: int, until: int) -> list[_Group]:
        return [each for each in self._groups(file) if each.last_seq > after and each.first_seq <= until]

    def _with_ids(self, kind: FileKind, ids: Collection[str]) -> Iterator[pa.Table]:
        wanted = sorted(set(ids))
        if not wanted:
            return
        for file in self._known().of(kind):
            if not _some_between(wanted, file.first_id, file.last_id):
                continue
            for group in self._groups(file):
                some = _some_between(wanted, group.first_id, group.last_id)
                if some:
                    table, _ = self._table(group)
                    found = table.filter(pc.is_in(table.column("prediction_id"), pa.array(some, pa.string())))
                    if len(found):
                        yield found

    def _known(self) -> Manifest:
        return self.manifest() if self._manifest is None else self._manifest

    def _groups(self, file: ArchivedFile) -> list[_Group]:
        return self._file(file)[1]

    def _file(self, file: ArchivedFile) -> tuple[pq.FileMetaData, list[_Group]]:
        if file.name not in self._files:
            # Parquet may decode a damaged page to other values without a word.
            self._require_sum(file)
            with opened(self.place, file) as parquet:
                metadata = parquet.metadata
            names = [metadata.schema.column(place).path for place in range(metadata.num_columns)]
            seq, id_ = names.index("seq"), names.index("prediction_id")
            groups = []
            for index in range(metadata.num_row_groups):
                seqs, ids = (metadata.row_group(index).column(place).statistics for place in (seq, id_))
                groups.append(_Group(file, index, seqs.min, seqs.max, ids.min, ids.max))
            self._files[file.name] = metadata, groups
            if len(self._files) > _FILES_KEPT:
                self._files.popitem(last=False)
        self._files.move_to_end(file.name)
        return self._files[file.name]

    def _require_sum(self, file: ArchivedFile) -> None:
        if (file.name, file.sha256) in self._checked:
            return
        self.place.require_same(file, _PUT_BACK)
        self._checked.add((file.name, file.sha256))

    def _table(self, group: _Group) -> tuple[pa.Table, list[int]]:
        key = group.file.name, group.place
        if key not in self._tables:
            table = self._read(group)
            self._tables[key] = table, table.column("seq").to_numpy()
            if len(self._tables) > _GROUPS_KEPT:
                self._tables.popitem(last=False)
        self._tables.move_to_end(key)
        return self._tables[key]

    def _read(self, group: _Group) -> pa.Table:
        file, (metadata, _) = group.file, self._file(group.file)
        columns = _whole(metadata, group.place) if self._whole and file.kind == "predictions" else _COLUMNS[file.kind]
        with opened(self.place, file, metadata, forms=file.kind == "predictions" and file.schema > 1) as parquet:
            try:
                return parquet.read_row_group(group.place, columns=[*columns], use_threads=False)
            except (OSError, pa.ArrowException) as error:
                raise ArchiveUnavailable(
                    f"{file.name} in the archive at {self.place.text} cannot be read: {error}"
                ) from error


@contextmanager
def opened(
    place: Place, file: ArchivedFile, metadata: pq.FileMetaData | None = None, *, forms: bool = False
) -> Iterator[pq.ParquetFile]:
    """A file of the archive, open within the block; with `metadata`, its end is not read again.

    With `forms`, each form of packed rows is decoded once, and not for each row. Raises `ArchiveUnavailable`.
    """
    with place.open(file.name) as source:
        try:
            parquet = pq.ParquetFile(source, metadata=metadata, read_dictionary=["log.form"] if forms else None)
        except (OSError, pa.ArrowException) as error:
            raise ArchiveUnavailable(f"{file.name} in the archive at {place.text} is damaged: {error}") from error
        yield parquet


def _whole(metadata: pq.FileMetaData, group: int) -> Sequence[str]:
    """The columns that have all that the log has of the predictions in a row group."""
    columns = metadata.row_group(group).to_dict()["columns"]
    forms = next((each["statistics"] for each in columns if each["path_in_schema"] == "log.form"), None)
    # Of rows that are packed, most columns repeat what others say.
    is_packed = forms is not None and forms["null_count"] == 0
    return (*PACKED, "log.form", "log.follows_outcome") if is_packed else (*REPLAYED, "request_id")


def _some_between(ids: Sequence[str], first: str, last: str) -> Sequence[str]:
    """Those of the sorted `ids` from `first` to `last`."""
    return ids[bisect_left(ids, first) : bisect_right(ids, last)]
