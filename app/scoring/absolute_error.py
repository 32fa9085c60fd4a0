"""Absolute error: how far a predicted number is from the true one."""

from __future__ import annotations

from app.domain.experiment import ExperimentTerms
from app.scoring.contract import Answer, Metric, Range


def score(answer: Answer, label: float, _terms: ExperimentTerms) -> float | None:
    """|prediction − label|, in the target's units."""
    return None if answer.v is None else abs(answer.v - label)


def score_of_id(prediction: float, label: float, _terms: ExperimentTerms) -> float:
    """The same of the number in a prediction id."""
    return abs(prediction - label)


def _range(terms: ExperimentTerms) -> Range | None:
    # Only the operator knows how large an error can be: ERROR_RANGE.
    return None if terms.error_range is None else Range(*terms.error_range)


ABSOLUTE_ERROR = Metric(
    name="absolute_error",
    quantity="absolute error",
    tasks=("regression",),
    higher_is_better=False,
    method="paired_numeric",
    range_of=_range,
    score=score,
    score_of_id=score_of_id,
    reads=("error_range",),
)
