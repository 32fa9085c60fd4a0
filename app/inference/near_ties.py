"""Settle near-ties: the class that scikit-learn gives where the two best classes of a graph are too close to call.

The family's contract is `Settler`; a member is a function here and a line in the table. The members repeat the
estimator's arithmetic in double and in its order, to the last bit. Exact ties are ordinary in forests, and this way
they are resolved as scikit-learn resolves them: the first class of the largest sum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
import numpy as np

from app.domain.prediction import Outputs
from app.inference.plan import Settling

# Rows × trees that are walked at once: the working set stays in the processor's cache.
_CELLS = 20_000


class Trees(msgspec.Struct, frozen=True):
    """An ensemble's nodes in flat arrays. A leaf is its own child, so that walks of all rows have the same length.

    `feature`, `threshold` (≤ goes left) and `missing_left` have shape (nodes,); `children` (2 × nodes,), left before
    right; `values` (nodes, outputs); `roots` (trees,). After `depth` steps every walk is at a leaf.
    """

    feature: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    children: np.ndarray
    values: np.ndarray
    roots: np.ndarray
    depth: int

    def arrays(self) -> dict[str, np.ndarray]:
        """The fields as arrays, by name, in the form that `from_arrays` reads."""
        fields = msgspec.structs.asdict(self)
        return {name: np.asarray(value) for name, value in fields.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Trees:
        """The trees in `arrays`, with indices of the machine's width: NumPy would convert others at every step."""
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
        # In place where it can be: this loop is most of what settling costs.
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


# Graphs are off by some 1e-7 at most (ADR 0002): with a larger gap both give the same class.
TIE = 1e-6
Settler = Callable[[np.ndarray], Outputs]
Matrix = Callable[[np.ndarray], np.ndarray]


def settler_of(kind: Settling, arrays: Mapping[str, np.ndarray], matrix: Matrix) -> Settler | None:
    """The settler of `kind` with its exported arrays; `matrix` converts rows to the numbers that the model compares.

    It answers with class ids, and with probabilities if its own are more exact than the graph's. None for kinds that
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
    """Sums over axis 1, one term after the other: NumPy's `sum` adds pairwise, which gives other last bits."""
    return np.add.accumulate(terms, axis=1)[:, -1]


_EXPORTED: dict[str, Callable[[Mapping[str, np.ndarray], Matrix], Settler]] = {
    "mean_of_trees": _mean_of_trees,
    "sum_of_trees": _sum_of_trees,
    "linear": _linear,
}
