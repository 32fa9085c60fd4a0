"""Decision trees as flat arrays, walked all at once in double: what scikit-learn's own walk finds, to the last bit.

Settle near-ties: say which class scikit-learn itself would give where the graph's two best are too close to call.

The family's contract is `Settler`; a member is a function here and a line in the table. The exported members repeat
the estimator's arithmetic in double and in its own order, so that exact ties, which are ordinary in forests, fall as
they fall there: the first class of the largest sum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
import numpy as np

from app.domain.prediction import Outputs
from app.inference.plan import Settling

_CELLS = 20_000  # rows × trees walked at once: the working set stays in the cache


class Trees(msgspec.Struct, frozen=True):
    """An ensemble's nodes, numbered through. A leaf's children are the leaf itself, so that all walks are as long.

    `feature`, `threshold` (≤ goes left) and `missing_left` have shape (nodes,); `children` (2 × nodes,), left before
    right; `values` (nodes, outputs); `roots` (trees,). `depth` is the number of steps after which every walk is over.
    """

    feature: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    children: np.ndarray
    values: np.ndarray
    roots: np.ndarray
    depth: int

    def arrays(self) -> dict[str, np.ndarray]:
        """The fields as arrays that `from_arrays` reads back."""
        fields = msgspec.structs.asdict(self)
        return {name: np.asarray(value) for name, value in fields.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Trees:
        """The trees in `arrays`, their indices as wide as the machine's: NumPy would widen them at every step."""
        return cls(
            feature=arrays["feature"].astype(np.intp),
            threshold=arrays["threshold"].astype(np.float64),
            missing_left=arrays["missing_left"].astype(bool),
            children=arrays["children"].astype(np.intp),
            values=arrays["values"].astype(np.float64),
            roots=arrays["roots"].astype(np.intp),
            depth=int(arrays["depth"]),
        )

    def leaves(self, rows: np.ndarray) -> np.ndarray:
        """The node where each row ends in each tree, shape (n, trees).

        `rows` are float64 (n, features), already rounded to what scikit-learn compares; NaN is a missing value.
        """
        count = len(rows)
        flat = np.ascontiguousarray(rows).ravel()
        missing = np.isnan(flat) if np.isnan(flat.sum()) else None
        first_cell = np.repeat(np.arange(count) * rows.shape[1], len(self.roots)) if count > 1 else 0
        node = np.tile(self.roots, count)
        for _ in range(self.depth):
            cell = self.feature[node]
            if count > 1:
                cell += first_cell
            right = flat[cell] > self.threshold[node]
            if missing is not None:
                right |= missing[cell] & ~self.missing_left[node]
            node += node
            node += right
            node = self.children[node]
        return node.reshape(count, len(self.roots))

    def values_at(self, leaves: np.ndarray) -> np.ndarray:
        """The values of these nodes, shape (n, trees, outputs)."""
        return self.values.take(leaves, axis=0)

    def in_blocks(self, rows: np.ndarray) -> list[np.ndarray]:
        """The rows in blocks that are walked at once."""
        size = max(1, _CELLS // max(len(self.roots), 1))
        return [rows[start : start + size] for start in range(0, len(rows), size)]


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
