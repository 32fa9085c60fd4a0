"""The store's side of archiving: what may go, marks, and removing what is archived."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
from sqlalchemy import Connection, text

from app.domain.archive import ArchiveMark
from app.domain.columns import LoggedLayout
from app.domain.prediction_id import RAW_LENGTH, served_at_bytes, texts_of_ids
from app.errors import StoreUnavailable
from app.services.archive.columns import logged_outcomes
from app.services.archive.manifest import FileKind
from app.services.export.rows import LogRow, Position, RowCount, Selection
from app.store.archive.marks import last_mark
from app.store.archive.packed import PackedRows, digest_of, packed_rows
from app.store.archive.weeks import drop_empty_week
from app.store.engine import Database
from app.store.event_rows import outcomes_after
from app.store.forms import StoredRow
from app.store.kinds import DURABLE, READING, RECORDING
from app.store.log_rows import Known, LogRows
from app.store.logged import LoggedRows, keys_of, set_mark, span_of_numbers
from app.store.logged import mark as log_mark
from app.store.statements import SIDE, statements
from app.store.unpacking import Tails, by_form

# Seqs that are removed in one transaction: as many as take up to this long, for which others wait for the write lock.
_LEAST_AT_ONCE, _MOST_AT_ONCE = 500, 2000
_LONG_S = 0.01
_PAGES_AT_ONCE = 200  # of SQLite's file, 4 KiB each
_SEQS_PER_READ = 10_000
_INCREMENTAL = 2  # what SQLite calls this kind of auto_vacuum
_METRICS = 2**62  # the first number of the spaces of secondary metrics
_TRIES = 200
_LOG = "log"
_FIRST_SINCE: Mapping[FileKind, str] = {"predictions": "first_served_since", "outcomes": "first_received_since"}


class Ends(NamedTuple):
    """The seqs of the first and the last row of each kind; 0 where there is none."""

    first_prediction: int
    last_prediction: int
    first_outcome: int
    last_outcome: int


class PackedPart(NamedTuple):
    """Packed rows of one form, what they hold, and the same rows as the table has them."""

    rows: PackedRows
    tails: Tails
    raw: Sequence[Any]


class Part(NamedTuple):
    """Predictions of a part of the log, and the seqs of those before which an outcome of theirs was written.

    `known` are their outcomes; `experiments` are ids by config revision.
    """

    packed: list[PackedPart]
    others: list[StoredRow]
    follow_outcome: set[int]
    known: Known
    experiments: Mapping[int, str]
    layouts: Mapping[int, LoggedLayout]

    def digest(self) -> bytes:
        """A digest of all values of the rows."""
        return digest_of([each.rows for each in self.packed], self.others, self.follow_outcome)


class ArchivableLog:
    """Reads what is to be archived, and removes what is. Every call raises `StoreUnavailable`.

    `now_us` is the clock (µs since 1970), `pause` waits that many seconds.
    """

    def __init__(
        self, database: Database, now_us: Callable[[], int], pause: Callable[[float], object] = time.sleep
    ) -> None:
        self._database = database
        self._now_us = now_us
        self._pause = pause
        self._at_once = _LEAST_AT_ONCE
        self._rows = LogRows(database)
        self._logged = LoggedRows()

    def mark(self) -> ArchiveMark | None:
        """The last mark; None where nothing is archived."""
        with self._database.begin(READING) as connection:
            return last_mark(connection)

    def is_another(self, number: int | None) -> bool:
        """Whether an archive with this number is of another log."""
        with self._database.begin(READING) as connection:
            return number is not None and log_mark(connection, _LOG) not in (None, number)

    def number(self, of_archive: int | None) -> int:
        """The random number that tells this log's archive from others; `of_archive`, if it has none. Then durable."""
        with self._database.begin(DURABLE) as connection:
            number = log_mark(connection, _LOG)
            if number is None:
                number = of_archive or 1 + secrets.randbelow(2**62)
                set_mark(connection, _LOG, number)
        return number

    def ends(self) -> Ends:
        """What the tables have."""
        with self._database.begin(READING) as connection:
            first, last = span_of_numbers(connection)
            found = connection.execute(text(statements("archive")["ends"])).one()
        return Ends(first or 0, last, found.first_outcome, found.last_outcome)

    def first_since(self, kind: FileKind, after: int, until: int, since_us: int) -> int | None:
        """The first seq above `after` and up to `until` of a row served, or received, at `since_us` or later."""
        query = text(statements("archive")[_FIRST_SINCE[kind]])
        since = {"since_us": since_us, "since_key": served_at_bytes(since_us)}
        for start, end in _parts(after, until):
            with self._database.begin(READING) as connection:
                found: int | None = connection.execute(query, {"after": start, "until": end, **since}).scalar()
            if found is not None:
                return found
        return None

    def first_ahead(self, after: int, until: int, predictions: int) -> int | None:
        """The first outcome with a seq of this span whose prediction is in the log behind the seq `predictions`."""
        with self._database.begin(READING) as connection:
            behind = connection.execute(text(statements("archive")["first_behind"]), {"predictions": predictions}).one()
        # Of packed rows only ids from this one on can be behind: ids sort by the time of serving.
        least = None if behind.key is None else texts_of_ids(bytes(behind.key).ljust(RAW_LENGTH, b"\0"))[0]
        for start, end in _parts(after, until) if behind.old or least else ():
            with self._database.begin(READING) as connection:
                span = {"after": start, "until": end, "least": "" if behind.old else least}
                outcomes = connection.execute(text(statements("archive")["outcomes_of_span"]), span).all()
                ids = [prediction_id for _, prediction_id in outcomes]
                ahead = _old_ahead(connection, ids, predictions) if behind.old else set()
                ahead |= _packed_ahead(connection, [each for each in ids if least and each >= least], predictions)
            for seq, prediction_id in outcomes if ahead else ():
                if prediction_id in ahead:
                    return int(seq)
        return None

    def first_window(self) -> int | None:
        """The seq of the first prediction whose reward window is open; None without one."""
        with self._database.begin(READING) as connection:
            values = {"metrics": _METRICS, "side": SIDE}
            found: int | None = connection.execute(text(statements("archive")["first_window"]), values).scalar()
        return found

    def counts(self, after: int, until: int) -> list[RowCount]:
        """The forms of the predictions with seqs of this span."""
        return self._rows.counts(after, until, Selection())

    def predictions(self, after: int, until: int, end: Position) -> Part:
        """The predictions of this span, with their outcomes as of `end`."""
        with self._database.begin(READING) as connection:
            raw, forms, others = self._logged.parts(connection, after, until)
            packed = [PackedPart(*packed_rows(rows, forms[number]), rows) for number, rows in by_form(raw).items()]
            seqs = {row.prediction_id: row.seq for row in others}
            for each in packed:
                seqs |= zip(each.rows.ids.texts, each.rows.seqs.tolist(), strict=True)
            known, follow_outcome = self._rows.known(connection, seqs, end)
            epochs = {each.rows.form.epoch for each in packed} | {row.epoch for row in others}
            experiments = self._rows.experiments_of(connection, epochs)
        layouts = self._rows.layouts({each.rows.form.layout for each in packed})
        return Part(packed, others, follow_outcome, known, experiments, layouts)

    def exported(self, rows: Sequence[StoredRow], end: Position) -> list[LogRow]:
        """What exports have of these rows, with their outcomes as of `end`."""
        with self._database.begin(READING) as connection:
            return self._rows.of(connection, rows, end)

    def outcomes(self, after: int, until: int) -> pa.RecordBatch:
        """The outcomes of this span, a column for each field that the log has."""
        with self._database.begin(READING) as connection:
            return logged_outcomes(outcomes_after(connection, after, until, until - after))

    def experiments_of(self, epochs: set[int]) -> dict[int, str]:
        """The ids of the experiments of these config revisions."""
        return {epoch: each.experiment_id for epoch, each in self._rows.configurations(epochs).items()}

    def versions_of(self, epochs: set[int]) -> set[str]:
        """The versions that the configurations of these revisions name."""
        return {version for each in self._rows.configurations(epochs).values() for version in each.weights}

    def put_mark(self, place: str, predictions: int, outcomes: int, newest_us: int) -> ArchiveMark:
        """Write down that rows up to these seqs are in the archive at `place`; durable on return."""
        named = statements("archive")
        with self._database.begin(DURABLE) as connection:
            of_feedback = statements("feedback", connection.dialect.name)
            # Under the write lock, which makes its place in the order of events exact.
            seen = int(connection.execute(text(of_feedback["outcomes_seen"])).scalar_one())
            values = {"at_us": self._now_us(), "place": place, "predictions": predictions, "outcomes": outcomes}
            connection.execute(text(named["put_mark"]), {**values, "outcomes_seen": seen, "newest_us": newest_us})
            mark = last_mark(connection)
        assert mark is not None
        return mark

    def remove(self, mark: ArchiveMark, going_on: Callable[[], bool], progress: Callable[[int], None]) -> bool:
        """Remove what the mark says is archived, a little at a time; False where `going_on` said no before the end.

        `progress` gets the number of seqs that were removed since the last call.
        """
        ends = self.ends()
        spans = (
            (("remove_predictions", "remove_packed"), ends.first_prediction, mark.predictions),
            (("remove_outcomes",), ends.first_outcome, mark.outcomes),
        )
        for names, start, last in spans:
            while start and start <= last:
                if not going_on():
                    return False
                values = {"first": start, "until": min(last, start + self._at_once - 1)}
                _, took_s = self._write(partial(_execute, names=names, values=values))
                if took_s > _LONG_S:
                    self._at_once = max(_LEAST_AT_ONCE, self._at_once // 2)
                elif took_s < _LONG_S / 2:
                    self._at_once = min(_MOST_AT_ONCE, self._at_once * 2)
                progress(values["until"] - start + 1)
                start = values["until"] + 1
        return self._give_back(mark, going_on)

    def _give_back(self, mark: ArchiveMark, going_on: Callable[[], bool]) -> bool:
        """Give room back to the disk, a little at a time: free pages of SQLite's file, or PostgreSQL's empty weeks."""
        drop = partial(drop_empty_week, until_us=mark.newest_us)
        while going_on():
            if not self._write(drop if self._database.kind.file is None else _vacuum)[0]:
                return True
        return False

    def _write(self, work: Callable[[Connection], int]) -> tuple[int, float]:
        """Do a short write, and then leave the write lock to others for as long as it took: its result, and seconds."""
        for _ in range(_TRIES):
            started_s = time.monotonic()
            try:
                with self._database.begin(RECORDING) as connection:
                    done = work(connection)
            except StoreUnavailable as error:
                failure = error
                self._pause(0.1)
                continue
            took_s = time.monotonic() - started_s
            self._pause(max(0.002, took_s))
            return done, took_s
        raise failure


def _execute(connection: Connection, names: Sequence[str], values: Mapping[str, int]) -> int:
    return sum(connection.execute(text(statements("archive")[name]), values).rowcount for name in names)


def _old_ahead(connection: Connection, ids: Sequence[str], predictions: int) -> set[str]:
    """Those of the ids that are of unpacked predictions behind the seq `predictions`."""
    query = text(statements("archive", connection.dialect.name)["ahead"])
    values = {"predictions": predictions, "ids": msgspec.json.encode(ids).decode()}
    return {*connection.execute(query, values).scalars()}


def _packed_ahead(connection: Connection, ids: Sequence[str], predictions: int) -> set[str]:
    """Those of the ids that are of packed predictions behind the seq `predictions`."""
    named = statements("archive", connection.dialect.name)
    keys = keys_of(ids)
    if not keys:
        return set()
    given = keys if connection.dialect.name == "postgresql" else b"".join(keys)
    found = connection.execute(text(named["ahead_packed"]), {"predictions": predictions, "keys": given}).scalars()
    packed = {bytes(key) for key in found}
    return {each for each in ids if packed and packed.intersection(keys_of([each]))}


def _parts(after: int, until: int) -> Iterator[tuple[int, int]]:
    for start in range(after, until, _SEQS_PER_READ):
        yield start, min(until, start + _SEQS_PER_READ)


def _vacuum(connection: Connection) -> int:
    """Cut free pages off the file, and return how many it was; 0 where there are none, or the file cannot do it."""
    if connection.exec_driver_sql("PRAGMA auto_vacuum").scalar() != _INCREMENTAL:
        return 0
    pages = min(_PAGES_AT_ONCE, int(connection.exec_driver_sql("PRAGMA freelist_count").scalar_one()))
    # As a script, a transaction of its own: of a single statement without columns the driver takes one step, one page.
    if pages:
        connection.connection.dbapi_connection.executescript(f"PRAGMA incremental_vacuum({pages})")  # type: ignore[union-attr]
    return pages
