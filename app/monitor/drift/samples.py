"""Samples for drift: the requests in the log that count, and their labels, each with its place in the log."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from hashlib import blake2b
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from app.domain.log_event import Event, OutcomeJoined, OutcomeRow, PredictionLogged, PredictionRow
from app.domain.prediction import Outputs
from app.domain.prediction_id import read_marks
from app.drift.callers import Callers
from app.drift.output_keys import PREDICTED_VALUE, TOP_PROBABILITY
from app.drift.reference import DriftReference
from app.monitor.drift.columns import RowColumns
from app.monitor.experiment.events import Answers
from app.scoring.contract import Answer
from app.services.queries.drift_records import Place

_ANSWERS = msgspec.json.Decoder(Answers)
_FORCED = "forced"
_PLACE = attrgetter("place")


class LoggedRequest(msgspec.Struct, frozen=True):
    """One logged row: `features` as logged, or those of a watched version in its order; `at_us`: served at.

    `answers` are those of all versions that gave one. `user`: the hash of the user that the request named, 0 for
    nobody. `key`: 32 bits of a hash of the row with its own key and user, 0 without a key. `version` answered, and
    `layout` is the id of the row's columns (None: those of `version`).
    """

    place: Place
    epoch: int
    at_us: int
    features: list[Any]
    answers: Answers
    prediction_id: str
    user: int
    key: int = 0
    version: str = ""
    layout: int | None = None


class LoggedLabel(msgspec.Struct, frozen=True):
    """A true class (or number) with all versions' answers; both are known since `at_us` (µs since 1970).

    `declared`: the configuration of the answer says that labels do not depend on it.
    """

    place: Place
    epoch: int
    at_us: int
    value: float
    answers: Answers
    declared: bool = False


class Samples(msgspec.Struct, frozen=True):
    """Requests and labels, both in the order of the log."""

    requests: Sequence[LoggedRequest]
    labels: Sequence[LoggedLabel]

    def __len__(self) -> int:
        return len(self.requests) + len(self.labels)

    def of(self, epochs: Collection[int], version: str, width: int, columns: RowColumns) -> Samples:
        """A version's samples of these config revisions, without requests that lack one of its `width` features."""
        requests = (_of_version(each, version, width, columns) for each in self.requests if each.epoch in epochs)
        return Samples(
            [each for each in requests if each is not None], [each for each in self.labels if each.epoch in epochs]
        )

    def declared_in(self, epochs: Collection[int]) -> Samples:
        """The samples, with the labels of these config revisions marked as declared exogenous."""
        labels = [replace(each, declared=True) if each.epoch in epochs else each for each in self.labels]
        return Samples(self.requests, labels)

    def cut(self, place: Place) -> tuple[Samples, Samples]:
        """The samples at `place` or before it, and those after it."""
        requests = bisect_right(self.requests, place, key=_PLACE)
        labels = bisect_right(self.labels, place, key=_PLACE)
        before = Samples(self.requests[:requests], self.labels[:labels])
        return before, Samples(self.requests[requests:], self.labels[labels:])

    def cut_at(self, at_us: int) -> tuple[Samples, Samples]:
        """The samples before the first request that was served at that time (µs since 1970) or later, and the rest."""
        first = next((each.place for each in self.requests if each.at_us >= at_us), None)
        if first is None:
            return self, self.none()
        # A label that came between two requests has the place of its feedback, which is before the next request.
        requests = bisect_left(self.requests, first, key=_PLACE)
        labels = bisect_left(self.labels, first, key=_PLACE)
        return (
            Samples(self.requests[:requests], self.labels[:labels]),
            Samples(self.requests[requests:], self.labels[labels:]),
        )

    def none(self) -> Samples:
        """No samples."""
        return Samples([], [])

    def first_at_us(self) -> int:
        """When the first request was served (µs since 1970); without requests, when the first label was known."""
        return self.requests[0].at_us if self.requests else self.labels[0].at_us


def _of_version(request: LoggedRequest, version: str, width: int, columns: RowColumns) -> LoggedRequest | None:
    """The request with the version's own features; None if it lacks one of them."""
    own = columns.own(version, width, request.features, served=request.version, layout=request.layout)
    return request if own is request.features else None if own is None else replace(request, features=own)


def samples_of(events: Sequence[Event]) -> Samples:
    """The samples in `events`, without forced and synthetic requests and those served without a configuration."""
    rows = [event.row for event in events if isinstance(event, PredictionLogged) and _counts(event.row)]
    joined = [event for event in events if isinstance(event, OutcomeJoined) and _counts(event.row)]
    # One call of the decoder for all rows, not one a row: every logged request passes here.
    features = msgspec.json.decode(f"[{','.join(row.features for row in rows)}]")
    return Samples(
        [
            LoggedRequest(
                (row.seq, 0, 0),
                row.epoch,
                row.served_at_us,
                values,
                _ANSWERS.decode(row.answers),
                row.prediction_id,
                row.user_hash,
                key_hash(row),
                row.version,
                row.layout,
            )
            for row, values in zip(rows, features, strict=True)
        ],
        [_label(event) for event in joined if event.outcome.kind == "actual"],
    )


def layouts_of(samples: Samples) -> set[int]:
    """The ids of the layouts of the requests."""
    return {each.layout for each in samples.requests if each.layout is not None}


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


def callers_of(requests: Sequence[LoggedRequest], last_at_us: int) -> Callers:
    """Who sent the rows. `last_at_us`: when the row before them was served.

    A row of another time belongs to another request. Of the same time it may, so that the id must say.
    """
    users = np.array([request.user for request in requests], dtype=np.int64)
    times = times_of(requests)
    begins = np.concatenate([[last_at_us], times[:-1]]) != times
    for index in np.flatnonzero(~begins).tolist():
        marks = read_marks(requests[index].prediction_id)
        # Ids of another format do not say. Before there were such marks, each row counted as a request.
        begins[index] = marks is None or marks.first
    alone = begins.copy()
    alone[:-1] &= begins[1:]
    # Whether the last row is the last one of its request, the next call would know.
    marks = read_marks(requests[-1].prediction_id)
    alone[-1] &= marks is None or not marks.of_several
    return Callers(users, begins, alone, np.array([request.key for request in requests], dtype=np.int64))


def key_hash(row: PredictionRow) -> int:
    """What tells a case that is sent again: 32 bits of its own key, its user and its features; 0 without a key."""
    if row.own_key is None:
        return 0
    # Callers with counters of their own use the same keys, and one key may be a device's for ever.
    case = f"{row.user_hash} {row.features} {row.own_key}"
    return int.from_bytes(blake2b(case.encode("utf-8", "surrogatepass"), digest_size=4).digest()) or 1


def answered_by(requests: Sequence[LoggedRequest], reference: DriftReference, version: str) -> list[LoggedRequest]:
    """The rows whose answers of the version can be compared; empty where the reference has none to compare with."""
    if reference.outputs is None:
        return []
    names = {stream.name for stream in reference.outputs.streams}
    answered = [(request.answers.get(version), request) for request in requests]
    return [request for answer, request in answered if answer is not None and _fits(answer, names)]


def outputs_of(answered: Sequence[LoggedRequest], reference: DriftReference, version: str) -> Outputs:
    """A version's answers to the rows that `answered_by` gives.

    Probabilities have shape (n, 1): the greatest of each answer, which is all that drift compares.
    """
    assert reference.outputs is not None
    names = {stream.name for stream in reference.outputs.streams}
    return _outputs([request.answers[version] for request in answered], names)


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
