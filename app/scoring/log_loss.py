"""Log loss: minus the logarithm of the probability that was given to the label."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from app.scoring.contract import Metric, Range, scored_by

if TYPE_CHECKING:
    import numpy as np

# The tests need a bound, and −ln p has none as p → 0.
LEAST_PROBABILITY = 0.001
_RANGE = Range(0.0, -math.log(LEAST_PROBABILITY))


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """−ln p(label) of each row in nats, p not below .001; `probabilities` (rows, classes), `labels` (rows,) class ids.

    A proper score up to that limit (Good 1952).
    """
    import numpy as np  # for the reason in `app.scoring.contract`

    right = probabilities[range(len(labels)), labels]
    score: np.ndarray = -np.log(np.clip(right, LEAST_PROBABILITY, 1.0))
    return score


LOG_LOSS = Metric(
    name="log_loss",
    quantity="log loss",
    tasks=("classification",),
    higher_is_better=False,
    method="paired_numeric",
    range_of=lambda _terms: _RANGE,
    score=scored_by(log_loss),
    reads_probabilities=True,
)
