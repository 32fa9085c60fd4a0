"""Settle near-ties: say which class scikit-learn itself would give where the graph's two best are too close to call.

The family's contract is `Settler`; a member is a function here and a line in the table. The exported members repeat
the estimator's arithmetic in double and in its own order, so that exact ties, which are ordinary in forests, fall as
they fall there: the first class of the largest sum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from app.domain.prediction import Outputs
from app.inference.plan import Settling
from app.inference.trees import Trees

TIE = 1e-6
Settler = Callable[[np.ndarray], Outputs]
Matrix = Callable[[np.ndarray], np.ndarray]


def settler_of(kind: Settling, arrays: Mapping[str, np.ndarray], matrix: Matrix) -> Settler | None:
    """The settler that works with these exported arrays; `matrix` turns rows into what the model compares.

    It answers with class ids, and with probabilities where it knows them better than the graph. None for kinds that
    need no arrays.
    """
    make = _EXPORTED.get(kind)
    return None if make is None else make(arrays, matrix)


def _mean_of_trees(arrays: Mapping[str, np.ndarray], matrix: Matrix) -> Settler:
    trees = Trees.from_arrays(arrays)

    def settle(rows: np.ndarray) -> Outputs:
        blocks = [_totals(trees.values_at(trees.leaves(block))) for block in trees.in_blocks(matrix(rows))]
        probabilities = np.concatenate(blocks) / len(trees.roots)
        return Outputs(class_ids=probabilities.argmax(axis=1), probabilities=probabilities)

    return settle


def _sum_of_trees(arrays: Mapping[str, np.ndarray], matrix: Matrix) -> Settler:
    trees, initial = Trees.from_arrays(arrays), arrays["initial"].astype(np.float64)

    def raw(block: np.ndarray) -> np.ndarray:
        stages = trees.values_at(trees.leaves(block)).reshape(len(block), -1, len(initial))
        first = np.broadcast_to(initial, (len(block), 1, len(initial)))
        return _totals(np.concatenate([first, stages], axis=1))

    def settle(rows: np.ndarray) -> Outputs:
        scores = np.concatenate([raw(block) for block in trees.in_blocks(matrix(rows))])
        if scores.shape[1] == 1:
            return Outputs(class_ids=(scores[:, 0] >= 0).astype(np.intp))
        return Outputs(class_ids=scores.argmax(axis=1))

    return settle


def _linear(arrays: Mapping[str, np.ndarray], matrix: Matrix) -> Settler:
    coefficients, intercept = arrays["coefficients"].T, arrays["intercept"]

    def settle(rows: np.ndarray) -> Outputs:
        scores = matrix(rows) @ coefficients + intercept
        if scores.shape[1] == 1:
            return Outputs(class_ids=(scores[:, 0] > 0).astype(np.intp))
        return Outputs(class_ids=scores.argmax(axis=1))

    return settle


def _totals(terms: np.ndarray) -> np.ndarray:
    """Sums over axis 1, one term after the other: NumPy's own sum adds in pairs, which ends in other bits."""
    return np.add.accumulate(terms, axis=1)[:, -1]


_EXPORTED: dict[str, Callable[[Mapping[str, np.ndarray], Matrix], Settler]] = {
    "mean_of_trees": _mean_of_trees,
    "sum_of_trees": _sum_of_trees,
    "linear": _linear,
}
