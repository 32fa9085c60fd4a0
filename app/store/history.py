"""The log as the history reads it: rows with their outcomes by page, id and name, and the predictions of own keys."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec
from sqlalchemy import Connection, text

from app.domain.columns import LoggedLayout
from app.services.ports import KEY_DAYS
from app.services.queries.history import Name, Place
from app.services.queries.logged_answers import LoggedAnswer, LoggedCorrection
from app.store.engine import Database
from app.store.forms import StoredRow
from app.store.kinds import READING
from app.store.layouts import LayoutReads
from app.store.logged import LoggedRows
from app.store.statements import statements

_DAY_US = 86_400 * 1_000_000


class PredictionHistory:
    """Reads the log for the history. Every call raises `StoreUnavailable` where the store cannot be read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._layouts = LayoutReads(database)
        self._rows = LoggedRows()

    def page(
        self,
        limit: int,
        version: str | None = None,
        before: Place | None = None,
        name: Name | None = None,
    ) -> list[LoggedAnswer]:
        """Up to `limit` rows with their outcomes, newest first.

        Only those of one `version`, older than `before`, and of that `name`, if given.
        """
        with self._database.begin(READING) as connection:
            return self._answers(connection, self._rows.newest(connection, limit, version, before, name))

    def of_ids(self, ids: Collection[str]) -> dict[str, LoggedAnswer]:
        """The rows with these ids that are in the log, by id."""
        with self._database.begin(READING) as connection:
            found = self._answers(connection, self._rows.of_ids(connection, ids))
        return {row.prediction_id: row for row in found}

    def first(self, name: Name) -> LoggedAnswer | None:
        """The first row of that name, None without one."""
        with self._database.begin(READING) as connection:
            row = self._rows.oldest(connection, name)
            return None if row is None else self._answers(connection, [row])[0]

    def place(self, prediction_id: str) -> Place | None:
        """The place of a prediction in the history; None where it is not in the log."""
        with self._database.begin(READING) as connection:
            row = self._rows.oldest(connection, Name("prediction_id", prediction_id))
        return None if row is None else Place(row.prediction_id, row.served_at_us)

    def has_version(self, version: str) -> bool:
        """Whether the log has a prediction of `version`."""
        with self._database.begin(READING) as connection:
            return bool(self._rows.newest(connection, 1, version, None, None))

    def _answers(self, connection: Connection, rows: Sequence[StoredRow]) -> list[LoggedAnswer]:
        """The rows with what else the log knows of them, in their order."""
        ids = [row.prediction_id for row in rows]
        outcomes = _outcomes(connection, ids)
        experiments = _experiments(connection, {row.epoch for row in rows})
        corrections = _corrections(connection, ids)
        layouts = self._layouts.layouts((row.layout for row in rows if row.layout is not None), connection)
        return [
            _corrected(
                _answer(row, layouts, experiments.get(row.epoch), outcomes.get(row.prediction_id, {})),
                corrections.get(row.prediction_id, ()),
            )
            for row in rows
        ]


class OwnKeys:
    """Finds the predictions that callers' own keys are bound to; `now_us` is the clock (µs since 1970, UTC)."""

    def __init__(self, database: Database, now_us: Callable[[], int]) -> None:
        self._database = database
        self._now_us = now_us
        self._rows = LoggedRows()

    def bound(self, keys: Collection[str]) -> dict[str, str]:
        """The prediction id by key, for those keys that a prediction of the last 90 days has.

        A key is bound to the first prediction that counts, by the time of serving: several workers may log two in
        another order. Where none counts, it is the first one: an answer that was forced can be labelled by its key,
        too. Raises `StoreUnavailable`.
        """
        with self._database.begin(READING) as connection:
            rows = self._rows.of_own_keys(connection, keys, self._now_us() - KEY_DAYS * _DAY_US)
        bound: dict[str, StoredRow] = {}
        for row in sorted(rows, key=lambda row: (not row.counts, row.prediction_id)):
            bound.setdefault(row.own_key or "", row)
        return {key: row.prediction_id for key, row in bound.items()}


def _outcomes(connection: Connection, ids: Sequence[str]) -> dict[str, dict[str, tuple[str, int]]]:
    """For each id its outcomes: by kind the value (JSON) and when it was received (µs since 1970)."""
    found: dict[str, dict[str, tuple[str, int]]] = {}
    query = text(statements("predictions", connection.dialect.name)["outcomes"])
    for row in connection.execute(query, {"ids": msgspec.json.encode(ids).decode()}) if ids else ():
        found.setdefault(row.prediction_id, {})[row.kind] = row.outcome, row.received_at_us
    return found


def _experiments(connection: Connection, epochs: Iterable[int]) -> dict[int, str]:
    """The experiments of these config revisions."""
    query = text(statements("predictions", connection.dialect.name)["experiments"])
    rows = connection.execute(query, {"epochs": msgspec.json.encode(sorted(epochs)).decode()})
    return {row.epoch: row.experiment_id for row in rows}


def _corrections(connection: Connection, ids: Sequence[str]) -> dict[str, list[LoggedCorrection]]:
    named = statements("predictions", connection.dialect.name)
    found: dict[str, list[LoggedCorrection]] = {}
    if connection.execute(text(named["any_correction"])).first() is not None:
        for row in connection.execute(text(named["corrections"]), {"ids": msgspec.json.encode(ids).decode()}):
            found.setdefault(row.prediction_id, []).append(LoggedCorrection(*row[1:]))
    return found


def _corrected(row: LoggedAnswer, corrections: Sequence[LoggedCorrection]) -> LoggedAnswer:
    """The row with the last value of each outcome."""
    if not corrections:
        return row
    last = {each.kind: each.outcome for each in corrections}
    return msgspec.structs.replace(row, corrections=tuple(corrections), **last)


def _answer(
    row: StoredRow,
    layouts: Mapping[int, LoggedLayout],
    experiment_id: str | None,
    outcomes: Mapping[str, tuple[str, int]],
) -> LoggedAnswer:
    # A layout that is not there has no names; the contract of the version would give wrong ones.
    columns = None if row.layout is None else layouts.get(row.layout, LoggedLayout(row.layout, ()))
    values = row._asdict() | {"layout": columns}
    del values["seq"]
    for kind, (outcome, at_us) in outcomes.items():
        values |= {kind: outcome, f"{kind}_at_us": at_us}
    return LoggedAnswer(**values, experiment_id=experiment_id)
