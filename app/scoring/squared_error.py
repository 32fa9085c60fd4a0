"""Squared error: the square of how far a predicted number is from the true one. Large errors count most."""

from __future__ import annotations

from app.domain.experiment import ExperimentTerms
from app.scoring.contract import Answer, Metric, Range


def score(answer: Answer, label: float, terms: ExperimentTerms) -> float | None:
    """(prediction − label)², in the target's units squared."""
    return None if answer.v is None else score_of_id(answer.v, label, terms)


def score_of_id(prediction: float, label: float, _terms: ExperimentTerms) -> float:
    """The same of the number in a prediction id."""
    # Not `** 2`, which raises where the square is above the largest float.
    return (prediction - label) * (prediction - label)


def _range(terms: ExperimentTerms) -> Range | None:
    # Of the squares: the range of the absolute errors would be another one under the same name.
    return None if terms.error_range is None else Range(*terms.error_range)


SQUARED_ERROR = Metric(
    name="squared_error",
    quantity="squared error",
    tasks=("regression",),
    higher_is_better=False,
    method="paired_numeric",
    range_of=_range,
    score=score,
    score_of_id=score_of_id,
    reads=("error_range",),
)
