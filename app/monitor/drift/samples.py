"""What drift takes from the log, as columns: requests with their features, the answers to them, and labels.

What chance did not choose, and what tests sent, is left out: forced and synthetic requests; and reported exposures,
which have no features.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec
import numpy as np

from app.domain.log_columns import Shared
from app.domain.log_event import Event, PredictionRow
from app.domain.log_page import Joined, events_of, in_blocks, layouts_in, taken, those, values_of
from app.domain.prediction import REPORTED, Outputs
from app.drift.output_keys import PREDICTED_VALUE, TOP_PROBABILITY
from app.drift.reference import DriftReference
from app.monitor.drift.columns import AnswersToRows, RowColumns, answers_to, as_objects, features_of
from app.services.queries.drift_records import Place

_LEFT_OUT = ("forced", REPORTED)


class Requests(NamedTuple):
    """Logged rows in the order of the log; arrays of shape (n,).

    `users`: the hashes of the users that the requests named, 0 for nobody. `keys`: 32 bits of a hash of a row with its
    own key and user, 0 without a key. `features`, shape (n, columns), and `answers` are those of a watched version in
    its order: numbers, or objects where a value is no number. They are None before it is known of which.
    """

    rows: Sequence[PredictionRow]
    seqs: np.ndarray
    epochs: np.ndarray
    at_us: np.ndarray
    users: np.ndarray
    keys: np.ndarray
    features: np.ndarray | None = None
    answers: AnswersToRows | None = None

    @property
    def number(self) -> int:
        """How many they are."""
        return len(self.rows)

    def part(self, which: slice | np.ndarray) -> Requests:
        """Some of the requests."""
        rows = self.rows[which] if isinstance(which, slice) else taken(self.rows, which)
        features = None if self.features is None else self.features[which]
        answers = None if self.answers is None else self.answers.part(which)
        return Requests(
            rows,
            self.seqs[which],
            self.epochs[which],
            self.at_us[which],
            self.users[which],
            self.keys[which],
            features,
            answers,
        )

    def place(self, at: int) -> Place:
        """The place of a request in the order of events."""
        return int(self.seqs[at]), 0, 0


class Labels(NamedTuple):
    """True classes (or numbers) with the rows that have all versions' answers, in the order of the log.

    Both of one are known since `at_us` (µs), at its place in the order of events. `declared`: the configuration of the
    answer says that labels do not depend on it. Arrays of shape (n,).
    """

    rows: Sequence[PredictionRow]
    places: Sequence[Place]
    epochs: np.ndarray
    at_us: np.ndarray
    values: np.ndarray
    declared: np.ndarray

    @property
    def number(self) -> int:
        """How many they are."""
        return len(self.places)

    def part(self, which: slice | np.ndarray) -> Labels:
        """Some of the labels."""
        if isinstance(which, slice):
            rows, places = self.rows[which], self.places[which]
        elif which.size == self.number:  # of ascending numbers, these are all
            return self
        else:
            rows, places = taken(self.rows, which), [self.places[at] for at in which.tolist()]
        return Labels(rows, places, *(each[which] for each in (self.epochs, self.at_us, self.values, self.declared)))


class Samples(msgspec.Struct, frozen=True):
    """Requests and labels, both in the order of the log."""

    requests: Requests
    labels: Labels

    def __len__(self) -> int:
        return self.requests.number + self.labels.number

    def of(self, epochs: Collection[int], version: str, width: int, columns: RowColumns) -> Samples:
        """A version's samples of these config revisions, without requests that lack one of its `width` features."""
        chosen = np.flatnonzero(np.isin(self.requests.epochs, list(epochs)))
        every = chosen.size == self.requests.number
        requests = self.requests if every else self.requests.part(chosen)
        own = _of_version(requests, version, width, columns)
        return Samples(own, self.labels.part(np.flatnonzero(np.isin(self.labels.epochs, list(epochs)))))

    def declared_in(self, epochs: Collection[int]) -> Samples:
        """The samples, with the labels of these config revisions marked as declared exogenous."""
        if not epochs:
            return self
        declared = np.isin(self.labels.epochs, list(epochs))
        return Samples(self.requests, self.labels._replace(declared=declared))

    def labels_before(self, numbers: np.ndarray) -> list[int]:
        """How many labels there are up to the last of each of these numbers of requests."""
        places = (self.requests.place(number - 1) for number in numbers.tolist())
        return [bisect_right(self.labels.places, place) for place in places]

    def cut(self, place: Place) -> tuple[Samples, Samples]:
        """The samples at `place` or before it, and those after it."""
        requests = int(np.searchsorted(self.requests.seqs, place[0], side="right"))
        return self._cut(requests, bisect_right(self.labels.places, place))

    def cut_at(self, at_us: int) -> tuple[Samples, Samples]:
        """The samples before the first request that was served at that time (µs since 1970) or later, and the rest."""
        later = np.flatnonzero(self.requests.at_us >= at_us)
        if not later.size:
            return self, self.none()
        # A label that came between two requests has the place of its feedback, which is before the next request.
        first = int(later[0])
        return self._cut(first, bisect_left(self.labels.places, self.requests.place(first)))

    def _cut(self, requests: int, labels: int) -> tuple[Samples, Samples]:
        return (
            Samples(self.requests.part(slice(requests)), self.labels.part(slice(labels))),
            Samples(self.requests.part(slice(requests, None)), self.labels.part(slice(labels, None))),
        )

    def none(self) -> Samples:
        """No samples."""
        return Samples(self.requests.part(slice(0)), self.labels.part(slice(0)))

    def first_at_us(self) -> int:
        """When the first request was served (µs since 1970); without requests, when the first label was known."""
        return int(self.requests.at_us[0]) if self.requests.number else int(self.labels.at_us[0])


def samples_of(events: Sequence[Event]) -> Samples:
    """The samples in `events`, without forced and synthetic requests and those served without a configuration."""
    ordered = events_of(events)
    rows = taken(ordered.rows, those(ordered.rows, _counts))
    return Samples(_requests(rows), _labels(ordered.joined))


def layouts_of(samples: Samples) -> set[int]:
    """The ids of the layouts of the requests."""
    return layouts_in(samples.requests.rows)


def epochs_of(samples: Samples) -> set[int]:
    """The config revisions under which the samples were served."""
    return {*np.unique(np.concatenate([samples.requests.epochs, samples.labels.epochs])).tolist()}


def rows_of(requests: Requests, reference: DriftReference) -> np.ndarray:
    """The features as `RowParser` gives them, shape (n, features)."""
    features = requests.features
    assert features is not None
    are_numbers = features.dtype != object
    if all(cells.kind == "numeric" for cells in reference.inputs.cells):
        return features if are_numbers else np.array(features.tolist(), dtype=np.float64)  # null becomes NaN
    return as_objects(features) if are_numbers else features


def key_hash(row: PredictionRow) -> int:
    """What tells a case that is sent again: 32 bits of its own key, its user and its features; 0 without a key."""
    if row.own_key is None:
        return 0
    # Callers with counters of their own use the same keys, and one key may be a device's for ever.
    case = f"{row.user_hash} {row.features} {row.own_key}"
    return int.from_bytes(blake2b(case.encode("utf-8", "surrogatepass"), digest_size=4).digest()) or 1


def answered_by(requests: Requests, reference: DriftReference) -> Requests:
    """The rows whose answers of the version can be compared; none where the reference has none to compare with."""
    answers = requests.answers
    if reference.outputs is None or answers is None:
        return requests.part(slice(0))
    names = {stream.name for stream in reference.outputs.streams}
    if PREDICTED_VALUE in names:
        fits = ~np.isnan(answers.numbers)
    else:
        fits = answers.classes >= 0
        if TOP_PROBABILITY in names:
            fits &= ~np.isnan(answers.tops)
    return requests if fits.all() else requests.part(np.flatnonzero(fits))


def outputs_of(answered: Requests, reference: DriftReference) -> Outputs:
    """The version's answers to the rows that `answered_by` gives.

    Probabilities have shape (n, 1): the greatest of each answer, which is all that drift compares.
    """
    assert reference.outputs is not None
    assert answered.answers is not None
    names = {stream.name for stream in reference.outputs.streams}
    classes, tops, numbers = answered.answers
    if PREDICTED_VALUE in names:
        return Outputs(values=numbers)
    if TOP_PROBABILITY not in names:
        return Outputs(class_ids=classes)
    return Outputs(class_ids=classes, probabilities=tops[:, None])


def _counts(row: PredictionRow | Shared) -> bool:
    return row.epoch > 0 and row.assignment not in _LEFT_OUT and not row.synthetic


def _labels(joined: Joined) -> Labels:
    counted = those(joined.rows, _counts)
    which = counted[joined.outcomes.are_labels[counted]]
    rows, outcomes = taken(joined.rows, which), joined.outcomes.take(which)
    seqs, epochs, served_at_us, _ = _columns(rows)
    # A label is known at the later of the two places: that of its prediction, and that of its feedback, which is behind
    # the last prediction that was in the log before it.
    places: list[Place] = [
        (seq, 0, 0) if seq > seen else (seen, 1, own)
        for seq, seen, own in zip(
            seqs.tolist(), outcomes.column("predictions_seen"), outcomes.column("seq"), strict=True
        )
    ]
    received_at_us = outcomes.array("received_at_us")
    values = np.array([*map(float, outcomes.column("outcome"))], np.float64)
    return Labels(rows, places, epochs, np.maximum(served_at_us, received_at_us), values, np.zeros(len(places), bool))


def _requests(rows: Sequence[PredictionRow]) -> Requests:
    keys = np.zeros(len(rows), dtype=np.int64)
    for place, own_key in enumerate(values_of(rows, "own_key")):
        if own_key is not None:
            keys[place] = key_hash(rows[place])
    return Requests(rows, *_columns(rows), keys)


def _columns(rows: Sequence[PredictionRow]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The seqs of rows, their config revisions, when they were served (µs since 1970), and users; shape (n,) each."""
    seqs, epochs, at_us, users = (np.zeros(len(rows), dtype=np.int64) for _ in range(4))
    parts, alone = in_blocks(rows)
    for block, places, at in parts:
        seqs[places] = np.array(block.seqs)[at]
        epochs[places] = block.shared.epoch
        at_us[places], users[places] = block.at_us[at], block.users[at]
    for place in alone:
        row = rows[place]
        seqs[place], epochs[place], at_us[place], users[place] = row.seq, row.epoch, row.served_at_us, row.user_hash
    return seqs, epochs, at_us, users


def _of_version(requests: Requests, version: str, width: int, columns: RowColumns) -> Requests:
    """The requests with the version's own features and answers, without those that lack one of the features."""
    features, known = features_of(requests.rows, version, width, columns)
    requests = requests._replace(features=features, answers=answers_to(requests.rows, version))
    return requests if known.all() else requests.part(np.flatnonzero(known))
