"""Disagreements in the store: written with the monitor's derived state, and read page by page, newest first."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from operator import itemgetter
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from app.domain.disagreement import KEPT, MOST_COUNTED, PairSeen, Won
from app.domain.monitor_state import Changes
from app.services.queries.disagreements import ListedRow
from app.store.engine import Database
from app.store.history import PredictionHistory
from app.store.kinds import READING
from app.store.sqlite import execute_all
from app.store.statements import statements

_COLUMNS = ("experiment", "challenger", "prediction_id", "won", "label", "row_hash")


def put_disagreements(connection: Connection, changes: Changes) -> None:
    """Write what a batch has found.

    A rebuild writes the same rows, beside a running monitor: a row is put once, and keeps what a label said of it.
    """
    concerned = {*changes.disagreements, *changes.labelled_disagreements, *changes.trimmed_disagreements}
    if not concerned:
        return
    named = statements("disagreements")
    numbers = _numbers(connection, concerned)
    labelled = changes.labelled_disagreements.items()
    # Of several labels of one row the last one counts.
    labels = {(numbers[name], each.challenger, each.prediction_id): each for name, some in labelled for each in some}
    rows: dict[tuple[int, str, str], dict[str, Any]] = {}
    for name, found in changes.disagreements.items():
        experiment = numbers[name]
        for each in found:
            key = (experiment, each.challenger, each.prediction_id)
            # Most labels that come at once are put with their row: to find it again takes as long as to put it.
            label = labels.pop(key, None)
            won, text_of_label = (each.won, None) if label is None else (label.won, label.label)
            row = dict(zip(_COLUMNS, (*key, won, text_of_label, each.row_hash), strict=True))
            rows.setdefault(key, row)  # one that was archived may be logged once more
    execute_all(connection, "disagreements", "put", [*rows.values()])
    late = [
        dict(zip(_COLUMNS, (*key, label.won, label.label), strict=False))
        for key, label in sorted(labels.items(), key=itemgetter(0))
    ]
    execute_all(connection, "disagreements", "label", late)
    for name, challengers in changes.trimmed_disagreements.items():
        for challenger in challengers:
            values = {"experiment": numbers[name], "challenger": challenger, "kept": KEPT}
            connection.execute(text(named["trim"]), values)


class DisagreementTable:
    """Reads disagreements. Every call raises `StoreUnavailable` where the store cannot be read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._log = PredictionHistory(database)

    def page(
        self,
        experiment_id: str,
        challenger: str,
        limit: int,
        won: Won | None = None,
        label: str | None = None,
        before: str | None = None,
    ) -> list[ListedRow]:
        """Up to `limit` rows, newest first: of that `won`, with that `label` (JSON), older than `before`, if given."""
        given: dict[str, object] = {"won": won, "label": label, "before": before}
        values = {name: value for name, value in given.items() if value is not None}
        conditions = " ".join(_CONDITIONS[name] for name in values)
        query = f"{statements('disagreements')['page']} {conditions} ORDER BY d.prediction_id DESC LIMIT :limit"
        with self._database.begin(READING) as connection:
            experiment = _numbers(connection, [experiment_id]).get(experiment_id)
            more = {"experiment": experiment, "challenger": challenger, "limit": limit, "most_counted": MOST_COUNTED}
            found = connection.execute(text(query), {**values, **more}).all()
        rows = self._log.of_ids([row.prediction_id for row in found])
        return [
            ListedRow(rows[each.prediction_id], each.won, each.came) for each in found if each.prediction_id in rows
        ]

    def margin(self, experiment_id: str, challenger: str) -> float | None:
        """The distance beyond which numbers are disagreements; None for classes, and before the first row."""
        with self._database.begin(READING) as connection:
            body = connection.execute(
                text(statements("disagreements")["state"]), {"name": f"disagreements/{experiment_id}"}
            ).scalar()
        seen = None if body is None else msgspec.json.decode(body, type=_Seen).pairs.get(challenger)
        return seen.distances.margin if seen is not None and seen.distances.rows else None


class _Seen(msgspec.Struct):
    pairs: dict[str, PairSeen] = msgspec.field(default_factory=dict)


_CONDITIONS: Mapping[str, str] = {
    "won": "AND d.won = :won",
    "label": "AND d.label = :label",
    "before": "AND d.prediction_id < :before",
}


def _numbers(connection: Connection, experiment_ids: Collection[str]) -> dict[str, int]:
    query = statements("disagreements", connection.dialect.name)["ordinals"]
    rows: Any = connection.execute(text(query), {"ids": msgspec.json.encode(sorted(experiment_ids)).decode()})
    return {row.id: row.ordinal for row in rows}
