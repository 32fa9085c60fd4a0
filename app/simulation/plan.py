"""The requests of a simulation, drawn before any is sent, so that a seed gives the same traffic on every server.

Distortions change the traffic on purpose: they shift, stretch or decouple a feature, to see whether drift is found.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Literal, Protocol

import msgspec
import numpy as np

from app.errors import InvalidRequest
from app.simulation.rows import Label, LabelledRows

Kind = Literal["shift", "shift_sd", "scale", "spread", "decouple"]
GRAMMAR = (
    "NAME:+1sd (shift by standard deviations), NAME:-0.5 (shift), NAME:x1.5 (multiply), "
    "NAME:x1.5sd (spread about the mean), decouple:NAME (take it from another row)"
)
# Rows are drawn in chunks, because a call of NumPy per row is slow.
_CHUNK = 512
_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
_SHIFT = re.compile(rf"(?P<name>\w+):(?P<by>[+-]{_NUMBER})(?P<sd>sd)?")
_SCALE = re.compile(rf"(?P<name>\w+):x(?P<by>{_NUMBER})(?P<sd>sd)?")
_DECOUPLE = re.compile(r"decouple:(?P<name>\w+)")


class Distortion(msgspec.Struct, frozen=True):
    """One change of one feature; `amount` is in the feature's unit, in standard deviations, or a factor."""

    feature: str
    kind: Kind
    amount: float = 0.0


def parse(text: str) -> Distortion:
    """The distortion that `text` asks for (see `GRAMMAR`). Raises `InvalidRequest`."""
    if match := _DECOUPLE.fullmatch(text):
        return Distortion(match["name"], "decouple")
    if match := _SHIFT.fullmatch(text):
        return Distortion(match["name"], "shift_sd" if match["sd"] else "shift", float(match["by"]))
    if match := _SCALE.fullmatch(text):
        return Distortion(match["name"], "spread" if match["sd"] else "scale", float(match["by"]))
    raise InvalidRequest(f"{text!r} is none of: {GRAMMAR}")


class Distorter:
    """Applies distortions to rows drawn from `data`. Raises `InvalidRequest` if one does not fit the features."""

    def __init__(self, distortions: Sequence[Distortion], data: LabelledRows) -> None:
        self._data = data
        self._steps = [(distortion, _column(distortion, data)) for distortion in distortions]

    def apply(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A changed copy of `rows`, of shape (k, features)."""
        changed = rows.copy()
        for distortion, column in self._steps:
            changed[:, column] = self._changed(distortion, column, changed[:, column], rng)
        return changed

    def _changed(self, distortion: Distortion, column: int, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        # Standard deviation and mean are those of all data and not of the chunk: each request moves by the same amount.
        amount, known = distortion.amount, self._data.column(column)
        if distortion.kind == "decouple":
            return known[rng.integers(len(known), size=len(values))]
        mean, sd = moments(known)
        numbers = values.astype(np.float64)
        if distortion.kind == "shift":
            return numbers + amount
        if distortion.kind == "shift_sd":
            return numbers + amount * sd
        if distortion.kind == "scale":
            return numbers * amount
        return mean + amount * (numbers - mean)


def moments(column: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of a numeric column, without missing values; zeros if there is no other."""
    numbers = column.astype(np.float64)
    present = numbers[~np.isnan(numbers)]
    return (float(present.mean()), float(present.std())) if present.size else (0.0, 0.0)


def _column(distortion: Distortion, data: LabelledRows) -> int:
    features = data.contract.features
    for column, feature in enumerate(features):
        if feature.name != distortion.feature:
            continue
        if feature.kind != "numeric" and distortion.kind != "decouple":
            raise InvalidRequest(
                f"feature {feature.name!r} is categorical: it can only be decoupled (decouple:{feature.name})"
            )
        return column
    known = ", ".join(feature.name for feature in features)
    raise InvalidRequest(f"the model has no feature {distortion.feature!r}; it has: {known}")


class Supply(Protocol):
    """Where the rows of a simulation come from. `data` are the rows that it knows, by which distortions measure."""

    data: LabelledRows

    def take(self, first: int, size: int, rng: np.random.Generator) -> tuple[np.ndarray, Sequence[Label]]: ...

    def places(self, first: int, size: int) -> np.ndarray | None: ...


class Once:
    """The rows of `data`, each once; in a random order if `seed` is given, else as they stand."""

    def __init__(self, data: LabelledRows, seed: int | None = None) -> None:
        self.data = data
        self._order = np.arange(len(data)) if seed is None else np.random.default_rng(seed).permutation(len(data))

    def take(self, first: int, size: int, _rng: np.random.Generator) -> tuple[np.ndarray, Sequence[Label]]:
        """The rows from number `first` on, shape (size, features), and their labels; fewer at the end."""
        places = self.places(first, size)
        return self.data.values[places], [self.data.labels[place] for place in places]

    def places(self, first: int, size: int) -> np.ndarray:
        """Where in `data` the rows from number `first` on are."""
        return self._order[first : first + size]


class TrafficOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options by which requests are drawn.

    `label_rate` is the share of requests whose label is sent. `noise` is in standard deviations of each feature. With
    `users` 0 no request has a user id. The distortions begin with request number `after` (from 0).
    """

    requests: int
    seed: int = 0
    label_rate: float = 1.0
    users: int = 0
    noise: float = 0.0
    distortions: tuple[Distortion, ...] = ()
    after: int = 0


class PlannedRequest(msgspec.Struct, frozen=True):
    """One request, its true label, and whether the label will be sent.

    The row goes without the columns `absent`; `key` names its case where it is a row of a file.
    """

    index: int
    row: list[float | str | None]
    label: Label
    sends_label: bool
    user_id: str | None
    absent: frozenset[int] = frozenset()
    key: str | None = None


def planned(supply: Supply, options: TrafficOptions) -> Iterator[PlannedRequest]:
    """The requests in order, at most as many as `supply` has rows.

    Raises `InvalidRequest` at once, not at the first request, if a distortion does not fit the features.
    """
    return _drawn(supply, options, Distorter(options.distortions, supply.data))


def _drawn(supply: Supply, options: TrafficOptions, distorter: Distorter) -> Iterator[PlannedRequest]:
    # A generator of its own for each purpose, so that one option does not change what another draws.
    by_user, by_row, by_label, by_noise, by_distortion = np.random.default_rng(options.seed).spawn(5)
    for first in range(0, options.requests, _CHUNK):
        size = min(_CHUNK, options.requests - first)
        values, labels = supply.take(first, size, by_row)
        rows = _with_noise(supply.data, values, options.noise, by_noise)
        if options.distortions:
            untouched = max(0, options.after - first)
            rows[untouched:] = distorter.apply(rows[untouched:], by_distortion)
        sends = by_label.random(size) < options.label_rate
        users = _users(options.users, size, by_user)
        places = supply.places(first, size)
        for offset, label in enumerate(labels):
            index, row = first + offset, _json_row(rows[offset])
            request = PlannedRequest(index, row, label, bool(sends[offset]), users[offset])
            if places is not None:
                is_changed = options.noise > 0 or (bool(options.distortions) and index >= options.after)
                key = _key(supply.data, int(places[offset]), row if is_changed else None)
                request = msgspec.structs.replace(request, absent=supply.data.without(int(places[offset])), key=key)
            yield request


def _key(data: LabelledRows, place: int, changed: Sequence[float | str | None] | None) -> str | None:
    """The key of a row of the file; a row that was `changed` on purpose is another case than the row itself."""
    key = data.key(place)
    if key is None or changed is None:
        return key
    return f"{key}-{hashlib.blake2b(msgspec.json.encode(changed), digest_size=8).hexdigest()}"


def _with_noise(data: LabelledRows, rows: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    if noise <= 0:
        return rows
    moved = rows.copy()
    for column, feature in enumerate(data.contract.features):
        if feature.kind == "numeric":
            _, sd = moments(data.column(column))
            moved[:, column] = moved[:, column].astype(np.float64) + noise * sd * rng.standard_normal(len(rows))
    return moved


def _users(users: int, size: int, rng: np.random.Generator) -> Sequence[str | None]:
    if users <= 0:
        return [None] * size
    return [f"user-{number}" for number in rng.integers(users, size=size)]


def _json_row(row: np.ndarray) -> list[float | str | None]:
    return [None if value != value else value for value in row.tolist()]  # JSON has no NaN
