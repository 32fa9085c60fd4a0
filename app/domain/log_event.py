"""The log as the monitor reads it: its rows, and the events that they make in one total order.

A prediction stands at (its seq, 0, 0). An outcome stands at (the last prediction's seq when it was written, 1, its
seq). Writers take turns, so this is the order in which they committed: nothing can ever appear before what has been
read, and whoever reads the log, whenever and in whatever portions, meets the same events in the same order.

Where a portion of the log must end, and its events in the one total order (see `app.domain.log_event`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from app.domain.outcome import OutcomeKind


class PredictionRow(msgspec.Struct, frozen=True):
    """A row of `predictions`; `features` and `answers` are JSON texts as in `LoggedPrediction`."""

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


class OutcomeRow(msgspec.Struct, frozen=True):
    """A row of `feedback`: an outcome, and what the signed id said of the answer. `outcome` is a JSON number."""

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
    """A prediction entered the log."""

    row: PredictionRow


class FeedbackReceived(msgspec.Struct, frozen=True):
    """An outcome entered the log, whether or not its prediction is there."""

    outcome: OutcomeRow


class OutcomeJoined(msgspec.Struct, frozen=True):
    """Both an outcome and its prediction are in the log from now on; comes after the later of the two."""

    outcome: OutcomeRow
    row: PredictionRow

    @property
    def at_us(self) -> int:
        """When the later of the two came about, µs since 1970."""
        return max(self.outcome.received_at_us, self.row.served_at_us)


Event: TypeAlias = PredictionLogged | FeedbackReceived | OutcomeJoined


class Cursor(msgspec.Struct, frozen=True):
    """How much of the log has been taken in: everything up to these two numbers, which are always a prefix of it."""

    predictions: int = 0
    outcomes: int = 0


class LogPage(msgspec.Struct, frozen=True):
    """The next rows after a cursor, of one snapshot of the log, with what is needed to join them.

    `early`: outcomes of these predictions that were written before them. `rows`: the predictions of these outcomes
    that were written before them, by id. `cursor`: where the page ends.
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
    """The rows of one snapshot, read after one cursor and up to `limit` of each, whose predecessors are among them.

    A list of `limit` rows may have a continuation, and what stands behind its last row must wait for that. At least
    one list is taken as a whole, so that reading always goes on.
    """
    last_prediction = predictions[-1].seq if len(predictions) >= limit else None
    last_seen = outcomes[-1].predictions_seen if len(outcomes) >= limit else None
    if last_prediction is not None:
        outcomes = [outcome for outcome in outcomes if outcome.predictions_seen <= last_prediction]
    if last_seen is not None:
        predictions = [row for row in predictions if row.seq <= last_seen]
    return tuple(predictions), tuple(outcomes)


def in_order(page: LogPage) -> list[Event]:
    """The page's events; a label joins its prediction after the later of the two."""
    early: dict[str, list[OutcomeRow]] = {}
    for outcome in page.early:
        early.setdefault(outcome.prediction_id, []).append(outcome)
    keyed: list[tuple[tuple[int, int, int], list[Event]]] = []
    for row in page.predictions:
        waiting = sorted(early.get(row.prediction_id, ()), key=lambda outcome: outcome.seq)
        keyed.append(((row.seq, 0, 0), [PredictionLogged(row), *(OutcomeJoined(outcome, row) for outcome in waiting)]))
    for outcome in page.outcomes:
        known = page.rows.get(outcome.prediction_id)
        joined = [OutcomeJoined(outcome, known)] if known is not None and known.seq <= outcome.predictions_seen else []
        keyed.append(((outcome.predictions_seen, 1, outcome.seq), [FeedbackReceived(outcome), *joined]))
    keyed.sort(key=lambda entry: entry[0])
    return [event for _, events in keyed for event in events]
