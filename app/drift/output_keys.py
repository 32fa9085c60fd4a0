"""A model's answers as columns, which are monitored like features."""

from __future__ import annotations

import math
from typing import Final

import msgspec
import numpy as np

from app.domain.prediction import Outputs
from app.tables.model_columns import FeatureKind

PREDICTED_CLASS = "predicted_class"
TOP_PROBABILITY = "top_probability"
PREDICTED_VALUE = "predicted_value"
# Decimals of a probability, significant digits of a number: runtimes differ by a float32's last digit, and answers that
# are equal must be ties in each of them.
FINEST: Final = {TOP_PROBABILITY: 4, PREDICTED_VALUE: 5}
_COARSEST: Final = {TOP_PROBABILITY: 1, PREDICTED_VALUE: 1}
# Standard deviations by which chance may bring answers of one clone together: more digits than that are a clone's own.
_MOST_APART: Final = 1.5


class OutputColumn(msgspec.Struct, frozen=True):
    """One number or name per answer: `values`, float64 or objects (names of classes).

    These are of shape (n,), or the few different ones with their `places` in the column, shape (n,).
    """

    name: str
    kind: FeatureKind
    values: np.ndarray
    places: np.ndarray | None = None

    def each(self, found: np.ndarray) -> np.ndarray:
        """What was found for `values`, for each answer."""
        return found if self.places is None else found[self.places]


def output_columns(classes: tuple[str, ...], outputs: Outputs, digits: int | None = None) -> list[OutputColumn]:
    """The predicted class and, if there are probabilities, the greatest one; or the predicted value.

    `digits`: decimals of the probability, 4 if None; or significant digits of the value, 5 if None.
    """
    if outputs.values is not None:
        return [OutputColumn(PREDICTED_VALUE, "numeric", _rounded(outputs, digits))]
    assert outputs.class_ids is not None
    known, places = np.unique(outputs.class_ids, return_inverse=True)
    columns = [OutputColumn(PREDICTED_CLASS, "categorical", class_names(classes, known), places)]
    if outputs.probabilities is not None:
        columns.append(OutputColumn(TOP_PROBABILITY, "numeric", _rounded(outputs, digits)))
    return columns


def common_digits(outputs: Outputs, fitted: np.ndarray) -> int | None:
    """The digits of `output_columns` to compare, to which answers of clones agree; None where they have no number.

    `fitted`, shape (n,), is the number of the clone that gave each answer. Boosted trees end in a few values, of which
    each clone, and the model itself, has its own last digits: ranked by these, unchanged answers would look changed.
    Answers that agree are mixed when sorted: the next one is as often of the same clone as chance has it.
    """
    if outputs.values is None and outputs.probabilities is None:
        return None
    name = PREDICTED_VALUE if outputs.probabilities is None else TOP_PROBABILITY
    digits = FINEST[name]
    while digits > _COARSEST[name] and not _are_mixed(_rounded(outputs, digits), fitted):
        digits -= 1
    # One fewer where clones disagree: the model is one more of them, and its values may lie where none of theirs do.
    return digits if digits == FINEST[name] else max(_COARSEST[name], digits - 1)


def _are_mixed(values: np.ndarray, fitted: np.ndarray) -> bool:
    """Whether neighbours among the sorted values are of one clone about as often as any two are."""
    _, place = np.unique(values, return_inverse=True)
    # Values by clones; equal values are neighbours in any order, of which the mean is taken.
    table = np.zeros((int(place.max()) + 1, int(fitted.max()) + 1))
    np.add.at(table, (place, fitted), 1.0)
    sizes = table.sum(axis=1)
    within = float((table * (table - 1) / sizes[:, None]).sum())
    shares = table / sizes[:, None]
    same = within + float((shares[1:] * shares[:-1]).sum())
    rows, clones = len(values), table.sum(axis=0)
    if rows < 2:
        return True
    chance = float((clones * (clones - 1)).sum()) / (rows * (rows - 1))
    return same <= (rows - 1) * chance + _MOST_APART * math.sqrt((rows - 1) * chance * (1 - chance))


def _rounded(outputs: Outputs, digits: int | None) -> np.ndarray:
    if outputs.values is not None:
        return significant(np.asarray(outputs.values, dtype=np.float64), digits or FINEST[PREDICTED_VALUE])
    top = np.asarray(outputs.probabilities, dtype=np.float64).max(axis=1)
    rounded: np.ndarray = np.round(top, digits or FINEST[TOP_PROBABILITY])
    return rounded


def class_names(classes: tuple[str, ...], class_ids: np.ndarray) -> np.ndarray:
    """The names of `class_ids`, an array of objects; an id without a class gets a name that is unseen."""
    names = [classes[index] if 0 <= index < len(classes) else f"class {index}" for index in class_ids.tolist()]
    return np.array(names, dtype=object)


def significant(values: np.ndarray, digits: int = FINEST[PREDICTED_VALUE]) -> np.ndarray:
    """`values` rounded to that many significant digits; zero, NaN and infinities are unchanged."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        size = np.power(10.0, digits - 1 - np.floor(np.log10(np.abs(values))))
        rounded = np.round(values * size) / size
    return np.where(np.isfinite(rounded), rounded, values)
