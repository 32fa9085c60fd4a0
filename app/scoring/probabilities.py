"""What the metrics of predicted probabilities share: the row of probabilities, where it can be scored."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from app.domain.experiment import ExperimentTerms
from app.scoring.contract import Answer, ScoreAnswer

if TYPE_CHECKING:
    import numpy as np


def scored_by(loss: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> ScoreAnswer:
    """A metric's `score` from a loss of rows, shapes (rows, classes) and (rows,) → (rows,).

    None of an answer without probabilities, and of a label that is not the id of one of its classes.
    """

    def score(answer: Answer, label: float, _terms: ExperimentTerms) -> float | None:
        if answer.p is None or label != int(label) or not 0 <= label < len(answer.p):
            return None
        # Not at the top: the settings read the table of metrics, and commands that need no arithmetic start without
        # numpy, whose import takes longer than theirs.
        import numpy as np

        return float(loss(np.array([answer.p]), np.array([int(label)]))[0])

    return score
