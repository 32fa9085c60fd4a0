"""Who sent logged rows, and which of them are of one request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from app.domain.log_event import PredictionRow
from app.domain.log_page import in_blocks, taken
from app.domain.prediction_id import begin_and_are_of_several
from app.drift.callers import Callers

if TYPE_CHECKING:
    from app.monitor.drift.samples import Requests


def callers_of(requests: Requests, last_at_us: int, ends: np.ndarray) -> Callers:
    """Who sent the rows. `last_at_us`: when the row before them was served.

    A row of another time belongs to another request. Of the same time it may, so that the id must say. After so many
    rows as `ends` says, and after all, a call may end, so that it must not matter what the next row is.
    """
    times = requests.at_us
    begins = np.concatenate([[last_at_us], times[:-1]]) != times
    same = np.flatnonzero(~begins)
    begins[same] = _marks(taken(requests.rows, same))[0]
    alone = begins.copy()
    alone[:-1] &= begins[1:]
    # Whether such a row is the last one of its request, the next call would know.
    last = np.unique([*ends.tolist(), requests.number])
    last = last[last > 0] - 1
    alone[last] = begins[last] & ~_marks(taken(requests.rows, last))[1]
    return Callers(requests.users, begins, alone, requests.keys)


def _marks(rows: Sequence[PredictionRow]) -> tuple[np.ndarray, np.ndarray]:
    """Which rows begin a request, and which are of one with several rows, as far as their ids say; shape (n,) each."""
    begin, several = np.ones(len(rows), bool), np.zeros(len(rows), bool)
    parts, alone = in_blocks(rows)
    for block, places, at in parts:
        begin[places], several[places] = begin_and_are_of_several(block.raw_ids[at])
    for place in alone:
        marks = rows[place].marks
        # Ids of another format do not say. Before there were such marks, each row counted as a request.
        if marks is not None:
            begin[place], several[place] = marks.first, marks.of_several
    return begin, several
