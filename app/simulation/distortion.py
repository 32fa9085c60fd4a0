"""Change the traffic on purpose: shift, stretch or decouple a feature, to see whether drift is found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from app.errors import InvalidRequest
from app.simulation.rows import LabelledRows

Kind = Literal["shift", "shift_sd", "scale", "spread", "decouple"]
GRAMMAR = (
    "NAME:+1sd (shift by standard deviations), NAME:-0.5 (shift), NAME:x1.5 (multiply), "
    "NAME:x1.5sd (spread about the mean), decouple:NAME (take it from another row)"
)
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
    """Applies distortions to rows drawn from `data`. Raises `InvalidRequest` where one does not fit the features."""

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
        amount, known = distortion.amount, self._data.values[:, column]
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
    """Mean and standard deviation of a numeric column's values, missing ones left out."""
    numbers = column.astype(np.float64)
    present = numbers[~np.isnan(numbers)]
    return (float(present.mean()), float(present.std())) if present.size else (0.0, 0.0)


def _column(distortion: Distortion, data: LabelledRows) -> int:
    features = data.contract.features
    for column, feature in enumerate(features):
        if feature.name != distortion.feature:
            continue
        if feature.kind != "numeric" and distortion.kind != "decouple":
            raise InvalidRequest(f"feature {feature.name!r} is categorical: it can only be decoupled")
        return column
    known = ", ".join(feature.name for feature in features)
    raise InvalidRequest(f"the model has no feature {distortion.feature!r}; it has: {known}")
