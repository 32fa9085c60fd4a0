"""What the rows of a reference say of the cases that a version will be asked about: repetition, and covariates."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import numpy as np

from app.domain.contract import FeatureContract
from app.domain.experiment import MOST_COVARIATES, CaseFacts, CovariateColumn

_DIGITS = 6
# Relative to the largest value: the differences of a constant are rounding.
_CONSTANT = 1e-12


def case_facts(contract: FeatureContract, rows: np.ndarray) -> CaseFacts:
    """The facts about `rows`, shape (rows, features) in `RowParser`'s form: the contract's order, as rows are logged.

    Covariates are numeric features first, then categories, the most frequent of all features first. What is constant
    is left out, and so are texts; missing values are ignored. Without rows nothing is known.
    """
    if not len(rows):
        return CaseFacts()
    columns = (*_numbers(contract, rows), *_levels(contract, rows))
    return CaseFacts(repeated_share=_rounded(_repeated(rows) / len(rows)), covariates=columns[:MOST_COVARIATES])


def _repeated(rows: np.ndarray) -> int:
    """How many rows stand there more than once; a missing value equals a missing value."""
    if rows.dtype != np.object_:
        # One NaN for all, and no -0.0: rows are compared by their bytes.
        plain = np.ascontiguousarray(np.where(np.isnan(rows), np.nan, rows) + 0.0, dtype=np.float64)
        whole = plain.view(np.dtype((np.void, plain.dtype.itemsize * plain.shape[1]))).ravel()
        counts = np.unique(whole, return_counts=True)[1].tolist()
    else:
        # A NaN is not equal to itself.
        counts = list(Counter(tuple(None if v != v else v for v in row) for row in rows.tolist()).values())
    return sum(count for count in counts if count > 1)


def _numbers(contract: FeatureContract, rows: np.ndarray) -> Iterator[CovariateColumn]:
    for index, feature in enumerate(contract.features):
        if feature.kind != "numeric":
            continue
        values = rows[:, index].astype(np.float64)
        values = values[np.isfinite(values)]
        largest = float(np.abs(values).max(initial=0.0))
        # Divided first: the square of a float can overflow.
        scale = float((values / largest).std()) * largest if largest else 0.0
        if scale > _CONSTANT * largest:
            mean = float((values / largest).mean()) * largest
            # The digits of the mean are those of the scale: a large mean, as of a time stamp, would be rounded away.
            decimals = _DIGITS - 1 - math.floor(math.log10(scale))
            yield CovariateColumn(feature=index, mean=round(mean, decimals), scale=_rounded(scale))


def _levels(contract: FeatureContract, rows: np.ndarray) -> Iterator[CovariateColumn]:
    counts: Counter[tuple[int, str]] = Counter()
    for index, feature in enumerate(contract.features):
        if feature.kind == "categorical" and not feature.is_text:
            present = (value for value in rows[:, index].tolist() if value is not None and value == value)
            counts.update((index, str(value)) for value in present)
    # Of equally frequent ones the first feature, then the first name: the same data give the same manifest.
    for (index, level), count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if count < len(rows):
            yield CovariateColumn(feature=index, level=level)


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
