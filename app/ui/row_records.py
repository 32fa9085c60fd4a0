"""What the API answers about single rows of an experiment; read as leniently as `app.ui.records`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class ApiVersionAnswer(msgspec.Struct, frozen=True):
    """One version's answer to a row; a regression has neither a confidence nor probabilities."""

    prediction: str | float
    confidence: float | None = None
    probabilities: Mapping[str, float] = msgspec.field(default_factory=dict)


class ApiDisagreement(msgspec.Struct, frozen=True, kw_only=True):
    """A row that two versions answered differently. `won` says who was right; `came` how often such a row came.

    A version that gave no answer is not in `answers`.
    """

    prediction_id: str
    id: str | None = None
    timestamp: str = ""
    won: str = ""
    actual: str | float | None = None
    features: Mapping[str, Any] = msgspec.field(default_factory=dict)
    answers: Mapping[str, ApiVersionAnswer] = msgspec.field(default_factory=dict)
    model_version: str = ""
    came: int | None = None


class ApiDisagreements(msgspec.Struct, frozen=True, kw_only=True):
    """Disagreements, newest first. `margin` is how far apart two numbers must be; None for classes."""

    baseline: str = ""
    challenger: str = ""
    margin: float | None = None
    disagreements: tuple[ApiDisagreement, ...] = ()
    next: str | None = None
