"""The log as exports read it: decoded rows of a part of it, in the order of their commits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import asdict, replace
from sqlalchemy import text

from app.domain.columns import LoggedLayout
from app.domain.experiment import Configuration
from app.services.export.rows import Answer, LogOutcome, LogRow, Position, RowCount, RowForm, Selection
from app.store.engine import Database
from app.store.event_log import EventLog
from app.store.kinds import READING
from app.store.layouts import LayoutReads
from app.store.statements import statements

_LISTS = msgspec.json.Decoder(list[list[Any]])
_ANSWERS = msgspec.json.Decoder(list[dict[str, Answer]])
_NAMES = msgspec.json.Decoder(tuple[str, ...])
_NUMBER = msgspec.json.Decoder(int | float)
# The columns of the statement `rows` that are decoded; those before them are fields of `LogRow` as they are.
_COUNTS, _USER, _ACTUAL, _FEATURES = 10, 12, 15, 19
_Known = tuple[int | float | None, int | None, float | None, int | None]
_NONE: _Known = (None, None, None, None)


class LogRows:
    """Reads the log for exports. Each call is one short read, and raises `StoreUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._layouts = LayoutReads(database)
        self._events = EventLog(database)

    def ends(self) -> tuple[int, Position]:
        """The seq of the first prediction, and the position of the log's end."""
        [(first, *end)] = self._read(statements("log")["ends"], {})
        return first, Position(*end)

    def counts(self, after: int, until: int, selection: Selection) -> list[RowCount]:
        """The forms of the selected rows with seqs above `after` and up to `until`, and how many have each."""
        found = self._read(statements("log")["counts"], {"after": after, "until": until, **asdict(selection)})
        layouts = self._known_layouts(layout for _, layout, _, _ in found)
        return [
            RowCount(RowForm(version, None if layout is None else layouts[layout]), epoch, number)
            for version, layout, epoch, number in found
        ]

    def rows(self, after: int, until: int, end: Position, selection: Selection) -> list[LogRow]:
        """The selected rows with seqs above `after` and up to `until`, with their outcomes as of `end`."""
        values = {"after": after, "until": until, "outcomes": end.outcomes, **asdict(selection)}
        rows = self._decoded(self._read(statements("log")["rows"], values))
        if not end.corrections:
            return rows
        span = {"after": after, "until": until, "corrections": end.corrections}
        return _corrected(rows, self._read(statements("log")["corrected"], span))

    def news(self, after: Position, limit: int) -> tuple[list[LogRow], list[LogOutcome]]:
        """Up to `limit` predictions, outcomes and corrections each after a position, of one snapshot.

        A prediction has those of its outcomes that were written before it.
        """
        named = statements("log")
        with self._database.begin(READING) as connection:
            values = {"after": after.predictions, "limit": limit}
            rows = connection.execute(text(named["new_rows"]), values).all()
            values = {"after": after.outcomes, "limit": limit}
            outcomes = connection.execute(text(named["outcomes"]), values).all()
            values = {"after": after.corrections, "limit": limit}
            corrections = connection.execute(text(named["corrections"]), values).all()
            early = connection.execute(
                text(named["corrected"]),
                {"after": after.predictions, "until": rows[-1].seq if rows else after.predictions, "corrections": None},
            ).all()
        return _corrected(self._decoded(rows), early), [_outcome(row) for row in (*outcomes, *corrections)]

    def configurations(self, epochs: Iterable[int]) -> Mapping[int, Configuration]:
        """The configurations of these revisions, by revision; unknown ones are left out."""
        return self._events.configurations(epochs)

    def experiments(self) -> list[str]:
        """The ids of all experiments, newest first."""
        return [each.id for each in self._events.experiments()]

    def _read(self, query: str, values: Mapping[str, object]) -> Sequence[Any]:
        with self._database.begin(READING) as connection:
            return connection.execute(text(query), values).all()

    def _known_layouts(self, ids: Iterable[int | None]) -> Mapping[int, LoggedLayout]:
        wanted = {each for each in ids if each is not None}
        known = self._layouts.layouts(wanted) if wanted else {}
        # A layout that is not there has no names; the contract of the version would give wrong ones.
        return {each: known.get(each, LoggedLayout(each, ())) for each in wanted}

    def _decoded(self, rows: Sequence[Any]) -> list[LogRow]:
        """What the rows hold; the only place that knows how."""
        if not rows:
            return []
        features = _LISTS.decode(f"[{','.join([row[_FEATURES] for row in rows])}]")
        answers = _ANSWERS.decode(f"[{','.join([row[_FEATURES + 1] for row in rows])}]")
        layouts = self._known_layouts({row[-1] for row in rows})
        return [
            LogRow(
                *[
                    *row[:_COUNTS],
                    bool(row[_COUNTS]),  # SQLite gives 0 and 1
                    bool(row[_COUNTS + 1]),
                    *row[_USER:_ACTUAL],
                    *_outcomes(*row[_ACTUAL:_FEATURES]),
                    values,
                    given,
                    *[() if names is None else _NAMES.decode(names) for names in row[-3:-1]],
                    None if row[-1] is None else layouts[row[-1]],
                ]
            )
            for row, values, given in zip(rows, features, answers, strict=True)
        ]


def _outcomes(actual: str | None, actual_at_us: int | None, reward: str | None, reward_at_us: int | None) -> _Known:
    if actual is None and reward is None:
        return _NONE
    label = None if actual is None else _NUMBER.decode(actual)
    return label, actual_at_us, None if reward is None else float(_NUMBER.decode(reward)), reward_at_us


def _corrected(rows: list[LogRow], corrections: Sequence[Any]) -> list[LogRow]:
    """The rows with the last value of each outcome that was corrected."""
    if not corrections:
        return rows
    changes: dict[int, dict[str, Any]] = {}
    for seq, kind, value, at_us in corrections:
        number = _NUMBER.decode(value)
        number = number if kind == "actual" else float(number)
        changes.setdefault(seq, {}).update({kind: number, f"{kind}_corrected_at_us": at_us})
    return [replace(row, **changes[row.seq]) if row.seq in changes else row for row in rows]


def _outcome(row: Any) -> LogOutcome:
    seq, seen, prediction_id, kind, value, at_us, ordinal, epoch, experiment, counts, user_hash, *corrected = row
    number = _NUMBER.decode(value)
    return LogOutcome(
        seq, seen, prediction_id, kind, number, at_us, ordinal, epoch, experiment, bool(counts), user_hash, *corrected
    )
