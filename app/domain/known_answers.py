"""Rows with the answers that a version must give: what a server is held to that may itself be wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec


class KnownAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A row in contract order and its answer: a class by name, or a number; `probabilities` where they are known."""

    row: tuple[float | str | None, ...]
    prediction: str | float
    probabilities: Mapping[str, float] | None = None


class KnownAnswers(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `version` answers. `tolerance` is of probabilities, and of numbers relative to their size (at least 1)."""

    version: str
    answers: tuple[KnownAnswer, ...]
    tolerance: float = 1e-4


def complaint(known: KnownAnswer, given: Mapping[str, object], tolerance: float) -> str | None:
    """What is wrong with the answer that was given, None where it is the known one."""
    prediction = given.get("prediction")
    if isinstance(known.prediction, str):
        if prediction != known.prediction:
            return f"{_shown(known)} is {known.prediction!r}, it answered {prediction!r}"
    elif not _close(known.prediction, prediction, tolerance * max(1.0, abs(known.prediction))):
        return f"{_shown(known)} is {known.prediction:.9g}, it answered {prediction!r}"
    if known.probabilities is None:
        return None
    probabilities = given.get("probabilities")
    if not isinstance(probabilities, Mapping) or probabilities.keys() != known.probabilities.keys():
        return f"{_shown(known)}: the probabilities are those of other classes: {probabilities!r}"
    for name, expected in known.probabilities.items():
        if not _close(expected, probabilities[name], tolerance):
            return f"{_shown(known)}: {name!r} has {expected:.6f}, it answered {probabilities[name]!r}"
    return None


def _close(expected: float, given: object, tolerance: float) -> bool:
    return isinstance(given, int | float) and math.isfinite(given) and abs(given - expected) <= tolerance


def _shown(known: KnownAnswer) -> str:
    text = str(list(known.row))
    return text if len(text) <= 80 else f"{text[:77]}..."
