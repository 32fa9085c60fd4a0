"""What the API answers about rows and parts of an experiment, and all experiments; lenient as `app.ui.records` is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from app.ui.experiment_records import ApiRecommendation


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


class ApiPart(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the labelled requests: a class, a value, or a range of a feature.

    `n` have a value of both versions; means, improvement and the counts of right and wrong are of these.
    """

    level: str
    kind: str = "value"
    requests: int | None = None
    labelled: int = 0
    n: int = 0
    baseline_mean: float | None = None
    challenger_mean: float | None = None
    improvement: float | None = None
    interval: tuple[float, float] | None = None
    both_right: int | None = None
    only_baseline: int | None = None
    only_challenger: int | None = None
    both_wrong: int | None = None


class ApiVersionClasses(msgspec.Struct, frozen=True, kw_only=True):
    """A version by class: `confusion` has true classes as rows; `missing` are rows that it failed to answer."""

    version: str
    confusion: tuple[tuple[int, ...], ...] = ()
    missing: tuple[int, ...] = ()
    precision: tuple[float | None, ...] = ()
    recall: tuple[float | None, ...] = ()
    f1: tuple[float | None, ...] = ()


class ApiBreakdown(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison in parts. `features` can be asked for, `refused` cannot; `versions` only where it is by class."""

    baseline: str = ""
    challenger: str = ""
    by: str = ""
    metric: str = ""
    higher_is_better: bool = True
    alpha: float = 0.05
    note: str = ""
    features: tuple[str, ...] = ()
    refused: Mapping[str, str] = msgspec.field(default_factory=dict)
    rows: tuple[ApiPart, ...] = ()
    all: ApiPart = ApiPart(level="all")
    classes: tuple[str, ...] | None = None
    versions: tuple[ApiVersionClasses, ...] | None = None


class ApiExperimentEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One experiment in the list; `ended_by` is what ended it."""

    id: str
    name: str | None = None
    started: str = ""
    ended: str | None = None
    ended_by: str | None = None
    baseline: str | None = None
    versions: tuple[str, ...] = ()
    recommendation: ApiRecommendation | None = None


class ApiExperiments(msgspec.Struct, frozen=True):
    """All experiments, newest first."""

    experiments: tuple[ApiExperimentEntry, ...] = ()
