"""The report of an experiment: the records behind `GET /experiment`, made by the monitor and served by the api.

Their fields are those of the HTTP contract. None means that a quantity cannot be estimated yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

# The literals are part of the HTTP contract: clients and stored reports have them.
Interval = tuple[float, float]
Verdict = Literal["better", "worse", "equivalent", "undecided"]
Action = Literal["continue", "promote", "keep", "rollback", "investigate"]
ExperimentState = Literal["running", "ended"]


class LatencyMs(msgspec.Struct, frozen=True):
    """Quantiles of the server-side latency of a version's answers, in ms."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class VariantReport(msgspec.Struct, frozen=True, kw_only=True):
    """One version in the experiment. `mean` and `interval` are over its labelled (or rewarded) answers, as served.

    `mean_all` is over all labelled rows on which its answer is known, served or in shadow; a row on which it failed
    counts as wrong, or as the worst of the range. `interval_all` is that of the mean over units, each with its vote.

    `answerable_share`: the share of the requests that have every column that the version reads, so that it could take
    part; None before the first request. `exposures` were reported by `POST /exposures`; `exposures_not_counted` beside
    them are of another version than the user's at that moment. `comparable` of the outcomes behind `mean` are of
    requests in which every version with traffic could take part, and `comparable_mean` is theirs; None in reports of
    earlier releases.
    """

    version: str
    weight: float
    requests: int = 0
    exposures: int = 0
    exposures_not_counted: int = 0
    users: int = 0
    labelled: int = 0
    mean: float | None = None
    interval: Interval | None = None
    mean_all: float | None = None
    interval_all: Interval | None = None
    rewards: int = 0
    reward_mean: float | None = None
    errors: int = 0
    latency_ms: LatencyMs = LatencyMs()
    answerable_share: float | None = None
    comparable: int | None = None
    comparable_mean: float | None = None


class ComparisonReport(msgspec.Struct, frozen=True, kw_only=True):
    """A challenger against the baseline.

    `n` counts the outcomes that entered, by their first values, `unjoined` the labels for which the answer of one of
    the two is not known, or the rewards whose row is not in the log.
    `log_e` and `interval` are of the present state, `p_value` and `verdict` of the strongest one so far. `e_value` is
    None if it would overflow. `assumptions` lists the reasons that would prevent an automatic promotion, empty if
    there are none. An action needs `adjusted_log_e`, which is `log_e` adjusted for all challengers, at ln(1/α).
    `gate_log_e`: the adjusted ln E⁺ for the challenger with each unlabelled disagreement counted against it; None for
    methods without wins and losses. `remaining` is an 80 % interval of the votes until a decision.

    `improvement` is positive where the challenger is better, whatever the metric; it is also called `difference`. Of
    `n` outcomes, those of `units` voted, each `unit` (user, key, row or request) once. `distinct_rows` is the number
    of different rows among the votes on which one version was alone right. `both_right` to `both_wrong` count labelled
    rows. `missing`: rows that the challenger was asked and failed to answer. `unlabelled_disagreements`: units whose
    first disagreement has no label. `warnings` are sentences on what limits the comparison, and block nothing.
    """

    challenger: str
    method: str
    n: int = 0
    unjoined: int = 0
    difference: float | None = None
    improvement: float | None = None
    interval: Interval | None = None
    unit: str = "request"
    units: int = 0
    distinct_rows: int | None = None
    both_right: int | None = None
    only_baseline: int | None = None
    only_challenger: int | None = None
    both_wrong: int | None = None
    missing: int = 0
    unlabelled_disagreements: int | None = None
    warnings: tuple[str, ...] = ()
    e_value: float | None = None
    log_e: float | None = None
    p_value: float | None = None
    probability_better: float | None = None
    verdict: Verdict = "undecided"
    asymptotic: bool = False
    worst_case: Interval | None = None
    remaining: tuple[float | None, float | None] | None = None
    wins: int | None = None
    losses: int | None = None
    assumptions: tuple[str, ...] = ()
    adjusted_log_e: float | None = None
    gate_log_e: float | None = None


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """A check of the experiment's health, or a guardrail; `ok` is None while it cannot be decided.

    `version` is the one that a guardrail watches; None if the check is about the whole experiment.
    """

    name: str
    ok: bool | None
    version: str | None = None
    p_value: float | None = None
    detail: str | None = None


class Recommendation(msgspec.Struct, frozen=True):
    """A recommended action, its version, and one sentence with the reason."""

    action: Action
    version: str | None
    reason: str


class MetricVariant(msgspec.Struct, frozen=True, kw_only=True):
    """One version under a secondary metric. `n` outcomes are behind `mean`, the one of the answers that it served.

    `mean_all` and `interval_all` are over all labelled rows on which its answer is known.
    """

    version: str
    n: int = 0
    mean: float | None = None
    interval: Interval | None = None
    mean_all: float | None = None
    interval_all: Interval | None = None


class MetricComparison(msgspec.Struct, frozen=True, kw_only=True):
    """A challenger against the baseline under a secondary metric; the fields are those of `ComparisonReport`."""

    challenger: str
    method: str
    n: int = 0
    unit: str = "request"
    units: int = 0
    improvement: float | None = None
    interval: Interval | None = None
    asymptotic: bool = False
    warnings: tuple[str, ...] = ()


class MetricReport(msgspec.Struct, frozen=True, kw_only=True):
    """A secondary metric of an experiment: shown, never decided on.

    `described` is what sentences call it, such as `recall of yes`. `processed`: the share of the log that is counted,
    below 1 while the rows from before it was added are counted. `error`: why it cannot be computed at present.
    """

    metric: str
    described: str
    higher_is_better: bool
    note: str = "not decided on"
    processed: float = 0.0
    error: str | None = None
    variants: tuple[MetricVariant, ...] = ()
    comparisons: tuple[MetricComparison, ...] = ()


class MonitorLag(msgspec.Struct, frozen=True):
    """How far the monitor is behind: rows of the log that it has not processed, and how long the oldest has waited."""

    rows: int
    seconds: float


class ExperimentReport(msgspec.Struct, frozen=True, kw_only=True):
    """The report of one experiment. Times are ISO 8601 in UTC; `computed_at` is when the monitor made it.

    `excluded` has the reason for each version that takes no part. `metrics` are the secondary ones.
    `lag` is that of the monitor; None where the experiment has ended or the report is not from the API. `name` and
    `hypothesis` are what somebody gave when it began.
    """

    id: str
    name: str | None = None
    hypothesis: str | None = None
    started: str
    ended: str | None = None
    state: ExperimentState = "running"
    metric: str
    alpha: float
    baseline: str | None
    variants: tuple[VariantReport, ...] = ()
    comparisons: tuple[ComparisonReport, ...] = ()
    checks: tuple[CheckReport, ...] = ()
    guardrails: tuple[CheckReport, ...] = ()
    recommendation: Recommendation
    excluded: Mapping[str, str] = msgspec.field(default_factory=dict)
    corrections: int = 0
    corrections_since: int = 0
    computed_at: str | None = None
    metrics: tuple[MetricReport, ...] = ()
    lag: MonitorLag | None = None


class TimelinePoint(msgspec.Struct, frozen=True, kw_only=True):
    """One point of a comparison's timeline: its figures after `n` votes. `log_e` is not adjusted."""

    challenger: str
    n: int
    at: str
    difference: float | None
    interval: Interval | None
    log_e: float | None


class SplitRevision(msgspec.Struct, frozen=True, kw_only=True):
    """A config revision with another split than the one before it: shares that sum to 1, in force from `at`.

    `source` is what made it: a decision, a patch, a ramp, the registry or the environment.
    """

    epoch: int
    at: str
    source: str
    weights: Mapping[str, float]
