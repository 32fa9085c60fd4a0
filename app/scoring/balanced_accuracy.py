"""Balanced accuracy: the mean over the classes of the share of each that is answered right."""

from __future__ import annotations

from app.domain.experiment import ExperimentTerms
from app.scoring.contract import Answer, Metric, Range, Unfit


def score(answer: Answer, label: float, terms: ExperimentTerms) -> float | None:
    """1/(K · share of the label's class) where the answer is that class, else 0; K is the number of classes.

    The shares are those of the baseline's reference. On traffic with these shares, the mean is the balanced accuracy.
    """
    return None if answer.c is None else score_of_id(answer.c, label, terms)


def score_of_id(class_id: float, label: float, terms: ExperimentTerms) -> float:
    """The same of the class id in a prediction id."""
    if class_id != label:
        return 0.0
    weights = _weights(terms)
    return weights[int(label)] if 0 <= label < len(weights) else 0.0


def _weights(terms: ExperimentTerms) -> tuple[float, ...]:
    """The value of a right answer by class id."""
    shares = terms.class_shares or ()
    # A class that the reference has no row of counts like the rarest one that it has: 1/0 is no weight.
    rarest = min((share for share in shares if share > 0), default=1.0)
    return tuple(1 / (len(shares) * max(share, rarest)) for share in shares)


def _range(terms: ExperimentTerms) -> Range:
    return Range(0.0, max(_weights(terms), default=1.0))


def _unfit(terms: ExperimentTerms) -> Unfit | None:
    if terms.class_shares is not None:
        return None
    return Unfit(
        "metric",
        f"the manifest of {terms.baseline} does not say how many rows of each class its reference has: publish the "
        "model again, or choose another metric",
    )


BALANCED_ACCURACY = Metric(
    name="balanced_accuracy",
    quantity="balanced accuracy",
    tasks=("classification",),
    higher_is_better=True,
    method="paired_numeric",
    range_of=_range,
    score=score,
    score_of_id=score_of_id,
    unfit=_unfit,
    scale=100,
    unit=" points",
)
