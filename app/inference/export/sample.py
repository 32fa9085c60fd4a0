"""Random rows that a contract admits: what a client might send, beyond what the training data held."""

from __future__ import annotations

import numpy as np

from app.domain.contract import Feature, FeatureContract

_NULLS, _UNSEEN = 0.05, 0.02


def random_rows(contract: FeatureContract, training_rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    """`count` rows, shaped as `RowParser` shapes them: numbers uniform within the training range, known categories.

    A few values are missing where the contract allows it, and unseen where the pipeline copes with that.
    """
    generator = np.random.default_rng(seed)
    rows = np.empty((count, len(contract.features)), dtype=np.float64 if contract.all_numeric else np.object_)
    for index, feature in enumerate(contract.features):
        seen = training_rows[:, index]
        draw = _numbers if feature.kind == "numeric" else _categories
        rows[:, index] = draw(feature, seen, count, generator)
    return rows


def _numbers(feature: Feature, seen: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    values = seen.astype(np.float64)
    values = values[np.isfinite(values)]
    if values.size == 0:
        values = np.zeros(1)
    low = values.min() if feature.minimum is None else feature.minimum
    high = values.max() if feature.maximum is None else feature.maximum
    drawn = generator.uniform(low, high, count)
    if feature.nullable:
        drawn[generator.random(count) < _NULLS] = np.nan
    return drawn


def _categories(feature: Feature, seen: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    known = list(feature.categories) or sorted({value for value in seen.tolist() if isinstance(value, str)})
    drawn = np.array(known, dtype=np.object_)[generator.integers(len(known), size=count)]
    if feature.open_categories:
        drawn[generator.random(count) < _UNSEEN] = "".join([*known, "unseen"])
    if feature.nullable:
        drawn[generator.random(count) < _NULLS] = None
    return drawn
