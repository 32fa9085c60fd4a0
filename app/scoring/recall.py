"""Recall: the share of the labelled requests of one class, `POSITIVE_CLASS`, that are answered with it."""

from __future__ import annotations

from app.domain.experiment import ExperimentTerms
from app.scoring.contract import Answer, Metric, Range, Unfit, class_at, class_list

_RANGE = Range(0.0, 1.0)


def is_positive(label: float, terms: ExperimentTerms) -> bool:
    """Whether the label is the positive class. Other rows say nothing about recall."""
    return terms.positive_class is not None and class_at(label, terms) == terms.positive_class


def score(answer: Answer, label: float, terms: ExperimentTerms) -> float | None:
    """On a row of the positive class 1 where the answer is that class, else 0; None on any other row."""
    return None if answer.c is None else score_of_id(answer.c, label, terms)


def score_of_id(class_id: float, label: float, terms: ExperimentTerms) -> float | None:
    """The same of the class id in a prediction id."""
    return float(class_id == label) if is_positive(label, terms) else None


def _unfit(terms: ExperimentTerms) -> Unfit | None:
    if terms.positive_class is None:
        return Unfit("positive_class", f"recall needs the class that it is of: {class_list(terms)}")
    if terms.positive_class not in terms.classes:
        return Unfit("positive_class", f"no class is called {terms.positive_class[:64]!r}: {class_list(terms)}")
    return None


RECALL = Metric(
    name="recall",
    quantity="recall",
    tasks=("classification",),
    higher_is_better=True,
    method="paired",
    range_of=lambda _terms: _RANGE,
    score=score,
    score_of_id=score_of_id,
    is_outcome=is_positive,
    of=lambda terms: terms.positive_class,
    reads=("positive_class",),
    unfit=_unfit,
    scale=100,
    unit=" points",
)
