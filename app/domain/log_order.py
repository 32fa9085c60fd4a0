"""The events of a page of the log in the total order, and predictions by id, which outcomes join."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import cast

import numpy as np

from app.domain.log_event import (
    Event,
    LogPage,
    OutcomeCorrected,
    Place,
    PredictionRow,
    place_of_correction,
    place_of_heartbeat,
)
from app.domain.log_outcomes import Outcomes, as_outcomes
from app.domain.log_page import JOINED, RECEIVED, REST, Events, Rows, seqs_of, values_of


class RowsById(Mapping[str, PredictionRow]):
    """Predictions by id: `places` says where each is among the `rows`, which may have others too."""

    def __init__(self, rows: Sequence[PredictionRow], places: Mapping[str, int]) -> None:
        self.rows, self.places = rows, places

    def __getitem__(self, prediction_id: str) -> PredictionRow:
        return self.rows[self.places[prediction_id]]

    def __contains__(self, prediction_id: object) -> bool:
        return prediction_id in self.places

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    @functools.cached_property
    def seqs(self) -> np.ndarray:
        """The seqs of the rows."""
        return seqs_of(self.rows)

    def find(self, outcomes: Outcomes) -> np.ndarray:
        """Where among the rows the prediction of each outcome is; −1 where it is not there."""
        places = self.places
        return np.array([places.get(each, -1) for each in outcomes.column("prediction_id")], np.int64)


def by_id(rows: Sequence[PredictionRow]) -> RowsById:
    """The rows by their ids."""
    return RowsById(rows, dict(zip(values_of(rows, "prediction_id"), count(), strict=False)))


def in_order(page: LogPage) -> Events:
    """The page's events in the total order; an outcome joins its prediction after the later of the two."""
    received, early, rest = as_outcomes(page.outcomes), as_outcomes(page.early), _rest(page)
    known = page.rows if isinstance(page.rows, RowsById) else by_id([*page.rows.values()])
    follows, at = _following(page, received, known)
    joined = early.and_then(received.take(follows))
    rows = joined_rows([_some(known.rows, known.find(early)) if len(early) else [], _some(known.rows, at)])
    # The place of each event, and behind that whether it follows another one of the same place.
    keys = np.zeros((len(received) + len(joined) + len(rest), 6), np.int64)
    of_received, of_early, of_following, of_rest = np.split(keys, np.cumsum([len(received), len(early), len(follows)]))
    of_received[:, 0], of_received[:, 1] = received.array("predictions_seen"), 1
    of_received[:, 2] = received.array("seq")
    # Behind the prediction, and before all that was written after it.
    of_early[:, 0], of_early[:, 2] = seqs_of(rows[: len(early)]), early.array("seq")
    of_following[:], of_following[:, 5] = of_received[follows], 1
    of_rest[:, :5] = np.array([place for place, _ in rest], np.int64).reshape(-1, 5)
    order = np.lexsort(keys.T[::-1])
    kinds = np.repeat([RECEIVED, JOINED, REST], [len(received), len(joined), len(rest)])[order]
    own = [order[kinds == kind] for kind in (RECEIVED, JOINED, REST)]
    own[JOINED] -= len(received)
    return Events(
        page.predictions,
        received.take(own[RECEIVED]),
        (joined.take(own[JOINED]), _some(rows, own[JOINED])),
        [rest[number - len(received) - len(joined)][1] for number in own[REST].tolist()],
        kinds,
        np.searchsorted(seqs_of(page.predictions), keys[order, 0], side="right"),
    )


def joined_rows(parts: Sequence[Sequence[PredictionRow]]) -> Sequence[PredictionRow]:
    """The rows of all parts, one part behind the other."""
    some = [part for part in parts if len(part)]
    if len(some) == 1:
        return some[0]
    if not all(isinstance(part, Rows) for part in some):
        return [row for part in some for row in part]
    own = cast("list[Rows]", some)
    starts = np.cumsum([0, *(len(part.blocks) for part in own)])[:-1].tolist()
    return Rows(
        [block for part in own for block in part.blocks],
        np.concatenate([np.zeros(0, np.int64), *(part.of + start for part, start in zip(own, starts, strict=True))]),
        np.concatenate([np.zeros(0, np.int64), *(part.at for part in own)]),
    )


def _following(page: LogPage, received: Outcomes, known: RowsById) -> tuple[np.ndarray, np.ndarray]:
    """The places of the outcomes whose predictions came before them, and where these are among the known rows."""
    at = known.find(received)
    # Only if the prediction came first: otherwise the prediction's own event joins them, and this would be twice.
    follows = np.flatnonzero(at >= 0)
    follows = follows[known.seqs[at[follows]] <= received.array("predictions_seen")[follows]]
    if page.unjoined:
        follows = follows[~np.isin(received.array("seq")[follows], [*page.unjoined])]
    return follows, at[follows]


def _some(rows: Sequence[PredictionRow], at: np.ndarray) -> Sequence[PredictionRow]:
    """The rows at these places, in that order."""
    return rows.take(at) if isinstance(rows, Rows) else [rows[place] for place in at.tolist()]


def _rest(page: LogPage) -> list[tuple[Place, Event]]:
    """Heartbeats and corrections, with their places."""
    found: list[tuple[Place, Event]] = [(place_of_heartbeat(beat), beat) for beat in page.heartbeats]
    for correction in page.corrections:
        outcome = page.corrected[correction.prediction_id, correction.kind]
        known = page.rows.get(correction.prediction_id)
        joined = known if known is not None and known.seq <= correction.predictions_seen else None
        if outcome.seq in page.unjoined:
            joined = None
        found.append((place_of_correction(correction), OutcomeCorrected(correction, outcome, joined)))
    return found
