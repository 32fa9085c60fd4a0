"""Accuracy: the share of labelled answers that are right."""

from __future__ import annotations

from app.domain.experiment import ExperimentTerms
from app.scoring.contract import Answer, Metric, Range

_RANGE = Range(0.0, 1.0)


def score(answer: Answer, label: float, _terms: ExperimentTerms) -> float | None:
    """1 where the answer is the label's class, else 0."""
    return None if answer.c is None else float(answer.c == label)


def score_of_id(class_id: float, label: float, _terms: ExperimentTerms) -> float:
    """The same of the class id in a prediction id."""
    return float(class_id == label)


ACCURACY = Metric(
    name="accuracy",
    quantity="accuracy",
    tasks=("classification",),
    higher_is_better=True,
    method="paired",
    range_of=lambda _terms: _RANGE,
    score=score,
    score_of_id=score_of_id,
    # Where both versions give one answer, both are right or both are wrong.
    bounded_by_disagreement=True,
    scale=100,
    unit=" points",
)
