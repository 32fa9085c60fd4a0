"""Samples for drift: the requests in the log that count, and their labels, each with its place in the log."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

from app.domain.log_event import Event, OutcomeJoined, OutcomeRow, PredictionLogged, PredictionRow
from app.domain.prediction import Outputs
from app.drift.output_keys import PREDICTED_VALUE, TOP_PROBABILITY
from app.drift.reference import DriftReference
from app.monitor.experiment.events import Answers
from app.scoring.contract import Answer
from app.services.queries.drift_records import Place

_ANSWERS = msgspec.json.Decoder(Answers)
_FORCED = "forced"
_PLACE = attrgetter("place")


class LoggedRequest(msgspec.Struct, frozen=True):
    """One logged request: `features` in contract order, `answers` of all versions that gave one; `at_us`: served at."""

    place: Place
    epoch: int
    at_us: int
    features: list[Any]
    answers: Answers


class LoggedLabel(msgspec.Struct, frozen=True):
    """A true class (or number) with all versions' answers; both are known since `at_us` (µs since 1970)."""

    place: Place
    epoch: int
    at_us: int
    value: float
    answers: Answers


class Samples(msgspec.Struct, frozen=True):
    """Requests and labels, both in the order of the log."""

    requests: Sequence[LoggedRequest]
    labels: Sequence[LoggedLabel]

    def __len__(self) -> int:
        return len(self.requests) + len(self.labels)

    def of(self, epochs: Collection[int], width: int) -> Samples:
        """The samples of these config revisions; requests with another number of features than `width` are left out."""
        requests = [each for each in self.requests if each.epoch in epochs and len(each.features) == width]
        return Samples(requests, [each for each in self.labels if each.epoch in epochs])

    def cut(self, place: Place) -> tuple[Samples, Samples]:
        """The samples at `place` or before it, and those after it."""
        requests = bisect_right(self.requests, place, key=_PLACE)
        labels = bisect_right(self.labels, place, key=_PLACE)
        before = Samples(self.requests[:requests], self.labels[:labels])
        return before, Samples(self.requests[requests:], self.labels[labels:])


def samples_of(events: Sequence[Event]) -> Samples:
    """The samples in `events`, without forced and synthetic requests and those served without a configuration."""
    rows = [event.row for event in events if isinstance(event, PredictionLogged) and _counts(event.row)]
    joined = [event for event in events if isinstance(event, OutcomeJoined) and _counts(event.row)]
    # One call of the decoder for all rows, not one a row: every logged request passes here.
    features = msgspec.json.decode(f"[{','.join(row.features for row in rows)}]")
    return Samples(
        [
            LoggedRequest((row.seq, 0, 0), row.epoch, row.served_at_us, values, _ANSWERS.decode(row.answers))
            for row, values in zip(rows, features, strict=True)
        ],
        [_label(event) for event in joined if event.outcome.kind == "actual"],
    )


def epochs_of(samples: Samples) -> set[int]:
    """The config revisions under which the samples were served."""
    return {each.epoch for each in samples.requests} | {each.epoch for each in samples.labels}


def rows_of(requests: Sequence[LoggedRequest], reference: DriftReference) -> np.ndarray:
    """The features as `RowParser` gives them, shape (n, features)."""
    values = [request.features for request in requests]
    if all(cells.kind == "numeric" for cells in reference.inputs.cells):
        return np.array(values, dtype=np.float64)  # null becomes NaN
    rows = np.empty((len(values), len(reference.inputs.cells)), dtype=object)
    rows[:] = values
    return rows


def times_of(samples: Sequence[LoggedRequest | LoggedLabel]) -> np.ndarray:
    """The time of each sample, µs since 1970, shape (n,)."""
    return np.array([each.at_us for each in samples], dtype=np.int64)


def outputs_of(
    requests: Sequence[LoggedRequest], reference: DriftReference, version: str
) -> tuple[Outputs, np.ndarray] | None:
    """A version's answers and their times (shape (n,)); None where the reference has no answers, or there are none.

    Probabilities have shape (n, 1): the greatest of each answer, which is all that drift compares.
    """
    if reference.outputs is None:
        return None
    names = {stream.name for stream in reference.outputs.streams}
    answered = [(request.answers.get(version), request) for request in requests]
    fit = [(answer, request) for answer, request in answered if answer is not None and _fits(answer, names)]
    if not fit:
        return None
    answers = [answer for answer, _ in fit]
    return _outputs(answers, names), times_of([request for _, request in fit])


def errors_of(labels: Sequence[LoggedLabel], version: str) -> tuple[np.ndarray, np.ndarray]:
    """Whether the version's class was wrong, and when that was known (µs since 1970); two arrays of shape (n,)."""
    answered = [(label.answers.get(version), label) for label in labels]
    known = [(answer.c != label.value, label) for answer, label in answered if answer and answer.c is not None]
    return np.array([wrong for wrong, _ in known], dtype=bool), times_of([label for _, label in known])


def _counts(row: PredictionRow) -> bool:
    return row.epoch > 0 and row.assignment != _FORCED and not row.synthetic


def _label(event: OutcomeJoined) -> LoggedLabel:
    row, outcome = event.row, event.outcome
    # A label is known at the later of the two places: that of its prediction, and that of its feedback.
    place = max((row.seq, 0, 0), _place(outcome))
    value = float(msgspec.json.decode(outcome.outcome))
    return LoggedLabel(place, row.epoch, event.at_us, value, _ANSWERS.decode(row.answers))


def _place(outcome: OutcomeRow) -> Place:
    return outcome.predictions_seen, 1, outcome.seq  # behind the last prediction that was in the log before it


def _fits(answer: Answer, names: Collection[str]) -> bool:
    if PREDICTED_VALUE in names:
        return answer.v is not None
    return answer.c is not None and (TOP_PROBABILITY not in names or bool(answer.p))


def _outputs(answers: Sequence[Answer], names: Collection[str]) -> Outputs:
    if PREDICTED_VALUE in names:
        return Outputs(values=np.array([answer.v for answer in answers], dtype=np.float64))
    class_ids = np.array([answer.c for answer in answers], dtype=np.int64)
    if TOP_PROBABILITY not in names:
        return Outputs(class_ids=class_ids)
    return Outputs(class_ids=class_ids, probabilities=np.array([[max(answer.p or (0.0,))] for answer in answers]))
