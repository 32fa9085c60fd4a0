"""An estimator's answers, and the figures of their quality."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np
from sklearn import metrics

from app.domain.contract import FeatureContract
from app.domain.prediction import Outputs
from app.inference.sklearn_runtime import SklearnRuntime
from app.training.task import Truth


class ClassFigures(msgspec.Struct, frozen=True):
    """The figures of predicted classes on `rows` rows.

    `precision`, `recall` and `f1` are macro means: unweighted over the classes, 0 for a class that is never
    predicted. `log_loss` in nats, probabilities clipped at the machine epsilon. `brier` after Brier (1950), the mean
    squared distance of the probabilities from the 0/1 truth over all classes (0 to 2), as in experiments. Manifests of
    earlier releases have, for two classes, that over one of them (0 to 1), and no `brier_form`. Both are None for a
    model without probabilities. `confusion_matrix` has a row for each true class and a column for each predicted one.
    """

    rows: int
    accuracy: float
    precision: float
    recall: float
    f1: float
    log_loss: float | None
    brier: float | None
    confusion_matrix: tuple[tuple[int, ...], ...]
    brier_form: Literal["all_classes"] = "all_classes"


class ValueFigures(msgspec.Struct, frozen=True):
    """The figures of predicted numbers on `rows` rows: `rmse` and `mae` in units of the target, `r2` at most 1.

    `r2` is None where the target does not vary.
    """

    rows: int
    rmse: float
    mae: float
    r2: float | None


Figures = ClassFigures | ValueFigures


def answers(estimator: Any, contract: FeatureContract, rows: np.ndarray) -> Outputs:
    """The estimator's answers to `rows`, as `RowParser` gives them, by the runtime that serves it."""
    return SklearnRuntime("model", estimator, contract).predict(rows)


def score(outputs: Outputs, truth: Truth) -> Figures:
    """The figures of `outputs`, the answers to the rows of `truth`."""
    if truth.class_ids is None:
        return _score_values(outputs, truth)
    assert outputs.class_ids is not None
    # All classes of the target, so that one that this side of the split lacks has its row in the matrix.
    every = np.arange(len(truth.classes))
    options: Any = {"labels": every, "average": "macro", "zero_division": 0}
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(truth.class_ids, outputs.class_ids, **options)
    matrix = metrics.confusion_matrix(truth.class_ids, outputs.class_ids, labels=every)
    log_loss, brier = _proper_scores(outputs.probabilities, truth.class_ids, every)
    return ClassFigures(
        rows=len(truth.class_ids),
        accuracy=float(np.mean(truth.class_ids == outputs.class_ids)),
        precision=float(precision),
        recall=float(recall),
        f1=float(f1),
        log_loss=log_loss,
        brier=brier,
        confusion_matrix=tuple(tuple(row) for row in matrix.tolist()),
    )


def errors_in(outputs: Outputs, truth: Truth) -> int | None:
    """The number of answers of a wrong class; None for a regression."""
    return None if truth.class_ids is None else int(np.sum(outputs.class_ids != truth.class_ids))


def _proper_scores(
    probabilities: np.ndarray | None, class_ids: np.ndarray, every: np.ndarray
) -> tuple[float | None, float | None]:
    if probabilities is None:
        return None, None
    # Rescaled, because an estimator's rows need not sum to 1; a row of zeros stays as it is.
    total = probabilities.sum(axis=1, keepdims=True)
    shares = probabilities / np.where(total > 0, total, 1.0)
    truth = class_ids[:, None] == every
    chosen = np.clip(shares[truth], np.finfo(np.float64).eps, 1.0)
    squares = np.mean(np.sum((shares - truth) ** 2, axis=1))
    return float(-np.mean(np.log(chosen))), float(squares)


def _score_values(outputs: Outputs, truth: Truth) -> ValueFigures:
    assert outputs.values is not None
    residuals = truth.labels - outputs.values
    spread = np.sum((truth.labels - truth.labels.mean()) ** 2)
    return ValueFigures(
        rows=len(residuals),
        rmse=float(np.sqrt(np.mean(residuals**2))),
        mae=float(np.mean(np.abs(residuals))),
        r2=float(1 - np.sum(residuals**2) / spread) if spread > 0 else None,
    )
