"""Known answers: rows with the answers that a version must give, computed elsewhere than in the server under test."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec


class KnownAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A row in contract order and its answer: a class name with its `probabilities` if they are known, or a number."""

    row: tuple[float | str | None, ...]
    prediction: str | float
    probabilities: Mapping[str, float] | None = None


class KnownAnswers(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answers of `version`. `tolerance` is absolute for probabilities, and for numbers relative to max(1, |x|)."""

    version: str
    answers: tuple[KnownAnswer, ...]
    tolerance: float = 1e-4


def complaint(known: KnownAnswer, given: Mapping[str, object], tolerance: float) -> str | None:
    """The difference between the given answer and the known one, in a sentence; None if there is none."""
    prediction = given.get("prediction")
    if isinstance(known.prediction, str):
        if prediction != known.prediction:
            return f"{_shown(known)}: the answer is {prediction!r} instead of {known.prediction!r}"
    elif not _close(known.prediction, prediction, tolerance * max(1.0, abs(known.prediction))):
        return f"{_shown(known)}: the answer is {prediction!r} instead of {known.prediction:.9g}"
    # Compared too: a wrong model may still give the right class.
    if known.probabilities is None:
        return None
    probabilities = given.get("probabilities")
    if not isinstance(probabilities, Mapping) or probabilities.keys() != known.probabilities.keys():
        return f"{_shown(known)}: the probabilities are not those of the version's classes: {probabilities!r}"
    for name, expected in known.probabilities.items():
        if not _close(expected, probabilities[name], tolerance):
            return f"{_shown(known)}: the probability of {name!r} is {probabilities[name]!r} instead of {expected:.6f}"
    return None


def _close(expected: float, given: object, tolerance: float) -> bool:
    return isinstance(given, int | float) and math.isfinite(given) and abs(given - expected) <= tolerance


def _shown(known: KnownAnswer) -> str:
    text = str(list(known.row))
    return text if len(text) <= 80 else f"{text[:77]}..."
