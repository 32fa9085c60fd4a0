"""Decision trees as flat arrays, walked all at once in double: what scikit-learn's own walk finds, to the last bit."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

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
