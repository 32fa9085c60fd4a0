"""Losses of single predictions and the ranges they are declared to lie in."""

from __future__ import annotations

import math

import msgspec
import numpy as np

from app.stats.estimates import Interval

LEAST_PROBABILITY = 0.001


class Range(msgspec.Struct, frozen=True):
    """The declared range of a loss or reward; what lies outside counts as the nearer end."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """The range's length: one unit of the tests is this much of the metric."""
        return self.high - self.low

    def to_unit(self, values: np.ndarray) -> np.ndarray:
        """Values moved onto [0, 1], same shape."""
        unit: np.ndarray = np.clip((np.asarray(values, float) - self.low) / self.width, 0.0, 1.0)
        return unit

    def difference(self, unit_difference: float) -> float:
        """A difference on the unit scale in the units of the metric."""
        return unit_difference * self.width

    def interval(self, unit_interval: Interval) -> Interval:
        """An interval of differences on the unit scale in the units of the metric."""
        low, high = unit_interval
        return low * self.width, high * self.width


BRIER = Range(0.0, 2.0)
LOG_LOSS = Range(0.0, -math.log(LEAST_PROBABILITY))


def brier(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Σ (p − 1{label})² of each row, in [0, 2]; `probabilities` (rows, classes), `labels` (rows,) class ids.

    A proper score: its mean is least for the true probabilities (Brier 1950).
    """
    right = probabilities[np.arange(len(labels)), labels]
    score: np.ndarray = (probabilities**2).sum(axis=1) - 2 * right + 1
    return score


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """−ln p(label) of each row, with p not below .001 so that the loss lies in `LOG_LOSS`; shapes as for `brier`."""
    right = probabilities[np.arange(len(labels)), labels]
    score: np.ndarray = -np.log(np.clip(right, LEAST_PROBABILITY, 1.0))
    return score


def absolute_error(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """|prediction − label| of each row, shape (rows,), in the target's units."""
    error: np.ndarray = np.abs(np.asarray(predictions, float) - np.asarray(labels, float))
    return error


def gains(baseline: np.ndarray, challenger: np.ndarray, declared: Range) -> np.ndarray:
    """X for `app.stats.paired_numeric`: the baseline's loss minus the challenger's, in widths of the declared range."""
    gain: np.ndarray = declared.to_unit(baseline) - declared.to_unit(challenger)
    return gain
