"""Where a portion of the log must end, and its events in the one total order (see `app.domain.log_event`)."""

from __future__ import annotations

from collections.abc import Sequence

from app.domain.log_event import Event, Joined, LogPage, OutcomeRow, PredictionRow, Served, Told


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
        keyed.append(((row.seq, 0, 0), [Served(row), *(Joined(outcome, row) for outcome in waiting)]))
    for outcome in page.outcomes:
        known = page.rows.get(outcome.prediction_id)
        joined = [Joined(outcome, known)] if known is not None and known.seq <= outcome.predictions_seen else []
        keyed.append(((outcome.predictions_seen, 1, outcome.seq), [Told(outcome), *joined]))
    keyed.sort(key=lambda entry: entry[0])
    return [event for _, events in keyed for event in events]
