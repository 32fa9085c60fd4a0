"""Predicts rewards from the features of their rows, so that less of their spread is left for the two-sample test.

Model: ridge regression of the outcome on at most 64 columns, fitted on past outcomes only. The prediction takes the
place of the running mean m in X = (Y − m)(A/π − (1−A)/(1−π)). Chance assigns A whatever the row is, so X has the mean
"challenger minus baseline" with *any* m that was made before the assignment: a wrong model costs power, never the error
rate. The variance of X falls by about R², the share of the outcomes' spread that the columns explain.

The row must not change the size of a bet. Where the difference itself depends on the row, E[X | past, row] is not the
mean difference, and bets that are larger on some rows would find an "effect" in a mean of 0. So while the regression
is in use, X is bounded by 1/min(π, 1−π), which is free of the row, and not by the prediction.

The regression is used only where it predicts: each outcome is predicted before it enters the fit, and so is the
progressive R² against the running mean. Which of the two is used depends on past outcomes alone.

Sources: adjustment by data from before the assignment, Deng, Xu, Kohavi & Walker (2013), "CUPED"; it cannot bias a
randomised comparison, Lin (2013), arXiv 1208.2301; a predictable centre in a confidence sequence, Waudby-Smith et
al., arXiv 2103.06476; progressive validation, Blum, Kalai & Langford (1999).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from app.domain.experiment import CovariateColumn

_FIRST_FIT, _REFIT = 50, 64
_LEAST_R2 = 0.15
# The penalty on each squared coefficient: as 5 more rows that have 1 in this column, nothing elsewhere, and no outcome.
_RIDGE = 5.0
# Standardised columns seldom leave this. One absurd value must not take over the fit, or overflow it.
_FARTHEST = 8.0
_FLOAT = np.dtype("<f8")


class CovariateState(msgspec.Struct, frozen=True):
    """The fit on all outcomes so far; constant memory: 46 kB of JSON with 64 columns.

    `moments`, shape (columns + 2, columns + 2), little-endian float64: the sum over outcomes of the products of the
    vector (1, columns, outcome) with itself. `coefficients`, shape (columns + 1,): those of the last fit, empty before
    the first. `n` outcomes made the sums. `error` and `error_of_mean` are the sums of the squared errors of prediction
    and of running mean, since the first fit. `in_use`: the regression is the centre until the next fit.
    """

    columns: int
    moments: bytes
    coefficients: bytes = b""
    n: int = 0
    error: float = 0.0
    error_of_mean: float = 0.0
    in_use: bool = False

    @property
    def r2(self) -> float:
        """The progressive R²: the share of the running mean's squared error that the predictions have saved."""
        return 1 - self.error / self.error_of_mean if self.error_of_mean > 0 else 0.0


class Centres(msgspec.Struct, frozen=True):
    """The centre m of each outcome, and whether it is the regression's; each of shape (outcomes,)."""

    values: np.ndarray
    regressed: np.ndarray


def initial(columns: int) -> CovariateState:
    """The state before the first outcome."""
    return CovariateState(columns, np.zeros((columns + 2, columns + 2), _FLOAT).tobytes())


def follow(
    state: CovariateState, columns: np.ndarray | None, values: np.ndarray, means: np.ndarray, informative: np.ndarray
) -> tuple[CovariateState, Centres]:
    """The state after a batch of outcomes in order, and the centre of each, made before it.

    `columns`: shape (outcomes, columns), NaN where a value is missing, None where all are; `values`: the outcomes, in
    [0, 1]; `means`: the running mean before each. Only where `informative` does an outcome enter the fit. The same to
    the last bit in batches of any size, and on any machine, since no matrix product is used (ADR 7).
    """
    rows = _vectors(state.columns, columns, values)
    fit, centres, regressed = _Fit(state), means.copy(), np.zeros(len(values), bool)
    for at in np.flatnonzero(informative).tolist():
        predicted = fit.predict(rows[at])
        if fit.in_use and predicted is not None:
            regressed[at], centres[at] = True, predicted
        fit.learn(rows[at], float(means[at]), predicted)
    return fit.state(), Centres(centres, regressed)


def design(columns: Sequence[CovariateColumn], features: Sequence[str]) -> np.ndarray:
    """The covariates of logged rows, shape (rows, columns); NaN where a row has no such value.

    `features`: each row as it is logged, a JSON array of numbers, strings and nulls; empty where the row is not known.
    """
    rows = [msgspec.json.decode(text) if text else [] for text in features]
    found = np.empty((len(rows), len(columns)))
    for place, column in enumerate(columns):
        found[:, place] = _column(column, [row[column.feature] if column.feature < len(row) else None for row in rows])
    return found


def _column(column: CovariateColumn, values: list[object]) -> np.ndarray:
    """The covariate of each row from the values of one feature."""
    if column.level is not None:
        return np.array([math.nan if value is None else float(value == column.level) for value in values])
    numbers = np.array([value if isinstance(value, int | float) else math.nan for value in values], float)
    # A constant column, whose scale is 0, has nothing to predict from.
    return (numbers - column.mean) / (column.scale or math.nan)


def _vectors(width: int, columns: np.ndarray | None, values: np.ndarray) -> np.ndarray:
    """The vectors (1, columns, outcome), shape (outcomes, width + 2): missing ones at the mean, which is 0."""
    rows = np.zeros((len(values), width + 2))
    rows[:, 0], rows[:, -1] = 1.0, values
    if columns is not None:
        rows[:, 1:-1] = np.clip(np.where(np.isnan(columns), 0.0, columns), -_FARTHEST, _FARTHEST)
    return rows


class _Fit:
    """A state opened to work on: arrays that are changed in place."""

    def __init__(self, state: CovariateState) -> None:
        width = state.columns + 2
        self.in_use = state.in_use
        self._before = state
        self._moments = np.frombuffer(state.moments, _FLOAT).reshape(width, width).copy()
        self._product = np.empty((width, width))
        self._coefficients = np.frombuffer(state.coefficients, _FLOAT)
        self._n, self._error, self._error_of_mean = state.n, state.error, state.error_of_mean

    def predict(self, row: np.ndarray) -> float | None:
        """The outcome expected of a row, held within [0, 1]; None before the first fit."""
        if not len(self._coefficients):
            return None
        # A running sum adds from left to right, on every machine.
        return min(1.0, max(0.0, float(np.cumsum(self._coefficients * row[:-1])[-1])))

    def learn(self, row: np.ndarray, mean: float, predicted: float | None) -> None:
        """Score the prediction of one outcome, add the outcome to the sums, and refit where that is due."""
        if predicted is not None:
            value = float(row[-1])
            self._error += (value - predicted) ** 2
            self._error_of_mean += (value - mean) ** 2
        np.multiply(row[:, None], row, out=self._product)
        self._moments += self._product
        self._n += 1
        if self._n >= _FIRST_FIT and (self._n - _FIRST_FIT) % _REFIT == 0:
            self._coefficients = _solved(self._moments)
            self.in_use = self.state().r2 >= _LEAST_R2

    def state(self) -> CovariateState:
        """The record to keep."""
        return CovariateState(
            columns=self._before.columns,
            moments=self._moments.tobytes(),
            coefficients=self._coefficients.tobytes(),
            n=self._n,
            error=self._error,
            error_of_mean=self._error_of_mean,
            in_use=self.in_use,
        )


def _solved(moments: np.ndarray) -> np.ndarray:
    """The coefficients of the ridge regression, the intercept first and without a penalty.

    Gaussian elimination, which needs no pivots for a positive definite matrix; element by element, because the
    libraries' own solvers round differently on different machines.
    """
    gram, found = moments[:-1, :-1].copy(), moments[:-1, -1].copy()
    width = len(found)
    gram[np.arange(1, width), np.arange(1, width)] += _RIDGE
    for at in range(width - 1):
        factors = gram[at + 1 :, at] / gram[at, at]
        gram[at + 1 :, at + 1 :] -= factors[:, None] * gram[at, at + 1 :]
        found[at + 1 :] -= factors * found[at]
    for at in range(width - 1, -1, -1):
        found[at] /= gram[at, at]
        found[:at] -= gram[:at, at] * found[at]
    return found
