"""A model's answers as columns, which are monitored like features."""

from __future__ import annotations

import msgspec
import numpy as np

from app.domain.contract import FeatureKind
from app.domain.prediction import Outputs

PREDICTED_CLASS = "predicted_class"
TOP_PROBABILITY = "top_probability"
PREDICTED_VALUE = "predicted_value"
_SIGNIFICANT = 5


class OutputColumn(msgspec.Struct, frozen=True):
    """One number or name per answer: `values` of shape (n,), float64 or objects (names of classes)."""

    name: str
    kind: FeatureKind
    values: np.ndarray


def output_columns(classes: tuple[str, ...], outputs: Outputs) -> list[OutputColumn]:
    """The predicted class and, if there are probabilities, the greatest one; or the predicted value.

    Numbers are rounded to 4 decimals or 5 significant digits: runtimes differ by a float32's last digit, and answers
    that are equal must be ties in each of them.
    """
    if outputs.values is not None:
        return [OutputColumn(PREDICTED_VALUE, "numeric", significant(np.asarray(outputs.values, dtype=np.float64)))]
    assert outputs.class_ids is not None
    columns = [OutputColumn(PREDICTED_CLASS, "categorical", class_names(classes, outputs.class_ids))]
    if outputs.probabilities is not None:
        top = np.asarray(outputs.probabilities, dtype=np.float64).max(axis=1)
        columns.append(OutputColumn(TOP_PROBABILITY, "numeric", np.round(top, 4)))
    return columns


def class_names(classes: tuple[str, ...], class_ids: np.ndarray) -> np.ndarray:
    """The names of `class_ids`, an array of objects; an id without a class gets a name that is unseen."""
    names = [classes[index] if 0 <= index < len(classes) else f"class {index}" for index in class_ids.tolist()]
    return np.array(names, dtype=object)


def significant(values: np.ndarray) -> np.ndarray:
    """`values` rounded to 5 significant digits; zero, NaN and infinities are unchanged."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        size = np.power(10.0, _SIGNIFICANT - 1 - np.floor(np.log10(np.abs(values))))
        rounded = np.round(values * size) / size
    return np.where(np.isfinite(rounded), rounded, values)
