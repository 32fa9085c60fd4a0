"""What of the log may go to the archive: only what nothing will process again."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from app.domain.log_event import Cursor


class Span(msgspec.Struct, frozen=True):
    """Predictions and outcomes with seqs above the first number and up to the second."""

    predictions: tuple[int, int]
    outcomes: tuple[int, int]

    def __len__(self) -> int:
        return sum(max(0, until - after) for after, until in (self.predictions, self.outcomes))


class Reach(msgspec.Struct, frozen=True):
    """Up to which seqs the log may be archived, whatever its age. `limited_by` says why not to the end of the log."""

    predictions: int
    outcomes: int
    limited_by: str | None


def reach_of(last_prediction: int, last_outcome: int, cursors: Mapping[str, Cursor], first_window: int | None) -> Reach:
    """How far archiving may go: every projection (its cursor by name) is past it, and no reward window is open.

    The last row of each kind stays, because the log counts from it.
    """
    limits: dict[str | None, tuple[int, int]] = {None: (last_prediction - 1, last_outcome - 1)}
    for projection, cursor in cursors.items():
        name = projection.rstrip("0123456789")  # of another layout: for the reader it is the same
        limits[f"{name} has processed predictions up to {cursor.predictions:,}, outcomes up to {cursor.outcomes:,}"] = (
            cursor.predictions,
            cursor.outcomes,
        )
    if first_window is not None:
        limits[f"prediction {first_window:,} waits for its reward"] = first_window - 1, last_outcome - 1
    predictions, outcomes = (max(0, min(each)) for each in zip(*limits.values(), strict=True))
    # `None` comes first, and so holds where a projection is at the end of the log too.
    return Reach(predictions, outcomes, min(limits, key=lambda reason: max(0, limits[reason][0])))


def next_span(whole: Span, size: int) -> Span:
    """The first part of a span, of up to `size` seqs of each kind."""
    (after, until), (outcomes_after, outcomes_until) = whole.predictions, whole.outcomes
    return Span((after, min(until, after + size)), (outcomes_after, min(outcomes_until, outcomes_after + size)))
