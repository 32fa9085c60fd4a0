"""What the drift monitor takes from the log: the requests that count, and the labels of them, each in its place."""

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
    """One logged row: `features` in contract order, the `answers` of all versions that gave one."""

    place: Place
    epoch: int
    at_us: int
    features: list[Any]
    answers: Answers


class LoggedLabel(msgspec.Struct, frozen=True):
    """A true class (or number), known together with all versions' answers since `at_us`."""

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
        """Those of some epochs, without requests that have another number of features."""
        requests = [each for each in self.requests if each.epoch in epochs and len(each.features) == width]
        return Samples(requests, [each for each in self.labels if each.epoch in epochs])

    def cut(self, place: Place) -> tuple[Samples, Samples]:
        """What stands at `place` or before it, and what comes after it."""
        first = bisect_right(self.requests, place, key=_PLACE)
        told = bisect_right(self.labels, place, key=_PLACE)
        before = Samples(self.requests[:first], self.labels[:told])
        return before, Samples(self.requests[first:], self.labels[told:])


def samples_of(events: Sequence[Event]) -> Samples:
    """The samples in `events`: nothing that was forced, or marked as synthetic, or served under no configuration."""
    rows = [event.row for event in events if isinstance(event, PredictionLogged) and _counts(event.row)]
    joined = [event for event in events if isinstance(event, OutcomeJoined) and _counts(event.row)]
    features = msgspec.json.decode(f"[{','.join(row.features for row in rows)}]")
    return Samples(
        [
            LoggedRequest((row.seq, 0, 0), row.epoch, row.served_at_us, values, _ANSWERS.decode(row.answers))
            for row, values in zip(rows, features, strict=True)
        ],
        [_label(event) for event in joined if event.outcome.kind == "actual"],
    )


def epochs_of(samples: Samples) -> set[int]:
    """The epochs of the configurations under which the samples were served."""
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
    """When each came about, µs since 1970, shape (n,)."""
    return np.array([each.at_us for each in samples], dtype=np.int64)


def outputs_of(
    requests: Sequence[LoggedRequest], reference: DriftReference, version: str
) -> tuple[Outputs, np.ndarray] | None:
    """A version's answers, as far as the reference has something to compare them with, and their times; else None.

    Of probabilities there is only the greatest: shape (n, 1).
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
    """Whether the version was wrong, of each label that says so, and when that was known; two arrays of shape (n,)."""
    answered = [(label.answers.get(version), label) for label in labels]
    told = [(answer.c != label.value, label) for answer, label in answered if answer and answer.c is not None]
    return np.array([wrong for wrong, _ in told], dtype=bool), times_of([label for _, label in told])


def _counts(row: PredictionRow) -> bool:
    return row.epoch > 0 and row.assignment != _FORCED and not row.synthetic


def _label(event: OutcomeJoined) -> LoggedLabel:
    row, outcome = event.row, event.outcome
    place = max((row.seq, 0, 0), _place(outcome))
    value = float(msgspec.json.decode(outcome.outcome))
    return LoggedLabel(place, row.epoch, event.at_us, value, _ANSWERS.decode(row.answers))


def _place(outcome: OutcomeRow) -> Place:
    return outcome.predictions_seen, 1, outcome.seq


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
