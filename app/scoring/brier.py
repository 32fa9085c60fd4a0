"""The Brier score: the squared distance of the predicted probabilities from the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.scoring.contract import Metric, Range, scored_by

if TYPE_CHECKING:
    import numpy as np

# The worst is all of the probability on one wrong class: 1 for that class, and 1 for the label's.
_RANGE = Range(0.0, 2.0)


def brier(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Σ (p − 1{label})² of each row, in [0, 2]; `probabilities` (rows, classes), `labels` (rows,) class ids.

    A proper score: its mean is least for the true probabilities (Brier 1950).
    """
    right = probabilities[range(len(labels)), labels]
    score: np.ndarray = (probabilities**2).sum(axis=1) - 2 * right + 1
    return score


BRIER = Metric(
    name="brier",
    quantity="Brier score",
    tasks=("classification",),
    higher_is_better=False,
    method="paired_numeric",
    range_of=lambda _terms: _RANGE,
    score=scored_by(brier),
    reads_probabilities=True,
)
