"""Moves the old part of the log to the archive: written, read back, compared, noted, and only then removed.

Each step may be the last one before a crash; the next run goes on from what is found. Files that the manifest does not
list were never finished, and are deleted. Files that it lists behind the last mark are compared again, and then marked.
What a mark covers and the tables still have is removed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from app.domain.archive import ArchiveMark
from app.domain.log_columns import few_collections
from app.domain.log_event import EVERY, Cursor
from app.domain.timestamps import iso_utc
from app.errors import ArchiveUnavailable, BakeoffError
from app.services.archive.columns import logged_in, logged_outcomes
from app.services.archive.manifest import ASIDE, MANIFEST, ArchivedFile, FileKind, Manifest, written
from app.services.archive.plan import Reach, Span, next_span, reach_of
from app.services.export.rows import Position
from app.store.archive.arrays import digest_of_columns
from app.store.archive.log import ArchivableLog
from app.store.archive.packed import digest_of
from app.store.archive.places import DRAFTS, Place, drafts_in
from app.store.archive.reader import ArchiveReader
from app.store.archive.unarchived import rows_in
from app.store.archive.writing import Digests, SpanWriter

_SEQS_PER_STEP = 200_000
_KEPT = "Nothing was removed from the log"
_AGAIN = "Check the disk, and run this again: what was written now is deleted then"
_RESTORED = (
    "Was the log restored from a backup? Then the archive has rows that it lost: `bakeoff archive --set-aside` moves "
    "these files into a folder of their own. Otherwise give an empty place, or the one that this log was archived to"
)


class ArchivingStopped(BakeoffError):
    """Archiving was stopped between two steps; the next run goes on from there."""

    code = "stopped"


class Archived(msgspec.Struct, frozen=True):
    """What a run archived: seqs of each kind, files and their bytes. `limited_by` is what kept further rows."""

    predictions: int = 0
    outcomes: int = 0
    files: int = 0
    bytes: int = 0
    limited_by: str | None = None


class Plan(msgspec.Struct, frozen=True):
    """What is to be archived; `limited_by` is what keeps rows that are old enough, None for nothing."""

    span: Span
    limited_by: str | None


class Archiver:
    """Archives `log` to `place`. One may run at a time: the caller holds the lock.

    `cursors` returns how far each projection is, by name, and `scratch` is a folder for drafts of files. `progress`
    gets what is done (`writing`, `comparing`, `removing`), and the number of seqs since its last call.
    """

    def __init__(
        self,
        log: ArchivableLog,
        place: Place,
        writer: SpanWriter,
        cursors: Callable[[], Mapping[str, Cursor]],
        ends: Callable[[], Position],
        now_us: Callable[[], int],
        scratch: Path,
        going_on: Callable[[], bool] = lambda: True,
        progress: Callable[[str, int], None] = lambda _what, _seqs: None,
    ) -> None:
        self._log = log
        self._place = place
        self._writer = writer
        self._cursors = cursors
        self._ends = ends
        self._now_us = now_us
        self._scratch = scratch
        self._going_on = going_on
        self._progress = progress

    def plan(self, before_us: int, seqs: int = EVERY) -> Plan:
        """What was served, or received, before `before_us` (µs since 1970) and may go, at most `seqs` of each kind.

        Raises `StoreUnavailable`.
        """
        mark = self._log.mark()
        after, outcomes_after = (mark.predictions, mark.outcomes) if mark else (0, 0)
        reach = self._reach()
        whole = Span((after, max(after, reach.predictions)), (outcomes_after, max(outcomes_after, reach.outcomes)))
        span = next_span(whole, seqs)
        young = self._log.first_since("predictions", *span.predictions, before_us)
        young_outcome = self._log.first_since("outcomes", *span.outcomes, before_us)
        until = span.predictions[1] if young is None else young - 1
        outcomes_until = span.outcomes[1] if young_outcome is None else young_outcome - 1
        span = Span((after, until), (outcomes_after, outcomes_until))
        return Plan(span, reach.limited_by if young is None else None)

    def run(self, before_us: int) -> Archived:
        """Archive what was served, or received, before `before_us` (µs since 1970).

        Raises `StoreUnavailable`, `ArchiveUnavailable`, and `ArchivingStopped` where it was told to stop.
        """
        with few_collections():
            return self._run(before_us)

    def _run(self, before_us: int) -> Archived:
        manifest = self.recover()
        done = Archived()
        while True:
            # Not all of it each time: a log of ten steps would be read five times.
            plan = self.plan(before_us, _SEQS_PER_STEP)
            span = self._step(plan.span)
            if not len(span):
                return msgspec.structs.replace(done, limited_by=plan.limited_by)
            before = len(manifest.files)
            manifest = self._archive(span, manifest)
            new = manifest.files[before:]
            done = Archived(
                done.predictions + span.predictions[1] - span.predictions[0],
                done.outcomes + span.outcomes[1] - span.outcomes[0],
                done.files + len(new),
                done.bytes + sum(file.bytes for file in new),
            )

    def recover(self) -> Manifest:
        """Finish what a former run left undone, and delete its remains; the manifest after that."""
        manifest = self._recovered()
        for folder in self._scratch.glob(f"{DRAFTS}*"):
            shutil.rmtree(folder, ignore_errors=True)
        self._delete_unlisted(manifest)
        return manifest

    def _reach(self) -> Reach:
        ends = self._log.ends()
        return reach_of(ends.last_prediction, ends.last_outcome, self._cursors(), self._log.first_window())

    def _step(self, span: Span) -> Span:
        """What can go of a span. An outcome goes with its prediction, or later."""
        ahead = self._log.first_ahead(*span.outcomes, span.predictions[1])
        return span if ahead is None else Span(span.predictions, (span.outcomes[0], ahead - 1))

    def _archive(self, span: Span, before: Manifest) -> Manifest:
        with drafts_in(self._scratch, _KEPT) as folder:
            drafts, digests = self._writer.write(
                span, self._ends(), folder, lambda seqs: self._step_done("writing", seqs)
            )
            for path, file in drafts.items():
                self._place.put(file.name, path)
            manifest = Manifest(
                written_at=iso_utc(self._now_us()),
                predictions=span.predictions[1],
                outcomes=span.outcomes[1],
                files=(*before.files, *drafts.values()),
                log=self._log.number(before.log),
            )
            self._compare(manifest, [*drafts.values()], digests)
            self._put(manifest, MANIFEST, folder)
        self._remove(self._marked(manifest, [*drafts.values()]))
        return manifest

    def _put(self, manifest: Manifest, name: str, folder: Path) -> None:
        draft = folder / MANIFEST
        draft.write_bytes(written(manifest))
        self._place.put(name, draft)

    def _marked(self, manifest: Manifest, new: list[ArchivedFile]) -> ArchiveMark:
        former = self._log.mark()
        newest_us = max([former.newest_us if former else 0, *(file.last_us for file in new)])
        return self._log.put_mark(self._place.text, manifest.predictions, manifest.outcomes, newest_us)

    def _remove(self, mark: ArchiveMark) -> None:
        if not self._log.remove(mark, self._going_on, lambda seqs: self._progress("removing", seqs)):
            raise ArchivingStopped("archiving was stopped; the next run goes on from here")

    def _found(self) -> tuple[Manifest, ArchiveMark | None]:
        """The manifest, which is of this log, and the last mark, which it reaches."""
        reader, mark = ArchiveReader(self._place), self._log.mark()
        manifest = reader.manifest()
        if self._log.is_another(manifest.log):
            raise self._differs("it is the archive of another log", "Give an empty place")
        if mark is not None:
            reader.require(mark)
        return manifest, mark

    def _recovered(self) -> Manifest:
        """The manifest, after what a former run left undone is done."""
        manifest, mark = self._found()
        after, outcomes_after = (mark.predictions, mark.outcomes) if mark else (0, 0)
        if (manifest.predictions, manifest.outcomes) != (after, outcomes_after):
            # Listed, but killed before the mark was written: the log has these rows still, or it is not its archive.
            span = Span((after, manifest.predictions), (outcomes_after, manifest.outcomes))
            new = manifest.since(after, outcomes_after)
            self._compare(manifest, new, self._writer.digests(span, self._ends()), _RESTORED)
            mark = self._marked(manifest, new)
        if mark is not None:
            self._remove(mark)
        return manifest

    def set_aside(self) -> tuple[ArchivedFile, ...]:
        """Take the files behind the last mark out of the archive, into a folder of it, and return them as they were.

        After a log was restored from a backup, these have rows that it lost. Killed anywhere, it can be called again.
        Raises `StoreUnavailable` and `ArchiveUnavailable`.
        """
        manifest, mark = self._found()
        after, outcomes_after = (mark.predictions, mark.outcomes) if mark else (0, 0)
        lost = tuple(manifest.since(after, outcomes_after))
        if not lost:
            return ()
        folder = f"{ASIDE}/{iso_utc(self._now_us()).replace(':', '')}"
        with drafts_in(self._scratch, _KEPT) as scratch:
            for file in lost:
                copy = scratch / "copy"
                with self._place.open(file.name) as source, copy.open("wb") as target:
                    shutil.copyfileobj(source, target)
                self._place.put(f"{folder}/{file.name}", copy)
            self._put(msgspec.structs.replace(manifest, files=lost), f"{folder}/{MANIFEST}", scratch)
            kept = tuple(file for file in manifest.files if file not in lost)
            rest = msgspec.structs.replace(manifest, files=kept, predictions=after, outcomes=outcomes_after)
            self._put(rest, MANIFEST, scratch)
        self._delete_unlisted(rest)
        return lost

    def _compare(self, manifest: Manifest, new: list[ArchivedFile], digests: Digests, advice: str = "") -> None:
        """Read the files back. Raises `ArchiveUnavailable` where they are not exactly what the log has."""
        self._require_as_written(new, advice)
        reader = ArchiveReader(self._place, manifest, whole=True, checked=new)
        for (kind, after, until), expected in digests.items():
            if _digest(reader, kind, after, until) != expected:
                raise self._differs(f"{kind} {after + 1:,} to {until:,} are not those of the log", advice)
            self._step_done("comparing", until - after)
        # Once more: not all columns are among the values that were compared.
        self._require_as_written(new, advice)

    def _require_as_written(self, files: list[ArchivedFile], advice: str) -> None:
        for file in files:
            if not self._place.is_same(file):
                raise self._differs(f"{file.name} is not as it was written", advice)

    def _differs(self, what: str, advice: str) -> ArchiveUnavailable:
        return ArchiveUnavailable(
            f"the archive at {self._place.text} does not have what the log has: {what}. Nothing was removed. "
            f"{advice or _AGAIN}"
        )

    def _delete_unlisted(self, manifest: Manifest) -> None:
        """Delete files that a killed run has left, so that whoever reads all files finds no row twice."""
        listed = {file.name for file in manifest.files}
        for name in self._place.sizes():
            if name.startswith(("predictions/day=", "outcomes/day=")) and name not in listed:
                self._place.delete(name)

    def _step_done(self, what: str, seqs: int) -> None:
        self._progress(what, seqs)
        if not self._going_on():
            raise ArchivingStopped("archiving was stopped; the next run goes on from here")


def _digest(reader: ArchiveReader, kind: FileKind, after: int, until: int) -> bytes:
    table = reader.table(kind, after, until)
    if kind == "outcomes":
        return digest_of_columns(logged_outcomes(()).columns if table is None else logged_in(table))
    if table is None:
        return digest_of([], [], ())
    return digest_of(*rows_in(table), table.column("seq").filter(table.column("log.follows_outcome")).to_pylist())
