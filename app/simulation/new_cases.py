"""New cases of a data set: rows that nobody has recorded, drawn as its own rows seem to have been drawn.

Playing the recorded rows would reward a model for those that it was fitted on, and a few hundred rows cannot give
thousands of votes. A new case of a class has a Gaussian copula: each feature has the distribution that it has among the
rows of the class, and normal scores of the features have the covariance of the rows' normal scores (Nelsen, 2006, "An
Introduction to Copulas"). Plain normal features would show up as drift within a few hundred requests, since most
columns are skewed, and so would a shrunk covariance, since some columns nearly follow from others.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from scipy.special import ndtr, ndtri

from app.simulation.rows import Label, LabelledRows

# The share of a score's variance that is that of a recorded row. One Gaussian blurs classes of several shapes, as those
# of digits are, and heavy tails. Drift detection notices both, and with these shares it does not.
_NEAR_A_ROW = {"breast_cancer": 0.75, "digits": 0.9}


class NewCases:
    """Rows drawn anew from the distribution of `data`; of a regression jointly with the labels.

    The shares of the classes are those in `data`. Every value is one that its column has in the class: integers stay
    integers, and nothing leaves the range. `near_a_row`, from 0 to 1, is the share of each score's variance that comes
    from one recorded row. All features must be numeric, without missing values.
    """

    def __init__(self, data: LabelledRows, near_a_row: float = 0.0) -> None:
        self.data = data
        self._near_a_row = near_a_row
        values = data.values.astype(np.float64)
        if data.contract.task == "regression":
            self._labels: tuple[Label, ...] = ()
            groups = [np.column_stack([values, np.array(data.labels, dtype=np.float64)])]
        else:
            names = np.array(data.labels, dtype=object)
            self._labels = tuple(dict.fromkeys(data.labels))
            groups = [values[names == label] for label in self._labels]
        self._groups = [_Group.of(rows) for rows in groups]
        self._shares = np.array([len(rows) for rows in groups]) / len(data)

    def places(self, _first: int, _size: int) -> None:
        """No row is one of `data`."""

    def take(self, _first: int, size: int, rng: np.random.Generator) -> tuple[np.ndarray, Sequence[Label]]:
        """`size` cases, shape (size, features), and their labels; they depend on `rng` alone."""
        members = rng.choice(len(self._groups), size=size, p=self._shares)
        rows = np.empty((size, self._groups[0].ordered.shape[1]))
        for place, group in enumerate(self._groups):
            rows[members == place] = group.draw(int((members == place).sum()), self._near_a_row, rng)
        if self._labels:
            return rows, [self._labels[place] for place in members]
        return rows[:, :-1], rows[:, -1].tolist()


def new_cases(data: LabelledRows, name: str) -> NewCases:
    """The new cases of the built-in set of that name, whose rows are `data`."""
    return NewCases(data, _NEAR_A_ROW.get(name, 0.0))


class _Group(msgspec.Struct, frozen=True):
    """The rows of one class, as what drawing needs; all arrays but `root` have the shape (rows, columns).

    `ordered` has each column sorted. `low` and `high` are each value's share of smaller, and of smaller or equal ones.
    `root`, shape (columns, columns), turns independent normal numbers into scores with the covariance of the rows'.
    """

    ordered: np.ndarray
    low: np.ndarray
    high: np.ndarray
    root: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> _Group:
        """The group of these rows, shape (rows, columns)."""
        ordered = np.sort(rows, axis=0)
        low, high = (
            np.column_stack([np.searchsorted(ordered[:, at], rows[:, at], side) for at in range(rows.shape[1])])
            / len(rows)
            for side in ("left", "right")
        )
        # Equal values share one score, the middle of theirs: broken at random, ties would weaken the correlations.
        scores = ndtri((low + high) / 2)
        scores -= scores.mean(axis=0)
        spread = scores.std(axis=0)
        scores /= np.where(spread > 0, spread, 1.0)
        sizes, axes = np.linalg.eigh(scores.T @ scores / len(rows))
        return cls(ordered, low, high, axes * np.sqrt(np.maximum(sizes, 0.0)))

    def draw(self, size: int, near_a_row: float, rng: np.random.Generator) -> np.ndarray:
        """New rows, shape (size, columns)."""
        count, columns = self.ordered.shape
        scores = rng.standard_normal((size, columns)) @ self.root.T
        if near_a_row > 0:
            chosen = rng.integers(count, size=size)
            # Anywhere among its equals: then the score of a row is normal too, and the columns keep their distribution.
            within = self.low[chosen] + rng.random((size, columns)) * (self.high - self.low)[chosen]
            own = ndtri(np.clip(within, np.finfo(float).tiny, 1 - np.finfo(float).epsneg))
            scores = np.sqrt(near_a_row) * own + np.sqrt(1 - near_a_row) * scores
        places = np.minimum((ndtr(scores) * count).astype(np.int64), count - 1)
        return np.take_along_axis(self.ordered, places, axis=0)
