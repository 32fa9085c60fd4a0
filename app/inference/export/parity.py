"""Parity: a runtime compared with the original estimator, row by row, on training rows and random ones.

Random rows are what a client could send and the training data did not have.
"""

from __future__ import annotations

import msgspec
import numpy as np

from app.domain.classes import boolean_values
from app.domain.contract import Feature, FeatureContract
from app.domain.manifest import Parity
from app.domain.prediction import Outputs
from app.inference.near_ties import TIE
from app.services.ports import Runtime

_NULLS, _UNSEEN, _ZEROS = 0.05, 0.02, 0.02
TOLERANCE = 1e-6
# A single row takes another path than a batch; a hundred near-ties and a hundred other rows take it here.
_SINGLY = 100


def random_rows(contract: FeatureContract, training_rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    """`count` rows in `RowParser`'s form: numbers uniform within the training range, known categories.

    A feature of choices or booleans has only those: no request carries another number. 5 % of the values of a nullable
    feature are missing, and 2 % of those with open categories are unknown ones. 2 % of other numbers are 0 where that
    is in the range: a model may take zeros for something else.
    """
    generator = np.random.default_rng(seed)
    rows = np.empty((count, len(contract.features)), dtype=np.float64 if contract.all_numeric else np.object_)
    for index, feature in enumerate(contract.features):
        seen = training_rows[:, index]
        draw = _numbers if feature.kind == "numeric" else _categories
        rows[:, index] = draw(feature, seen, count, generator)
    return rows


def _numbers(feature: Feature, seen: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    flags = boolean_values(feature)
    only = feature.choices or (() if flags is None else (0.0, 1.0))
    drawn = generator.choice(np.array(only), count) if only else _uniform(feature, seen, count, generator)
    if feature.nullable:
        drawn[generator.random(count) < _NULLS] = np.nan
    return drawn


def _uniform(feature: Feature, seen: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    values = seen.astype(np.float64)
    values = values[np.isfinite(values)]
    # A column without a number in training: any number is as good.
    if values.size == 0:
        values = np.zeros(1)
    low = values.min() if feature.minimum is None else feature.minimum
    high = values.max() if feature.maximum is None else feature.maximum
    drawn = generator.uniform(low, high, count)
    if low < 0 < high:
        drawn[generator.random(count) < _ZEROS] = 0.0
    return drawn


def _categories(feature: Feature, seen: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    known = list(feature.categories) or sorted({value for value in seen.tolist() if isinstance(value, str)})
    drawn = np.array(known, dtype=np.object_)[generator.integers(len(known), size=count)]
    if feature.open_categories:
        # Longer than all known ones, and so none of them.
        drawn[generator.random(count) < _UNSEEN] = "unseen".ljust(max(map(len, known), default=0) + 1, ".")
    if feature.nullable:
        drawn[generator.random(count) < _NULLS] = None
    return drawn


class Standard(msgspec.Struct, frozen=True):
    """The rows of a comparison and the original estimator's answers to them."""

    rows: np.ndarray
    outputs: Outputs

    @property
    def near_ties(self) -> np.ndarray:
        """True for rows whose two best classes are closer than `TIE`, shape (rows,)."""
        probabilities = self.outputs.probabilities
        if probabilities is None or probabilities.shape[1] < 2:
            return np.zeros(len(self.rows), dtype=bool)
        best = np.partition(probabilities, -2, axis=1)
        return np.asarray(best[:, -1] - best[:, -2] < TIE)


def not_measured(standard: Standard, reason: str) -> Parity:
    """The parity report of a version that is not served by ONNX, with the reason why nothing was compared."""
    return Parity(rows=len(standard.rows), flips=0, settled=0, largest_difference=0.0, holds=False, reason=reason[:500])


def measure(runtime: Runtime, standard: Standard) -> Parity:
    """The runtime's parity, measured in one batch and, near-ties first, on single rows.

    It holds if every class is the estimator's and every probability within 1e-6. A regression's values are compared
    relative to the larger of the value and the standard deviation of all values: near zero, a difference far below
    that spread does not matter.
    """
    # Near-ties first: they are the rows on which a single row and a batch could disagree.
    near = standard.near_ties
    chosen = np.concatenate([np.flatnonzero(near)[:_SINGLY], np.flatnonzero(~near)[:_SINGLY]])
    singly = [runtime.predict(standard.rows[[index]]) for index in chosen]
    flips, difference = _compared(runtime.predict(standard.rows), standard.outputs)
    for index, single in zip(chosen, singly, strict=True):
        more_flips, larger = _compared(single, _row(standard.outputs, index), spread=_spread(standard.outputs))
        flips, difference = flips + more_flips, max(difference, larger)
    holds = flips == 0 and difference <= TOLERANCE
    return Parity(
        rows=len(standard.rows),
        flips=flips,
        settled=int(near.sum()),
        largest_difference=difference,
        holds=holds,
        reason=None if holds else f"{flips} classes differ, the largest difference is {difference:.2g}",
    )


def _compared(got: Outputs, expected: Outputs, spread: float | None = None) -> tuple[int, float]:
    """The number of classes that differ, and the largest difference of probabilities or relative values."""
    if got.values is not None and expected.values is not None:
        scale = np.maximum(np.abs(expected.values), _spread(expected) if spread is None else spread)
        gaps = np.abs(got.values - expected.values)
        return 0, float(np.divide(gaps, scale, out=gaps, where=scale > 0).max(initial=0.0))
    assert got.class_ids is not None
    assert got.probabilities is not None
    assert expected.probabilities is not None
    flips = int(np.count_nonzero(got.class_ids != expected.class_ids))
    return flips, float(np.abs(got.probabilities - expected.probabilities).max(initial=0.0))


def _spread(expected: Outputs) -> float:
    return 0.0 if expected.values is None else float(expected.values.std())


def _row(outputs: Outputs, index: int) -> Outputs:
    one = slice(index, index + 1)
    return Outputs(
        class_ids=None if outputs.class_ids is None else outputs.class_ids[one],
        probabilities=None if outputs.probabilities is None else outputs.probabilities[one],
        values=None if outputs.values is None else outputs.values[one],
    )
