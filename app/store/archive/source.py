"""The archived part of the log for those who read the log: found by the mark in the store, opened when it is needed."""

from __future__ import annotations

from collections.abc import Callable, Collection
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from app.domain.archive import ArchiveMark
from app.domain.log_event import OutcomeRow, PredictionRow
from app.errors import ArchiveUnavailable

if TYPE_CHECKING:
    from app.store.archive.reader import ArchiveReader

_Read = TypeVar("_Read")


class ArchivedLog:
    """Reads what is archived. Thread-safe; making one touches nothing. Every call raises `ArchiveUnavailable`.

    `place` is where the archive is now; None: where the mark says that it was written.
    """

    def __init__(self, place: str | None = None) -> None:
        self._place = place
        self._lock = Lock()
        self._reader: tuple[tuple[str, int], ArchiveReader] | None = None

    def predictions(self, mark: ArchiveMark, after: int, until: int, limit: int) -> list[PredictionRow]:
        """Up to `limit` archived predictions with seqs above `after` and up to `until`, in order."""
        return self._read(mark, lambda reader: reader.predictions(after, min(until, mark.predictions), limit))

    def outcomes(self, mark: ArchiveMark, after: int, until: int, limit: int) -> list[OutcomeRow]:
        """Up to `limit` archived outcomes with seqs above `after` and up to `until`, in order."""
        return self._read(mark, lambda reader: reader.outcomes(after, min(until, mark.outcomes), limit))

    def predictions_of(self, mark: ArchiveMark, ids: Collection[str]) -> list[PredictionRow]:
        """The archived predictions with these ids."""
        found = self._read(mark, lambda reader: reader.predictions_of_ids(ids))
        return [row for row in found if row.seq <= mark.predictions]

    def outcomes_of(self, mark: ArchiveMark, ids: Collection[str]) -> list[OutcomeRow]:
        """The archived outcomes of the predictions with these ids, in the order of their seqs."""
        found = self._read(mark, lambda reader: reader.outcomes_of_ids(ids))
        return [row for row in found if row.seq <= mark.outcomes]

    def follow_outcome(self, mark: ArchiveMark, first_seq: int, last_seq: int) -> set[str]:
        """The ids of the archived predictions of this span before which an outcome of theirs was written."""
        return self._read(mark, lambda reader: reader.follow_outcome(first_seq, min(last_seq, mark.predictions)))

    def _read(self, mark: ArchiveMark, read: Callable[[ArchiveReader], _Read]) -> _Read:
        with self._lock:
            known = self._reader
            try:
                return read(self._reads(mark))
            except ArchiveUnavailable:
                # A file that was read before may have been replaced by one without an erased person's rows.
                if self._reader is None or self._reader is not known:
                    raise
                self._reader = None
                return read(self._reads(mark))

    def require_files(self, mark: ArchiveMark) -> None:
        """Raise where the archive is not of this log, or lacks a file."""
        with self._lock:
            self._reads(mark).require_files()

    def _reads(self, mark: ArchiveMark) -> ArchiveReader:
        # Here: a worker that nobody asks for archived rows does without these libraries.
        from app.store.archive.places import place_of
        from app.store.archive.reader import ArchiveReader

        known = self._place or mark.place, mark.number
        # Each archiving and each erasure makes a mark: what was read before is not kept beyond it.
        if self._reader is None or self._reader[0] != known:
            self._reader = known, ArchiveReader(place_of(known[0]))
        self._reader[1].require(mark)
        return self._reader[1]
