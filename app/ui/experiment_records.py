"""What the api answers about the experiment and about drift; read as leniently as `app.ui.records`."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

Pair = tuple[float, float]


class ApiLatency(msgspec.Struct, frozen=True):
    """Quantiles of the server-side latency in ms."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class ApiVariant(msgspec.Struct, frozen=True, kw_only=True):
    """One version in the experiment; `weight` is its planned share. Releases before units have no `…_all`.

    `answerable_share`: of the requests, those that have every column that it reads; None where that is not known.
    """

    version: str
    weight: float = 0.0
    requests: int = 0
    labelled: int = 0
    mean: float | None = None
    interval: Pair | None = None
    mean_all: float | None = None
    interval_all: Pair | None = None
    rewards: int = 0
    reward_mean: float | None = None
    errors: int = 0
    latency_ms: ApiLatency = ApiLatency()
    answerable_share: float | None = None


class ApiComparison(msgspec.Struct, frozen=True, kw_only=True):
    """A challenger against the baseline, after `n` outcomes. `units` is None from a release without units."""

    challenger: str
    method: str = ""
    n: int = 0
    unjoined: int = 0
    difference: float | None = None
    interval: Pair | None = None
    unit: str | None = None
    units: int | None = None
    distinct_rows: int | None = None
    both_right: int | None = None
    only_baseline: int | None = None
    only_challenger: int | None = None
    both_wrong: int | None = None
    missing: int | None = None
    unlabelled_disagreements: int | None = None
    warnings: tuple[str, ...] = ()
    e_value: float | None = None
    log_e: float | None = None
    p_value: float | None = None
    probability_better: float | None = None
    verdict: str = "undecided"
    asymptotic: bool = False
    worst_case: Pair | None = None
    remaining: tuple[float | None, float | None] | None = None
    wins: int | None = None
    losses: int | None = None
    assumptions: tuple[str, ...] = ()
    adjusted_log_e: float | None = None

    @property
    def present_log_e(self) -> float | None:
        """The evidence of this moment that actions need: adjusted for all challengers where the api says it."""
        return self.log_e if self.adjusted_log_e is None else self.adjusted_log_e


class ApiCheck(msgspec.Struct, frozen=True, kw_only=True):
    """A check or a guardrail; `ok` is None while unknown."""

    name: str
    ok: bool | None = None
    version: str | None = None
    p_value: float | None = None
    detail: str | None = None


class ApiRecommendation(msgspec.Struct, frozen=True):
    """What to do and why, in a sentence."""

    action: str = "continue"
    version: str | None = None
    reason: str = ""


class ApiMetricVariant(msgspec.Struct, frozen=True, kw_only=True):
    """One version under a secondary metric; `mean_all` is over all labelled rows on which its answer is known."""

    version: str
    mean: float | None = None
    mean_all: float | None = None


class ApiMetricComparison(msgspec.Struct, frozen=True, kw_only=True):
    """A challenger under a secondary metric; `improvement` is positive where it is better than the baseline."""

    challenger: str
    n: int = 0
    units: int = 0
    improvement: float | None = None
    interval: Pair | None = None
    asymptotic: bool = False
    warnings: tuple[str, ...] = ()


class ApiMetric(msgspec.Struct, frozen=True, kw_only=True):
    """A secondary metric, never decided on. `processed`: the share of the log that it has counted."""

    metric: str
    described: str = ""
    higher_is_better: bool = True
    processed: float = 1.0
    error: str | None = None
    variants: tuple[ApiMetricVariant, ...] = ()
    comparisons: tuple[ApiMetricComparison, ...] = ()


class ApiLag(msgspec.Struct, frozen=True):
    """How many rows the monitor is behind, and for how long the oldest has waited."""

    rows: int = 0
    seconds: float = 0.0


class ApiExperiment(msgspec.Struct, frozen=True, kw_only=True):
    """The whole report; `excluded` has the reason for each version that takes no part, `metrics` the secondary ones."""

    id: str
    name: str | None = None
    hypothesis: str | None = None
    started: str = ""
    ended: str | None = None
    state: str = "running"
    metric: str = ""
    alpha: float = 0.05
    baseline: str | None = None
    variants: tuple[ApiVariant, ...] = ()
    comparisons: tuple[ApiComparison, ...] = ()
    checks: tuple[ApiCheck, ...] = ()
    guardrails: tuple[ApiCheck, ...] = ()
    recommendation: ApiRecommendation = ApiRecommendation()
    excluded: Mapping[str, str] = msgspec.field(default_factory=dict)
    metrics: tuple[ApiMetric, ...] = ()
    computed_at: str | None = None
    lag: ApiLag | None = None


class ApiPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison after its first `n` outcomes."""

    challenger: str
    n: int
    at: str = ""
    difference: float | None = None
    interval: Pair | None = None
    log_e: float | None = None


class ApiSplit(msgspec.Struct, frozen=True, kw_only=True):
    """The shares of the traffic from `at` on."""

    epoch: int = 0
    at: str = ""
    source: str = ""
    weights: Mapping[str, float] = msgspec.field(default_factory=dict)


class ApiTimeline(msgspec.Struct, frozen=True):
    """The timeline of each comparison of one experiment; its id is empty from a release that does not say it.

    `splits` are the shares over time, empty from a release that does not say them.
    """

    experiment_id: str = ""
    points: tuple[ApiPoint, ...] = ()
    splits: tuple[ApiSplit, ...] = ()


class ApiFalseAlarms(msgspec.Struct, frozen=True):
    """On clean traffic the chance of an alarm within so many requests is at most this."""

    requests: int = 0
    at_most: float = 0.0


class ApiStream(msgspec.Struct, frozen=True, kw_only=True):
    """One feature (or one column of the answers), live against training. `bins` are edges or categories."""

    name: str
    score: float | None = None
    evidence: float | None = None
    kind: str = "numeric"
    bins: tuple[float | str | None, ...] = ()
    reference: tuple[float, ...] = ()
    live: tuple[float, ...] | None = None
    missing: float | None = None
    unseen: float | None = None
    out_of_range: float | None = None
    since: str | None = None


class ApiJoint(msgspec.Struct, frozen=True, kw_only=True):
    """What several features say together, with its meaning in a sentence."""

    name: str
    evidence: float | None = None
    explanation: str = ""
    score: float | None = None


class ApiAlarmStream(msgspec.Struct, frozen=True, kw_only=True):
    """A stream that raised the drift alarm, with its evidence at that moment."""

    name: str = ""
    kind: str = ""
    evidence: float | None = None
    requests: int = 0
    at: str | None = None


class ApiCrowds(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of large requests and returning users: how many wait, were left out, or repeat a case that was sent before.

    `heaviest_share` of the last requests are the most active named user's.
    """

    waiting: int = 0
    skipped: int = 0
    repeated: int = 0
    unlearnt: int = 0
    heaviest_share: float = 0.0


class ApiDrift(msgspec.Struct, frozen=True, kw_only=True):
    """How the traffic compares with the data that `version` was made from; evidence 1 is the alarm."""

    version: str = ""
    score: float | None = None
    evidence: float | None = None
    alarm: bool = False
    alarms: int = 0
    since: str | None = None
    acknowledged: str | None = None
    requests: int = 0
    window: int = 0
    reference_rows: int = 0
    least_detectable_shift_sd: float | None = None
    least_detectable_outlier_share: float | None = None
    notes: tuple[str, ...] = ()
    false_alarm_probability: ApiFalseAlarms = ApiFalseAlarms()
    features: tuple[ApiStream, ...] = ()
    joint: tuple[ApiJoint, ...] = ()
    outputs: tuple[ApiStream, ...] = ()
    alarm_streams: tuple[ApiAlarmStream, ...] = ()
    assumption: str | None = None
    crowds: ApiCrowds = ApiCrowds()
    note: str | None = None


class ApiDriftPoint(msgspec.Struct, frozen=True, kw_only=True):
    """Drift after the first `requests` requests, the last of them served at `timestamp`."""

    requests: int
    timestamp: str = ""
    score: float | None = None
    evidence: float | None = None
    alarm: bool = False


class ApiDriftTimeline(msgspec.Struct, frozen=True, kw_only=True):
    """The drift timeline, oldest first; at `alarm_evidence` an alarm is raised."""

    points: tuple[ApiDriftPoint, ...] = ()
    alarm_evidence: float = 1.0
    false_alarm_probability: ApiFalseAlarms = ApiFalseAlarms()
    note: str | None = None
