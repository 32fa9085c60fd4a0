"""What a prediction looks like to a client, made from what was served."""

from __future__ import annotations

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from app.domain.prediction import DECIMALS, SMALL, Assignment, Exposure, readable
from app.services.predict import Served
from app.web.timestamps import rfc3339


class PredictionAnswer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One answer. A regression model has no `class_id`; one without probabilities has neither them nor a confidence."""

    prediction_id: str
    prediction: str | float
    class_id: int | UnsetType = UNSET
    confidence: float | UnsetType = UNSET
    probabilities: dict[str, float] | UnsetType = UNSET
    model_version: str
    assignment: Assignment
    latency_ms: float
    timestamp: str


class BatchItem(msgspec.Struct, frozen=True, gc=False):
    """One row's answer in a batch, with the same absences as a single one."""

    prediction_id: str
    prediction: str | float
    class_id: int | UnsetType = UNSET
    confidence: float | UnsetType = UNSET
    probabilities: dict[str, float] | UnsetType = UNSET


class BatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answers to a batch in its order; one version gave them all."""

    predictions: list[BatchItem]
    count: int
    model_version: str
    assignment: Assignment
    latency_ms: float
    timestamp: str


def answer_to_one(served: Served) -> PredictionAnswer:
    """The answer to a single row."""
    exposure = served.exposure
    outputs = exposure.outputs
    class_id: int | UnsetType = UNSET
    confidence: float | UnsetType = UNSET
    named: dict[str, float] | UnsetType = UNSET
    if outputs.class_ids is None:
        assert outputs.values is not None
        prediction: str | float = outputs.values.tolist()[0]
    else:
        classes = served.version.contract.classes
        index: int = outputs.class_ids.tolist()[0]
        class_id, prediction = index, classes[index]
        if outputs.probabilities is not None:
            probabilities = [readable(p) for p in outputs.probabilities.tolist()[0]]
            confidence = probabilities[index]
            named = dict(zip(classes, probabilities, strict=True))
    return PredictionAnswer(
        prediction_id=exposure.prediction_ids[0],
        prediction=prediction,
        class_id=class_id,
        confidence=confidence,
        probabilities=named,
        model_version=exposure.version,
        assignment=exposure.assignment,
        latency_ms=latency_ms(exposure),
        timestamp=rfc3339(exposure.served_at_us),
    )


def answer_to_batch(served: Served) -> BatchAnswer:
    """The answers to a batch."""
    exposure = served.exposure
    return BatchAnswer(
        predictions=_items(exposure, served.version.contract.classes),
        count=len(exposure),
        model_version=exposure.version,
        assignment=exposure.assignment,
        latency_ms=latency_ms(exposure),
        timestamp=rfc3339(exposure.served_at_us),
    )


def latency_ms(exposure: Exposure) -> float:
    """Milliseconds from the parsed request to the result, to the microsecond."""
    return int(exposure.latency_s * 1e6 + 0.5) / 1000


def _items(exposure: Exposure, classes: tuple[str, ...]) -> list[BatchItem]:
    ids, outputs = exposure.prediction_ids, exposure.outputs
    if outputs.class_ids is None:
        assert outputs.values is not None
        return [BatchItem(id_, value) for id_, value in zip(ids, outputs.values.tolist(), strict=True)]
    class_ids = outputs.class_ids.tolist()
    if outputs.probabilities is None:
        return [BatchItem(id_, classes[index], index) for id_, index in zip(ids, class_ids, strict=True)]
    exact = outputs.probabilities
    rows = np.where(exact > SMALL, exact.round(DECIMALS), exact).tolist()
    return [
        BatchItem(id_, classes[index], index, row[index], dict(zip(classes, row, strict=True)))
        for id_, index, row in zip(ids, class_ids, rows, strict=True)
    ]
