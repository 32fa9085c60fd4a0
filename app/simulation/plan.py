"""What is sent, decided beforehand: the same seed sends the same, whatever the server and its speed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from app.simulation.distortion import Distorter, Distortion, moments
from app.simulation.rows import Label, LabelledRows

_CHUNK = 512


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """How to draw. `noise` is a share of each feature's standard deviation; `users` 0 names nobody.

    The distortions begin with request number `after` (from 0).
    """

    requests: int
    seed: int = 0
    label_rate: float = 1.0
    users: int = 0
    noise: float = 0.0
    distortions: tuple[Distortion, ...] = ()
    after: int = 0


class Planned(msgspec.Struct, frozen=True):
    """One request, its true label, and whether that will be told."""

    index: int
    row: list[float | str | None]
    label: Label
    told: bool
    user_id: str | None


def planned(data: LabelledRows, terms: Terms) -> Iterator[Planned]:
    """The requests in order: rows drawn from all of `data` with replacement.

    Raises `InvalidRequest` at once where a distortion does not fit the features.
    """
    return _drawn(data, terms, Distorter(terms.distortions, data))


def _drawn(data: LabelledRows, terms: Terms, distorter: Distorter) -> Iterator[Planned]:
    # A stream of chance for each purpose, so that one option does not change what another draws.
    whose, drawn, told, moved, changed = np.random.default_rng(terms.seed).spawn(5)
    for first in range(0, terms.requests, _CHUNK):
        size = min(_CHUNK, terms.requests - first)
        places = drawn.integers(len(data), size=size)
        rows = _with_noise(data, data.values[places], terms.noise, moved)
        if terms.distortions:
            untouched = max(0, terms.after - first)
            rows[untouched:] = distorter.apply(rows[untouched:], changed)
        tells = told.random(size) < terms.label_rate
        users = _users(terms.users, size, whose)
        for offset, place in enumerate(places):
            row = _json_row(rows[offset])
            yield Planned(first + offset, row, data.labels[place], bool(tells[offset]), users[offset])


def _with_noise(data: LabelledRows, rows: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    if noise <= 0:
        return rows
    moved = rows.copy()
    for column, feature in enumerate(data.contract.features):
        if feature.kind == "numeric":
            _, sd = moments(data.values[:, column])
            moved[:, column] = moved[:, column].astype(np.float64) + noise * sd * rng.standard_normal(len(rows))
    return moved


def _users(users: int, size: int, rng: np.random.Generator) -> Sequence[str | None]:
    if users <= 0:
        return [None] * size
    return [f"user-{number}" for number in rng.integers(users, size=size)]


def _json_row(row: np.ndarray) -> list[float | str | None]:
    return [None if value != value else value for value in row.tolist()]
