"""The joint streams: numbers that change when relations between features change though each feature stays the same.

One is the Mahalanobis distance of a row from the reference; the others are, per feature, the residual given all other
features, `((x−μ)C⁻¹)_j / √(C⁻¹_jj)`. All are fixed functions of a row once fitted, so what was fitted on one half of
the reference may be ranked, exactly, against the other half.
"""

from __future__ import annotations

import msgspec
import numpy as np

from app.drift.keys import INFINITE_KEY, MISSING_KEY

# The cost of a row grows with the square of the features.
MAX_FEATURES = 100
# Of these, half are fitted on and half ranked against.
MIN_ROWS = 20
DISTANCE = "distance"
GIVEN_THE_OTHERS = " given the others"
# Squares of larger values would overflow.
_MODERATE = 1e150
_FARTHEST = 1e6
_LEAST_SHRINKAGE = 1e-4
# Of one computation: more rows do not stay in the processor's cache, and for fewer NumPy's calls cost too much.
_ROWS_AT_ONCE = 1000


class Joint(msgspec.Struct, frozen=True):
    """The fitted transform over `columns` (indices of numeric features that vary).

    `precision` is the upper triangle, row by row, of the inverse of the shrunk correlation matrix of the values
    standardised by `centre` and `scale`.
    """

    columns: tuple[int, ...]
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    precision: tuple[float, ...]


def fit_joint(keys: np.ndarray, numeric: list[int]) -> Joint | None:
    """The transform fitted on `keys`, shape (n, features); None with fewer than two features that vary.

    Also None for n < `MIN_ROWS` / 2. Of more than `MAX_FEATURES` features the first are used.
    """
    if 2 * len(keys) < MIN_ROWS:
        return None
    columns, centre, scale = _moments(keys, numeric)
    if len(columns) < 2:
        return None
    z = _standardised(keys[:, columns], np.array(centre), np.array(scale))
    # Inverted once, here: a live row costs a product and no solution of equations.
    precision = np.linalg.inv(shrunk_correlation(z))
    upper = precision[np.triu_indices(len(columns))]
    return Joint(
        columns=tuple(columns), centre=tuple(centre), scale=tuple(scale), precision=tuple(map(_rounded, upper.tolist()))
    )


def shrunk_correlation(z: np.ndarray) -> np.ndarray:
    """The second moments of standardised `z`, shape (n, d), shrunk towards the identity.

    The weight is Ledoit & Wolf's (2004, "A well-conditioned estimator for large-dimensional covariance matrices"),
    but never below 1e-4, so that copies of a column leave it invertible.
    """
    rows, width = z.shape
    sample = z.T @ z / rows
    distance = float(((sample - np.eye(width)) ** 2).sum())
    noise = (float(((z**2).sum(axis=1) ** 2).sum()) / rows - float((sample**2).sum())) / rows
    weight = 1.0 if distance <= 0 else min(1.0, max(_LEAST_SHRINKAGE, noise / distance))
    shrunk: np.ndarray = (1 - weight) * sample + weight * np.eye(width)
    return shrunk


class JointTransform:
    """The transform of a `Joint`; a row's values do not depend on the rows beside it.

    Sums run over the features in a fixed order and not by BLAS, whose order depends on the number of rows.
    """

    def __init__(self, joint: Joint) -> None:
        width = len(joint.columns)
        precision = np.zeros((width, width))
        precision[np.triu_indices(width)] = joint.precision
        self._precision = precision + np.triu(precision, 1).T
        self._residual_scale = 1 / np.sqrt(np.diag(self._precision))
        self._columns = list(joint.columns)
        self._centre = np.array(joint.centre)
        self._scale = np.array(joint.scale)

    def values(self, keys: np.ndarray) -> np.ndarray:
        """Shape (n, 1 + columns): the distance, then each residual, rounded to 4 decimals; always finite."""
        # Features first, so that each step runs along the rows: they are many, and next to each other in memory.
        columns = np.ascontiguousarray(keys.T)[self._columns]
        found = np.empty((len(columns) + 1, len(keys)))
        for first in range(0, len(keys), _ROWS_AT_ONCE):
            part = slice(first, first + _ROWS_AT_ONCE)
            z = _standardised(columns[:, part], self._centre[:, None], self._scale[:, None])
            pulled = self._precision[0][:, None] * z[0]
            step = np.empty_like(pulled)
            for column in range(1, len(z)):
                pulled += np.multiply(self._precision[column][:, None], z[column], out=step)
            squared, *others = np.multiply(z, pulled, out=z)
            for each in others:
                squared += each
            np.sqrt(np.maximum(squared, 0.0), out=found[0, part])
            np.multiply(pulled, self._residual_scale[:, None], out=found[1:, part])
        return np.round(found, 4, out=found).T


def _moments(keys: np.ndarray, numeric: list[int]) -> tuple[list[int], list[float], list[float]]:
    """Columns that vary among their present values, with mean and standard deviation (7 significant digits)."""
    columns, centre, scale = [], [], []
    for column in numeric:
        values = keys[:, column]
        values = np.clip(values[np.abs(values) < INFINITE_KEY], -_MODERATE, _MODERATE)
        if len(values) < 2 or values.min() == values.max():
            continue
        mean, deviation = _rounded(float(values.mean())), _rounded(float(values.std()))
        # Values that differ in their last bits only may have a deviation of 0.
        if deviation > 0:
            columns.append(column)
            centre.append(mean)
            scale.append(deviation)
    return columns[:MAX_FEATURES], centre[:MAX_FEATURES], scale[:MAX_FEATURES]


def _standardised(keys: np.ndarray, centre: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Deviations in standard deviations, at most ±1e6; a missing or unseen value deviates by 0."""
    with np.errstate(over="ignore"):
        z: np.ndarray = np.clip((keys - centre) / scale, -_FARTHEST, _FARTHEST)
    # Whether values are missing is for the feature's own stream to find; here they say nothing about relations.
    z[keys >= MISSING_KEY] = 0.0
    return z


def _rounded(value: float) -> float:
    return float(f"{value:.7g}")
