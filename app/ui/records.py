"""What the api answers, as far as the pages read it.

Read leniently: what is missing takes its default and what is new is passed over, so that a dashboard of one release
works with an api of another. None is what cannot be estimated yet.
"""

from __future__ import annotations

from typing import Any

import msgspec

from app.tables.model_columns import ModelColumn

Pair = tuple[float, float]
Cell = float | str | None


class ApiPrediction(msgspec.Struct, frozen=True, kw_only=True):
    """One answer; a regression has neither probabilities nor a confidence. `latency_ms` is the server's."""

    prediction_id: str
    prediction: str | float
    class_id: int | None = None
    confidence: float | None = None
    probabilities: dict[str, float] = {}
    model_version: str = ""
    assignment: str = ""
    latency_ms: float | None = None
    timestamp: str = ""


class ApiBatchPrediction(msgspec.Struct, frozen=True, kw_only=True):
    """The answers to a batch in its order, all by one version."""

    predictions: list[ApiPrediction]
    model_version: str
    assignment: str = ""
    latency_ms: float | None = None


class ApiItem(msgspec.Struct, frozen=True):
    """What became of one item of a list."""

    status: str = ""
    message: str = ""


class ApiReceipt(msgspec.Struct, frozen=True):
    """How many outcomes were new and how many were known already; of a file, what became of each row."""

    accepted: int = 0
    duplicates: int = 0
    items: tuple[ApiItem, ...] = ()


class ApiHistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One served prediction with what came of it, where that is known."""

    prediction_id: str
    timestamp: str
    features: dict[str, Any] = {}
    prediction: str | float = ""
    confidence: float | None = None
    model_version: str = ""
    assignment: str = ""
    actual: str | float | None = None
    reward: float | None = None


class ApiHistoryPage(msgspec.Struct, frozen=True):
    """Entries, newest first."""

    predictions: list[ApiHistoryEntry] = []
    next: str | None = None


class ApiContract(msgspec.Struct, frozen=True, kw_only=True):
    """The features in the model's order and what it answers with."""

    task: str = "classification"
    target: str = ""
    features: tuple[ModelColumn, ...] = ()
    classes: tuple[str, ...] = ()


class ApiParity(msgspec.Struct, frozen=True, kw_only=True):
    """How the serving runtime agrees with the original estimator."""

    rows: int | None = None
    flips: int | None = None
    largest_difference: float | None = None
    holds: bool | None = None
    reason: str | None = None


class ApiModel(msgspec.Struct, frozen=True, kw_only=True):
    """One version in the model registry. A retired one is not loaded; its past predictions can still be labelled."""

    version: str
    aliases: tuple[str, ...] = ()
    serving: bool = False
    routed: bool = False
    retired: bool = False
    candidate: bool = False
    created_at: str = ""
    variant: str | None = None
    estimator: str = ""
    runtime: str = ""
    sha256: str = ""
    contract: ApiContract = ApiContract()
    metrics: dict[str, dict[str, Any]] = {}
    parity: ApiParity = ApiParity()
    examples: tuple[tuple[Cell, ...], ...] = ()


class ApiModels(msgspec.Struct, frozen=True, kw_only=True):
    """The model registry; `refused` gives the reason for each version that may not serve."""

    models: tuple[ApiModel, ...] = ()
    aliases: dict[str, str] = {}
    refused: dict[str, str] = {}

    def reference(self) -> ApiModel | None:
        """The version whose contract requests are made from: the champion, else the first that is routed."""
        routed = [model for model in self.models if model.routed]
        champion = self.aliases.get("champion")
        return next((model for model in routed if model.version == champion), routed[0] if routed else None)

    def retired(self) -> list[str]:
        """The retired versions, in registry order."""
        return [model.version for model in self.models if model.retired]

    def answering(self) -> list[str]:
        """The versions that can be asked, in registry order."""
        return [model.version for model in self.models if model.serving]


class ApiRamp(msgspec.Struct, frozen=True, kw_only=True):
    """A version's share on its way up: `step` of `steps` (shares), counted from 1, is in force. `held` says why the
    next one has not come though its time has."""

    version: str
    steps: tuple[float, ...] = ()
    every_seconds: int = 0
    step: int = 1
    next_step_at: str | None = None
    held: str | None = None


class ApiConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """What is in force. `weights` are shares that sum to 1. `guardrail_slow` is empty from a release without it."""

    epoch: int = 0
    experiment_id: str = ""
    weights: dict[str, float] = {}
    policy: str = ""
    champion: str | None = None
    baseline: str | None = None
    auto_decide: str = ""
    drift_threshold: float | None = None
    name: str | None = None
    hypothesis: str | None = None
    metric: str = ""
    min_effect: float | None = None
    positive_class: str | None = None
    labels_exogenous: bool = False
    unit: str | None = None
    reward_window_s: float | None = None
    guardrail_slow: str = ""
    min_duration_s: float = 0.0
    ramp: ApiRamp | None = None


class ApiAuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One decision, or one change of the configuration."""

    seq: int
    at: str = ""
    actor: str = ""
    action: str = ""
    version: str | None = None
    note: str | None = None
    experiment_id: str | None = None
    changes: dict[str, Any] = {}
    evidence: Any = None


class ApiAudit(msgspec.Struct, frozen=True):
    """Decisions, newest first. `next` is null where there are no older ones."""

    entries: tuple[ApiAuditEntry, ...] = ()
    next: int | None = None


class ApiVersionHealth(msgspec.Struct, frozen=True):
    """One version in the memory of the worker that answered."""

    loaded: bool = False
    circuit_breaker: str | None = None
    error: str | None = None


class ApiMonitorHealth(msgspec.Struct, frozen=True):
    """Whether the monitor keeps up; `age_s` is how old its state is."""

    state: str = "absent"
    age_s: float | None = None


class ApiHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the service as one worker sees it."""

    status: str
    models: dict[str, ApiVersionHealth] = {}
    store: str = ""
    monitor: ApiMonitorHealth = ApiMonitorHealth()
    version: str = ""
    uptime_s: float | None = None
