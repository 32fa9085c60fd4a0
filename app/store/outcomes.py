"""The log of outcomes: each prediction and kind once, on disk before the call returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import msgspec
from sqlalchemy import Connection, text

from app.domain.outcome import Outcome
from app.errors import BakeoffError, Contradiction
from app.files import lock_if_possible
from app.services.recording.feedback import Receipt
from app.store.engine import Database
from app.store.kinds import DURABLE
from app.store.statements import statements

_Known = dict[tuple[str, str], str]


class FeedbackLog:
    """Appends to `feedback`; `now_us` is the clock (µs since 1970, UTC).

    The processes of a host exclude each other by the file `lock_file` where the store does not serve them in order.
    """

    def __init__(self, database: Database, now_us: Callable[[], int], lock_file: Path | None = None) -> None:
        self._database = database
        self._now_us = now_us
        # SQLite's own wait sleeps ever longer between its tries, so that beside a busy writer another one misses most
        # of its chances; the kernel wakes whoever waits for a file's lock.
        self._lock_file = None if database.kind.is_fair else lock_file

    def commit(self, submissions: Sequence[Sequence[Outcome]]) -> list[Receipt | BakeoffError]:
        """For each submission its receipt, or the `Contradiction` for which none of it was accepted; durable on return.

        Raises `StoreUnavailable`: then nothing was accepted.
        """
        # One transaction under the write lock: the known outcomes cannot change between the check and the write, and
        # `predictions_seen` gives the outcomes their exact place in the order of events.
        alone = lock_if_possible(self._lock_file) if self._lock_file else nullcontext()
        with alone, self._database.begin(DURABLE) as connection:
            known = _known(connection, submissions)
            new: list[Outcome] = []
            results = [_settle(outcomes, known, new) for outcomes in submissions]
            if new:
                self._append(connection, new)
        return results

    def _append(self, connection: Connection, outcomes: Sequence[Outcome]) -> None:
        seen = connection.execute(text(statements("feedback")["predictions_seen"])).scalar_one()
        received_at_us = self._now_us()
        rows = [
            {
                "prediction_id": outcome.prediction_id,
                "kind": outcome.kind,
                "outcome": _canonical(outcome),
                "received_at_us": received_at_us,
                "version_ordinal": outcome.fact.version_ordinal,
                "epoch": outcome.fact.epoch,
                "counts": outcome.fact.counts,
                "randomised": outcome.fact.randomised,
                "answer": outcome.fact.answer,
                "user_hash": outcome.fact.user_hash,
                "predictions_seen": seen,
            }
            for outcome in outcomes
        ]
        connection.execute(text(statements("feedback")["append"]), rows)


def _known(connection: Connection, submissions: Sequence[Sequence[Outcome]]) -> _Known:
    ids = sorted({outcome.prediction_id for outcomes in submissions for outcome in outcomes})
    query = text(statements("feedback", connection.dialect.name)["known"])
    rows = connection.execute(query, {"ids": msgspec.json.encode(ids).decode()})
    return {(row.prediction_id, row.kind): row.outcome for row in rows}


def _settle(outcomes: Sequence[Outcome], known: _Known, new: list[Outcome]) -> Receipt | BakeoffError:
    """Add one submission to `known` and `new`, as a whole or not at all."""
    fresh: dict[tuple[str, str], Outcome] = {}
    for outcome in outcomes:
        key, value = (outcome.prediction_id, outcome.kind), _canonical(outcome)
        before = _canonical(fresh[key]) if key in fresh else known.get(key)
        if before is None:
            fresh[key] = outcome
        elif before != value:
            return _contradiction(outcome, before, alone=outcomes[-1].item == 0)
    known.update((key, _canonical(outcome)) for key, outcome in fresh.items())
    new.extend(fresh.values())
    return Receipt(accepted=len(fresh), duplicates=len(outcomes) - len(fresh))


def _contradiction(outcome: Outcome, before: str, *, alone: bool) -> Contradiction:
    error = Contradiction(
        f"the {outcome.kind} of this prediction is recorded as {before}; an outcome cannot be changed",
        field=outcome.kind,
    )
    return error if alone else error.within("item", outcome.item)


def _canonical(outcome: Outcome) -> str:
    return msgspec.json.encode(outcome.value).decode()
