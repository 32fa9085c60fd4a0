"""Erases a person's rows from the log, and what derived state has of them, a little at a time, while others go on.

Each batch is one transaction: the rows, what follows from them, the tombstone and the note of the erasure. So a
command that was killed finds what is left, and the monitor's step that has read the rows before writes nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
from sqlalchemy import Connection, text

from app.domain.erasure import Erasure, Tombstones, Traces, Wanted
from app.domain.log_event import EVERY, PredictionRow
from app.errors import StoreUnavailable
from app.services.queries.history import Name, NameKind
from app.store.engine import Database
from app.store.erasures import put_erasure, put_tombstones
from app.store.event_rows import prediction_of
from app.store.kinds import DURABLE, READING
from app.store.logged import LoggedRows, keys_of, mark, set_mark, span_of_numbers
from app.store.statements import ERASED, METRICS, REBUILD, statements
from app.store.unit_rows import window_of, window_row

_SEQS_AT_ONCE = 2_000
_IDS_AT_ONCE = 500
_TRIES = 50
_USER_BYTES = 6
_NO_FEATURES = ""


class Found(NamedTuple):
    """A person's rows: predictions by id, and the config revision of each outcome, by prediction id.

    Outcomes may be there without their prediction.
    """

    rows: dict[str, PredictionRow]
    outcomes: dict[str, list[int]]

    @property
    def ids(self) -> list[str]:
        """The ids of all predictions that are concerned, in the order of their times."""
        return sorted({*self.rows, *self.outcomes})


class _Batch(NamedTuple):
    ids: Sequence[str]
    rows: Sequence[PredictionRow]
    traces: Traces


class Cleaner(Protocol):
    """Takes what identifies a person out of states (`app/monitor/erasing.py`)."""

    def concerns(self, name: str) -> bool: ...

    def cleaned(self, name: str, body: str, traces: Traces) -> str | None: ...


class _Undone(Exception):
    """Rolls a transaction back that was only to be counted."""


class ErasableLog:
    """Finds and erases rows. Every call raises `StoreUnavailable`.

    `traces_of` says what derived state may have of rows and of users, and `cleaner` takes it out of states. `pause`
    waits that many seconds.
    """

    def __init__(
        self,
        database: Database,
        tombstones: Tombstones,
        traces_of: Callable[[Iterable[PredictionRow], Collection[int]], Traces],
        cleaner: Cleaner,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._database = database
        self._tombstones = tombstones
        self._traces_of = traces_of
        self._cleaner = cleaner
        self._pause = pause
        self._logged = LoggedRows()

    def found(self, wanted: Wanted, until_us: int, more: Collection[str] = ()) -> Found:
        """The rows that were served up to `until_us`, with their outcomes, and the outcomes of `more` predictions."""
        rows = [*self._named("own_key", wanted.own_keys), *self._named("request_id", wanted.request_ids)]
        rows += self._of_users(wanted.users)
        known = {row.prediction_id: row for row in rows if row.served_at_us <= until_us}
        outcomes = self._outcomes_of_users(wanted.users)
        return Found(known, self._outcomes_of({*known, *more} - outcomes.keys()) | outcomes)

    def _outcomes_of(self, ids: Collection[str]) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for some in _batches(sorted(ids)):
            for row in self._read("outcomes_of_ids", ids=_json(some)):
                found.setdefault(row.prediction_id, []).append(row.epoch)
        return found

    def by_experiment(self, found: Found) -> dict[str, tuple[int, int]]:
        """How many predictions and outcomes each experiment has of these."""
        with self._database.begin(READING) as connection:
            return _by_experiment(connection, found, found.ids, {})

    def remove(self, wanted: Wanted, found: Found, archived: Found, erasure: Erasure | None) -> Erasure:
        """Remove rows and their traces, and add to the note `erasure` how many; None: only count them.

        Of rows that are `archived`, what the log has of them goes.
        """
        done = erasure or Erasure(number=0, began_us=0, ended_us=None)
        known = {**archived.rows, **found.rows}
        for ids in _batches(sorted({*found.ids, *archived.ids})) or [[]]:
            rows = [known[each] for each in ids if each in known]
            traces = self._traces_of(rows, wanted.users)
            done = self._batch(wanted, found, _Batch(ids, rows, traces), done, dry=erasure is None)
        return done

    def _batch(self, wanted: Wanted, found: Found, part: _Batch, done: Erasure, *, dry: bool) -> Erasure:
        for _ in range(_TRIES):
            started_s, result = time.monotonic(), done
            try:
                with self._database.begin(DURABLE) as connection:
                    counts = Counter(done.counts)
                    self._erase(connection, part, counts)
                    experiments = _by_experiment(connection, found, part.ids, done.experiments)
                    result = msgspec.structs.replace(done, counts=+counts, experiments=experiments)
                    if dry:
                        raise _Undone
                    if wanted.own_keys or wanted.request_ids:
                        put_tombstones(connection, map(self._tombstones.of_row, part.ids), EVERY)
                    set_mark(connection, ERASED, (mark(connection, ERASED) or 0) + 1)
                    put_erasure(connection, result)
            except _Undone:
                return result
            except StoreUnavailable as error:
                failure = error
                self._pause(0.1)
                continue
            self._pause(max(0.002, time.monotonic() - started_s))
            return result
        raise failure

    def _erase(self, connection: Connection, part: _Batch, counts: Counter[str]) -> None:
        ids, rows, traces = part
        run = _Runs(connection, counts)
        run.scrub_decisions(ids)
        keys = keys_of(ids)
        if keys:
            given_keys = keys if connection.dialect.name == "postgresql" else b"".join(keys)
            run.count("predictions", "remove_packed", keys=given_keys)
        run.count("predictions", "remove_predictions", ids=_json(ids))
        run.count("outcomes", "remove_outcomes", ids=_json(ids))
        run.count("corrections", "remove_corrections", ids=_json(ids))
        run.count("disagreements", "remove_disagreements", ids=_json(ids))
        run.count("users", "remove_users", users=_json(sorted(traces.users)))
        # Secondary metrics keep their users among their units.
        units = _json(sorted(traces.units | traces.users))
        for experiment in run.experiments("next_of_units"):
            run.count("units", "remove_units", experiment=experiment, units=units)
        run.blank_windows([row.seq for row in rows])
        for name in connection.execute(text(statements("erasing")["state_names"])).scalars().all():
            if self._cleaner.concerns(_bare(name)):
                run.clean_state(name, self._cleaner, traces)

    def _named(self, kind: NameKind, values: Collection[str]) -> list[PredictionRow]:
        found = []
        for value in sorted(values):
            with self._database.begin(READING) as connection:
                found += self._logged.newest(connection, EVERY, None, None, Name(kind, value))
        return [prediction_of(row) for row in found]

    def _of_users(self, users: Collection[int]) -> list[PredictionRow]:
        with self._database.begin(READING) as connection:
            first, last = span_of_numbers(connection)
        found: list[PredictionRow] = []
        for after in range((first or 1) - 1, last, _SEQS_AT_ONCE) if users else ():
            until = min(last, after + _SEQS_AT_ONCE)
            # No index has users: the few parts that have any are decoded.
            if any(self._has_user(after, until, user) for user in users):
                with self._database.begin(READING) as connection:
                    rows = self._logged.after(connection, after, until, until - after)
                found += [prediction_of(row) for row in rows if row.user_hash in users]
        return found

    def _has_user(self, after: int, until: int, user: int) -> bool:
        values = {"after": after, "until": until, "user_hash": user, "user": user.to_bytes(_USER_BYTES, "big")}
        return bool(self._read("any_of_user", **values)[0][0])

    def _outcomes_of_users(self, users: Collection[int]) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        last = self._read("last_outcome")[0][0] if users else 0
        for after in range(0, last, 10 * _SEQS_AT_ONCE):
            values = {"after": after, "until": after + 10 * _SEQS_AT_ONCE, "users": _json(sorted(users))}
            for row in self._read("outcomes_of_users", **values):
                found.setdefault(row.prediction_id, []).append(row.epoch)
        return found

    def _read(self, statement: str, **values: object) -> Sequence[Any]:
        with self._database.begin(READING) as connection:
            query = statements("erasing", connection.dialect.name)[statement]
            return connection.execute(text(query), values).all()


class _Runs:
    """Carries out the statements of one batch, and counts the rows by place."""

    def __init__(self, connection: Connection, counts: Counter[str]) -> None:
        self._connection = connection
        self._named = statements("erasing", connection.dialect.name)
        self._counts = counts

    def count(self, place: str, statement: str, **values: object) -> None:
        """Carry out a statement, and add the number of its rows to those of a place."""
        self._counts[place] += self._connection.execute(text(self._named[statement]), values).rowcount

    def experiments(self, statement: str) -> list[int]:
        """The experiments' numbers that a table has, each by one step in its index."""
        found, last = list[int](), -(2**63)
        while (
            following := self._connection.execute(text(self._named[statement]), {"after": last}).scalar()
        ) is not None:
            found.append(following)
            last = following
        return found

    def blank_windows(self, seqs: Sequence[int]) -> None:
        """Take the features out of open windows. They stay open: what they count is announced already."""
        for experiment in self.experiments("next_of_windows"):
            values = {"experiment": experiment, "seqs": _json(seqs)}
            windows = map(window_of, self._connection.execute(text(self._named["windows"]), values).all())
            blank = [msgspec.structs.replace(each, features=_NO_FEATURES) for each in windows if each.features]
            if blank:
                rows = [window_row(experiment, each) for each in blank]
                self._connection.execute(text(statements("monitor")["put_window"]), rows)
            self._counts["windows"] += len(blank)

    def clean_state(self, name: str, cleaner: Cleaner, traces: Traces) -> None:
        """Take the traces out of a state."""
        body = self._connection.execute(text(self._named["state"]), {"name": name}).scalar_one()
        cleaned = cleaner.cleaned(_bare(name), body, traces)
        if cleaned is not None:
            self.count("states", "replace_state", name=name, body=cleaned)

    def scrub_decisions(self, ids: Sequence[str]) -> None:
        """Take the corrections of these predictions out of the audit log: the entry stays, without names and values."""
        query = text(self._named["decisions_of_corrections"])
        for row in self._connection.execute(query, {"ids": _json(ids)}).all():
            changes: Mapping[str, Any] = msgspec.json.decode(row.changes or "{}")
            kept = {name: each for name, each in changes.items() if not name.endswith(tuple(ids))}
            gone = len(changes) - len(kept)
            if gone:
                note = f"{row.note or ''}; {gone:,} of them erased".removeprefix("; ")
                values = {"seq": row.seq, "note": note, "changes": _json(kept)}
                self.count("audit entries", "put_changes", **values)


def _by_experiment(
    connection: Connection, found: Found, ids: Sequence[str], before: Mapping[str, tuple[int, int]]
) -> dict[str, tuple[int, int]]:
    """Predictions and outcomes by experiment, with those of these ids added to those `before`."""
    predictions = Counter(found.rows[each].epoch for each in ids if each in found.rows)
    outcomes = Counter(epoch for each in ids for epoch in found.outcomes.get(each, ()))
    epochs = {*predictions, *outcomes}
    query = text(statements("predictions", connection.dialect.name)["experiments"])
    names = {row.epoch: row.experiment_id for row in connection.execute(query, {"epochs": _json(sorted(epochs))})}
    result = dict(before)
    for epoch in epochs:
        name = names.get(epoch, "")
        rows, labels = result.get(name, (0, 0))
        result[name] = rows + predictions[epoch], labels + outcomes[epoch]
    return result


def _bare(name: str) -> str:
    """The name of a state without the space of a rebuild, or of a secondary metric."""
    name = name.removeprefix(REBUILD)
    return name.partition("/")[2] if name.startswith(METRICS) else name


def _batches(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + _IDS_AT_ONCE] for start in range(0, len(ids), _IDS_AT_ONCE)]


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
