"""The log of outcomes and of their corrections: on disk before the call returns.

Each prediction has one outcome of a kind. What an administrator replaces stays: the correction is a row of its own,
with its place in the order of events and an entry in the audit log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET
from sqlalchemy import Connection, text

from app.domain.archive import ArchiveMark
from app.domain.erasure import Tombstones
from app.domain.outcome import Outcome
from app.errors import ArchiveUnavailable, BakeoffError, Contradiction, StoreUnavailable, UnknownPrediction
from app.files import lock_if_possible
from app.services.recording.feedback import MayBeArchived, Receipt
from app.store.archive.marks import last_mark
from app.store.archive.source import ArchivedLog
from app.store.corrections import Correction, append_corrections, canonical, number_of
from app.store.engine import Database
from app.store.erasures import erased_among
from app.store.kinds import DURABLE
from app.store.sqlite import append_rows, driver_of
from app.store.statements import statements

_LOG = logging.getLogger(__name__)
_UNREAD_US, _SLOW_US = 10_000_000, 1_000_000
_UNREAD = "the outcome of a prediction this old may be archived, and the archive cannot be read now: send it again"
_Known = dict[tuple[str, str], str]


class _New(NamedTuple):
    """What is to be written, in order: a correction of an outcome may be in the same transaction as the outcome."""

    outcomes: list[Outcome]
    corrections: list[Correction]


class _Unread(Exception):
    """The archive, up to `mark`, is needed and cannot be read."""

    def __init__(self, mark: ArchiveMark) -> None:
        super().__init__()
        self.mark = mark


class FeedbackLog:
    """Appends to `feedback` and `corrections`; `now_us` is the clock (µs since 1970, UTC).

    The processes of a host exclude each other by the file `lock_file` where the store does not serve them in order.
    `archive` reads what is archived; without it, the archive is where the log says that it was written. Outcomes of
    predictions that were erased, which `tombstones` tell, are refused. `admit` raises `StoreUnavailable` where the
    store is that of another deployment.
    """

    def __init__(
        self,
        database: Database,
        now_us: Callable[[], int],
        lock_file: Path | None = None,
        archive: ArchivedLog | None = None,
        tombstones: Tombstones | None = None,
        admit: Callable[[], object] = lambda: None,
    ) -> None:
        self._database = database
        self._admit = admit
        self._tombstones = tombstones
        self._archive = archive or ArchivedLog()
        self._now_us = now_us
        self._unread_until_us = 0
        self._reading_since_us: int | None = None
        # SQLite's own wait sleeps ever longer between its tries, so that beside a busy writer another one misses most
        # of its chances; the kernel wakes whoever waits for a file's lock.
        self._lock_file = None if database.kind.is_fair else lock_file

    def commit(self, submissions: Sequence[Sequence[Outcome]], *, archive: bool = True) -> list[Receipt | BakeoffError]:
        """For each submission its receipt, or the error for which none of it was accepted; durable on return.

        That is `Contradiction`, `UnknownPrediction` for a prediction that was erased, or `StoreUnavailable` where
        outcomes of that age are archived and cannot be read; `MayBeArchived` without `archive`, where it is not read.

        Raises `StoreUnavailable` where the store cannot be written: then nothing was accepted.
        """
        self._admit()
        unread = StoreUnavailable(_UNREAD, retry_after_s=_UNREAD_US // 1_000_000)
        if not archive and not self._is_away():
            unread = MayBeArchived(_UNREAD)
        results: list[Receipt | BakeoffError] = [unread for _ in submissions]
        left = [*range(len(submissions))]
        while left:
            try:
                for index, result in zip(
                    left, self._commit([submissions[index] for index in left], archive), strict=True
                ):
                    results[index] = result
                break
            except _Unread as error:
                left = [index for index in left if not _as_old_as(error.mark, [submissions[index]])]
        return results

    def _commit(self, submissions: Sequence[Sequence[Outcome]], archive: bool) -> list[Receipt | BakeoffError]:
        """As `commit`; raises `_Unread` where the archive is needed and cannot be read: then nothing was accepted."""
        archived: _Known = {}
        looked_up = 0
        while True:
            # One transaction under the write lock: the known outcomes cannot change between the check and the write,
            # and `predictions_seen` gives the outcomes their exact place in the order of events.
            alone = lock_if_possible(self._lock_file) if self._lock_file else nullcontext()
            with alone, self._database.begin(DURABLE) as connection:
                mark = last_mark(connection)
                old = () if mark is None or mark.number == looked_up else _as_old_as(mark, submissions)
                if not old:
                    return self._settled(connection, submissions, archived)
            assert mark is not None
            if not archive:
                raise _Unread(mark)
            # Without the write lock: reading an archive takes longer than others may wait.
            archived, looked_up = self._archived(mark, old), mark.number

    def _settled(
        self, connection: Connection, submissions: Sequence[Sequence[Outcome]], archived: _Known
    ) -> list[Receipt | BakeoffError]:
        known = _known(connection, submissions, archived)
        new = _New([], [])
        every = [outcome for outcomes in submissions for outcome in outcomes]
        erased = erased_among(connection, every, self._tombstones) if self._tombstones else set()
        results = [_refused(outcomes, erased) or _settle(outcomes, known, new) for outcomes in submissions]
        if new.outcomes or new.corrections:
            at_us, seen = self._now_us(), number_of(connection, "predictions_seen")
            if new.outcomes:
                _APPEND[connection.dialect.name](connection, _rows(new.outcomes, at_us, seen))
            if new.corrections:
                append_corrections(connection, new.corrections, at_us, seen)
        return results

    def _is_away(self) -> bool:
        """Whether the archive cannot be read, or has not answered for a second: nobody else waits for it then."""
        now_us, since_us = self._now_us(), self._reading_since_us
        return now_us < self._unread_until_us or (since_us is not None and now_us - since_us > _SLOW_US)

    def _archived(self, mark: ArchiveMark, ids: Collection[str]) -> _Known:
        """The archived outcomes of these predictions, as they were received."""
        # A place that does not answer is not asked for each label: the others wait for that.
        if self._now_us() < self._unread_until_us:
            raise _Unread(mark)
        self._reading_since_us = self._now_us()
        try:
            rows = self._archive.outcomes_of(mark, ids)
        except ArchiveUnavailable as error:
            self._unread_until_us = self._now_us() + _UNREAD_US
            _LOG.error("archive_unreadable", extra={"event_fields": {"reason": error.message}})
            raise _Unread(mark) from error
        finally:
            self._reading_since_us = None
        return {(row.prediction_id, row.kind): row.outcome for row in rows}


def _as_old_as(mark: ArchiveMark, submissions: Sequence[Sequence[Outcome]]) -> set[str]:
    """The predictions of which an outcome may be archived."""
    return {
        outcome.prediction_id
        for outcomes in submissions
        for outcome in outcomes
        if mark.may_have(outcome.fact.served_at_us)
    }


_COLUMNS = (
    "prediction_id", "kind", "outcome", "received_at_us", "version_ordinal", "epoch", "counts", "randomised", "answer",
    "user_hash", "predictions_seen",
)  # fmt: skip


def _rows(outcomes: Sequence[Outcome], at_us: int, seen: int) -> list[tuple[Any, ...]]:
    return [
        (
            outcome.prediction_id,
            outcome.kind,
            canonical(outcome),
            at_us,
            outcome.fact.version_ordinal,
            outcome.fact.epoch,
            outcome.fact.counts,
            outcome.fact.randomised,
            outcome.fact.answer,
            outcome.fact.user_hash,
            seen,
        )
        for outcome in outcomes
    ]


def _append_rows(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    append_rows(driver_of(connection), statements("feedback")["append"], rows)


def _append_arrays(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    # One array a column, and one statement: a statement a row took the server most of a call with many labels.
    arrays = dict(zip(_COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
    connection.execute(text(statements("feedback")["append_arrays"]), arrays)


_APPEND: Mapping[str, Callable[[Connection, Sequence[tuple[Any, ...]]], None]] = {
    "sqlite": _append_rows,
    "postgresql": _append_arrays,
}


def _known(connection: Connection, submissions: Sequence[Sequence[Outcome]], archived: _Known) -> _Known:
    """The outcomes that are recorded, archived ones too, each with its last value."""
    ids = sorted({outcome.prediction_id for outcomes in submissions for outcome in outcomes})
    query = text(statements("feedback", connection.dialect.name)["known"])
    rows = connection.execute(query, {"ids": msgspec.json.encode(ids).decode()})
    known = archived | {(row.prediction_id, row.kind): row.outcome for row in rows}
    if archived:
        query = text(statements("archive", connection.dialect.name)["last_corrections"])
        own = {"ids": msgspec.json.encode(sorted({prediction_id for prediction_id, _ in archived})).decode()}
        known |= {(row.prediction_id, row.kind): row.outcome for row in connection.execute(query, own)}
    return known


def _refused(outcomes: Sequence[Outcome], erased: Collection[str]) -> UnknownPrediction | None:
    """Why a submission is refused that has an outcome of an erased prediction."""
    found = next((outcome for outcome in outcomes if outcome.prediction_id in erased), None)
    if found is None:
        return None
    error = UnknownPrediction("this prediction was erased: no outcome of it is accepted", field="prediction_id")
    return error if outcomes[-1].item == 0 else error.within("item", found.item)


def _settle(outcomes: Sequence[Outcome], known: _Known, new: _New) -> Receipt | BakeoffError:
    """Add one submission to `known` and `new`, as a whole or not at all."""
    values: _Known = {}
    fresh: list[Outcome] = []
    corrections: list[Correction] = []
    for outcome in outcomes:
        key, value = (outcome.prediction_id, outcome.kind), canonical(outcome)
        before = values.get(key) or known.get(key)
        if before is None:
            fresh.append(outcome)
        elif before == value:
            continue
        elif outcome.corrected_by is None:
            return _contradiction(outcome, before, alone=outcomes[-1].item == 0)
        else:
            corrections.append(Correction(outcome, before))
        values[key] = value
    known.update(values)
    new.outcomes.extend(fresh)
    new.corrections.extend(corrections)
    accepted = len(fresh) + len(corrections)
    return Receipt(accepted, len(outcomes) - accepted, corrected=len(corrections) or UNSET)


def _contradiction(outcome: Outcome, before: str, *, alone: bool) -> Contradiction:
    recorded = outcome.named(msgspec.json.decode(before))
    error = Contradiction(
        f"the {outcome.kind} of this prediction is recorded as {recorded!r}; an outcome cannot be changed, except by "
        'an administrator, who says "correct": true',
        field=outcome.kind,
    )
    return error if alone else error.within("item", outcome.item)
