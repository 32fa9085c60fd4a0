"""The notes of erasures in the store, and the tombstones by which outcomes of erased predictions are refused."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from app.domain.decision import ERASE
from app.domain.erasure import Erasure, Tombstones, Wanted
from app.domain.outcome import Outcome
from app.store.engine import Database
from app.store.kinds import DURABLE, READING
from app.store.logged import mark, set_mark
from app.store.statements import REBUILT_AFTER, statements


class Erasures:
    """Writes and reads the notes. Every call raises `StoreUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, wanted: Wanted, tombstones: Tombstones, until_us: int) -> Erasure:
        """Note that an erasure begins, or go on with one of the same that has not ended.

        From here on no outcome is accepted of what was served to the users until then (µs since 1970).
        """
        named, subject = statements("erasing"), tombstones.of_subject(wanted)
        with self._database.begin(DURABLE) as connection:
            put_tombstones(connection, map(tombstones.of_user, wanted.users), until_us)
            row = connection.execute(text(named["open_erasure"]), {"subject": subject}).first()
            if row is not None:
                return _erasure(row)
            values = {"subject": subject, "began_us": until_us}
            number = connection.execute(text(named["begin_erasure"]), values).scalar_one()
        return Erasure(number=number, began_us=until_us, ended_us=None)

    def put(self, erasure: Erasure) -> None:
        """Replace the note of an erasure."""
        with self._database.begin(DURABLE) as connection:
            put_erasure(connection, erasure)

    def end(self, erasure: Erasure, at_us: int, actor: str, note: str) -> None:
        """Note that an erasure ended, and write its entry in the audit log."""
        entry = {"at_us": at_us, "actor": actor, "action": ERASE, "note": note}
        entry |= dict.fromkeys(("version", "experiment_id", "epoch", "changes", "evidence"))
        with self._database.begin(DURABLE) as connection:
            put_erasure(connection, msgspec.structs.replace(erasure, ended_us=at_us))
            connection.execute(text(statements("decisions")["append"]), entry)

    def since_rebuild(self) -> list[Erasure]:
        """The erasures that began after the last rebuild."""
        with self._database.begin(READING) as connection:
            values = {"number": mark(connection, REBUILT_AFTER) or 0}
            return [_erasure(row) for row in connection.execute(text(statements("erasing")["erasures_since"]), values)]

    def note_rebuilt(self, last: Erasure) -> None:
        """Note that a rebuild took place behind that erasure."""
        with self._database.begin(DURABLE) as connection:
            set_mark(connection, REBUILT_AFTER, last.number)


def put_erasure(connection: Connection, erasure: Erasure) -> None:
    """Replace the note of an erasure."""
    values: dict[str, Any] = {"number": erasure.number, "ended_us": erasure.ended_us, "counts": _json(erasure.counts)}
    values["experiments"] = _json([erasure.experiments, erasure.archived])
    connection.execute(text(statements("erasing")["put_erasure"]), values)


def put_tombstones(connection: Connection, hashes: Iterable[int], until_us: int) -> None:
    """Refuse outcomes from here on, of what was served until then."""
    rows = [{"hash": each, "until_us": until_us} for each in hashes]
    if rows:
        connection.execute(text(statements("erasing")["put_tombstone"]), rows)


def erased_among(connection: Connection, outcomes: Collection[Outcome], tombstones: Tombstones) -> set[str]:
    """The ids of those predictions that were erased."""
    named = statements("erasing", connection.dialect.name)
    if not connection.execute(text(named["any_erased"])).scalar():
        return set()
    hashes: dict[int, list[Outcome]] = {}
    for outcome in outcomes:
        hashes.setdefault(tombstones.of_row(outcome.prediction_id), []).append(outcome)
        if outcome.fact.user_hash:
            hashes.setdefault(tombstones.of_user(outcome.fact.user_hash), []).append(outcome)
    found = connection.execute(text(named["tombstones"]), {"hashes": _json(sorted(hashes))})
    until = {row.hash: row.until_us for row in found}
    return {
        each.prediction_id
        for hashed, some in hashes.items()
        for each in some
        if hashed in until and each.fact.served_at_us <= until[hashed]
    }


def _erasure(row: Any) -> Erasure:
    by_experiment = dict[str, tuple[int, int]]
    experiments, archived = msgspec.json.decode(row.experiments, type=tuple[by_experiment, by_experiment])
    counts = msgspec.json.decode(row.counts, type=dict[str, int])
    return Erasure(
        number=row.number,
        began_us=row.began_us,
        ended_us=row.ended_us,
        counts=counts,
        experiments=experiments,
        archived=archived,
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
