"""What an answer is worth once the truth is known, in the units of the metric."""

from __future__ import annotations

import numpy as np

from app.domain.experiment import ExperimentTerms
from app.monitor.experiment.events import Answer
from app.monitor.experiment.methods.table import declared_range
from app.stats import losses


def score(metric: str, answer: Answer, label: float) -> float | None:
    """The metric of one answer (1 or 0 for accuracy, else a loss); None where the answer does not tell it."""
    if metric == "accuracy":
        return None if answer.c is None else float(answer.c == label)
    if metric == "absolute_error":
        return None if answer.v is None else abs(answer.v - label)
    return _of_probabilities(metric, answer, label)


def score_of_id(metric: str, answer: float, label: float) -> float | None:
    """The same from the answer in a signed id alone: a class id or a number; None where that is not enough."""
    if metric == "accuracy":
        return float(answer == label)
    return abs(answer - label) if metric == "absolute_error" else None


def gain(terms: ExperimentTerms, baseline: float, challenger: float) -> float:
    """How much better the challenger's score is, as the method wants it: in widths of the declared range, if any."""
    if terms.metric == "accuracy":
        return challenger - baseline
    declared = declared_range(terms)
    if declared is None:
        return baseline - challenger
    return float(losses.gains(np.array([baseline]), np.array([challenger]), declared)[0])


def differ(metric: str, one: Answer, other: Answer) -> bool:
    """Whether the metric could tell two answers apart."""
    if metric in ("accuracy", "reward") and one.c is not None:
        return one.c != other.c
    return one != other


def _of_probabilities(metric: str, answer: Answer, label: float) -> float | None:
    if answer.p is None or label != int(label) or not 0 <= label < len(answer.p):
        return None
    probabilities, labels = np.array([answer.p]), np.array([int(label)])
    loss = losses.brier if metric == "brier" else losses.log_loss
    return float(loss(probabilities, labels)[0])
