"""The log as the monitor reads it: rows, and the events that they make in one total order.

A prediction's place is (its seq, 0, 0). An outcome's place is (the last prediction's seq when it was written, 1, its
seq). Writers exclude each other, so this is the order of their commits: nothing ever appears before events that have
been read, and every reader gets the same events in the same order, whatever its batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from app.domain.outcome import OutcomeKind


class PredictionRow(msgspec.Struct, frozen=True):
    """A row of `predictions`; `features`, `answers` and `failed` are JSON texts as in `LoggedPrediction`."""

    seq: int
    prediction_id: str
    served_at_us: int
    epoch: int
    version: str
    chosen: str
    assignment: str
    propensity: float | None
    counts: bool
    synthetic: bool
    user_hash: int
    features: str
    answers: str
    latency_us: int
    own_key: str | None = None
    failed: str | None = None


class OutcomeRow(msgspec.Struct, frozen=True):
    """A row of `feedback`: an outcome with the facts in its signed prediction id. `outcome` is a JSON number.

    `predictions_seen` is the seq of the last prediction when the outcome was written.
    """

    seq: int
    prediction_id: str
    kind: OutcomeKind
    outcome: str
    received_at_us: int
    version_ordinal: int
    epoch: int
    counts: bool
    randomised: bool
    answer: float
    user_hash: int
    predictions_seen: int


class PredictionLogged(msgspec.Struct, frozen=True):
    """A prediction was logged."""

    row: PredictionRow


class FeedbackReceived(msgspec.Struct, frozen=True):
    """An outcome was logged, with or without its prediction in the log."""

    outcome: OutcomeRow


class OutcomeJoined(msgspec.Struct, frozen=True):
    """An outcome and its prediction are both in the log; follows the event of the later of the two."""

    outcome: OutcomeRow
    row: PredictionRow

    @property
    def at_us(self) -> int:
        """The time of the later of the two, µs since 1970."""
        return max(self.outcome.received_at_us, self.row.served_at_us)


class TimePassed(msgspec.Struct, frozen=True):
    """A row of `heartbeats`: the monitor says that time has passed, while windows are open and no traffic says it.

    `at_us` is µs since 1970. `predictions_seen` and `outcomes_seen` are the seqs of the last prediction and of the last
    outcome when it was written.
    """

    seq: int
    at_us: int
    predictions_seen: int
    outcomes_seen: int


Event: TypeAlias = PredictionLogged | FeedbackReceived | OutcomeJoined | TimePassed


class Cursor(msgspec.Struct, frozen=True):
    """How far the log has been processed: the seqs of the last prediction, the last outcome, and the last heartbeat."""

    predictions: int = 0
    outcomes: int = 0
    heartbeats: int = 0


class LogPage(msgspec.Struct, frozen=True):
    """The next rows after a cursor, read in one snapshot of the log, with the rows that they join.

    `early`: outcomes that were written before their predictions, which are on this page. `rows`: predictions, by id,
    that were written before their outcomes, which are on this page. `cursor`: the end of the page.
    """

    predictions: tuple[PredictionRow, ...]
    outcomes: tuple[OutcomeRow, ...]
    early: tuple[OutcomeRow, ...]
    rows: dict[str, PredictionRow]
    cursor: Cursor

    def __len__(self) -> int:
        return len(self.predictions) + len(self.outcomes)


def consumable(
    predictions: Sequence[PredictionRow], outcomes: Sequence[OutcomeRow], limit: int
) -> tuple[tuple[PredictionRow, ...], tuple[OutcomeRow, ...]]:
    """The rows that can be processed, of up to `limit` predictions and outcomes read after one cursor in one snapshot.

    A list of `limit` rows may go on after its last one, so rows of the other list with a later place must wait for the
    next page. At least one list is processed completely, so reading never stops.
    """
    # A full list may go on; one that is not full is complete, and limits nothing.
    last_prediction = predictions[-1].seq if len(predictions) >= limit else None
    last_seen = outcomes[-1].predictions_seen if len(outcomes) >= limit else None
    if last_prediction is not None:
        outcomes = [outcome for outcome in outcomes if outcome.predictions_seen <= last_prediction]
    if last_seen is not None:
        predictions = [row for row in predictions if row.seq <= last_seen]
    return tuple(predictions), tuple(outcomes)


def in_order(page: LogPage) -> list[Event]:
    """The page's events in the total order; an outcome joins its prediction after the later of the two."""
    early: dict[str, list[OutcomeRow]] = {}
    for outcome in page.early:
        early.setdefault(outcome.prediction_id, []).append(outcome)
    keyed: list[tuple[tuple[int, int, int], list[Event]]] = []
    for row in page.predictions:
        waiting = sorted(early.get(row.prediction_id, ()), key=lambda outcome: outcome.seq)
        keyed.append(((row.seq, 0, 0), [PredictionLogged(row), *(OutcomeJoined(outcome, row) for outcome in waiting)]))
    for outcome in page.outcomes:
        known = page.rows.get(outcome.prediction_id)
        # Only if the prediction came first: otherwise the prediction's own event joins them, and this would be twice.
        joined = [OutcomeJoined(outcome, known)] if known is not None and known.seq <= outcome.predictions_seen else []
        keyed.append(((outcome.predictions_seen, 1, outcome.seq), [FeedbackReceived(outcome), *joined]))
    keyed.sort(key=lambda entry: entry[0])
    return [event for _, events in keyed for event in events]
