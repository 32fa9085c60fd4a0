"""The active configuration, the experiment it belongs to, the split, and the ramp that changes it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import msgspec

from app.errors import InvalidRequest

# Above this the sum of many weights could overflow a float.
_SUM_MAY_OVERFLOW = 1e290
# Seven days: the shortest time that holds every day of a week.
MIN_DURATION_S = 7 * 86_400.0


def normalised(weights: Mapping[str, float]) -> dict[str, float]:
    """The weights divided by their sum, in the given order.

    Raises `InvalidRequest` (its `field` names the version) unless every weight is a finite number ≥ 0 and one is
    above 0.
    """
    for version, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            raise InvalidRequest(f"the weight of {version!r} must be a number", field=version)
        if not math.isfinite(weight) or weight < 0:
            raise InvalidRequest(f"the weight of {version!r} must be finite and not negative", field=version)
    largest = max(weights.values(), default=0)
    if largest <= 0:
        raise InvalidRequest("at least one weight must be above zero", field="weights")
    if largest > _SUM_MAY_OVERFLOW:
        weights = {version: weight / largest for version, weight in weights.items()}
    # fsum, so that the weights do not depend on the order in which versions are given.
    total = math.fsum(weights.values())
    return {version: weight / total for version, weight in weights.items()}


class Ramp(msgspec.Struct, frozen=True, kw_only=True):
    """A running ramp: a version's share of the traffic is raised step by step while no harm is found.

    `steps` are shares in (0, 1], strictly increasing; the one numbered `step`, from 0, is in force since
    `step_since_us` (µs since 1970). The config revisions of the step are those above `after_epoch`. `before` is the
    split that a crossed guardrail restores. `held` is the reason why the next step is overdue, None if it is not.
    """

    version: str
    steps: tuple[float, ...]
    every_seconds: int
    step: int = 0
    step_since_us: int = 0
    after_epoch: int = 0
    before: Mapping[str, float] = msgspec.field(default_factory=dict)
    held: str | None = None

    @property
    def next_step_at_us(self) -> int:
        """The earliest time of the next step, or of the ramp's end on the last one (µs since 1970)."""
        return self.step_since_us + self.every_seconds * 1_000_000

    @property
    def is_last(self) -> bool:
        """Whether no step follows."""
        return self.step + 1 >= len(self.steps)


class CovariateColumn(msgspec.Struct, frozen=True, array_like=True):
    """One column that rewards may be predicted from, made of the feature at position `feature` of a logged row.

    A number is (value − mean) / scale. Where `level` is set, the column is 1 for that category and 0 for any other.
    """

    feature: int
    mean: float = 0.0
    scale: float = 1.0
    level: str | float | None = None


class CaseFacts(msgspec.Struct, frozen=True):
    """What the reference data say of rows: facts that an experiment's units and covariates rest on.

    `repeated_share`: the share of the reference's rows that stand in it more than once, over the columns as they are
    logged; None for a version whose manifest does not say. `covariates`: at most `MOST_COVARIATES` columns.
    """

    repeated_share: float | None = None
    covariates: tuple[CovariateColumn, ...] = ()

    @property
    def rows_are_cases(self) -> bool:
        """Whether a row that comes again can only be the same case again."""
        return self.repeated_share is not None and self.repeated_share <= MOST_REPEATED


MOST_COVARIATES = 64
MOST_REPEATED = 0.02
UNITS = ("auto", "user", "key", "row", "request")
# Ten years: the ends of windows are µs since 1970 in a signed 64-bit number.
LONGEST_WINDOW_S = 3650 * 86_400.0
GUARDRAIL_SLOW = "1.5x+1ms"
_SLOW = re.compile(r"(?:(\d{1,9}(?:\.\d{1,9})?)x)?(?:\+(\d{1,9}(?:\.\d{1,9})?)(us|ms|s))?")
_MICROSECONDS = {"us": 1.0, "ms": 1e3, "s": 1e6}


class SlowLimit(msgspec.Struct, frozen=True):
    """An answer is slow above `factor` times the baseline's 95th percentile of latency plus `allowance_us` (µs)."""

    factor: float
    allowance_us: float

    def above(self, p95_us: float) -> float:
        """The longest latency (µs) that is not slow beside a baseline with this 95th percentile (µs)."""
        return self.factor * p95_us + self.allowance_us


def slow_limit(text: str) -> SlowLimit | None:
    """What `GUARDRAIL_SLOW` says: `1.5x+1ms`, `2x` or `+5ms` (units us, ms, s); None for `off`.

    Raises `InvalidRequest` for other text, and for a factor below 1.
    """
    written = text.strip().lower()
    if written == "off":
        return None
    match = _SLOW.fullmatch(written)
    if match is None or not written:
        raise InvalidRequest(
            f"{text[:64]!r} is not a factor with x, an allowance with us, ms or s, or both, such as 1.5x+1ms, "
            "and not off",
            field="guardrail_slow",
        )
    factor = float(match[1] or 1)
    if factor < 1:
        raise InvalidRequest(
            f"{text[:64]!r}: the factor must be at least 1, or the baseline itself would be slow",
            field="guardrail_slow",
        )
    return SlowLimit(factor, float(match[2] or 0) * _MICROSECONDS.get(match[3], 0.0))


class ExperimentTerms(msgspec.Struct, frozen=True, kw_only=True):
    """The metric of an experiment, its error rate `alpha` and its margins; fixed when it begins.

    `min_effect` and `equivalence_margin` are in the units of the metric. `unit` is one of `UNITS`: whose first outcome
    votes; None in experiments begun by releases without units, which go on as they began (each request votes, and a
    sticky user once). `reward_window_s`: seconds after an answer in which its reward counts; without one a reward
    counts when it is received. `guardrail_slow` says which answers are slow, as `GUARDRAIL_SLOW` in the environment
    does. `cost_matrix` has a cost by true and by predicted class, and 0 elsewhere. `classes` are the names by class id,
    and `class_shares` their shares in the reference of the baseline when the experiment began: nobody sets these two.
    They are empty and None for a regression, and in experiments begun by releases that did not know them. `name` and
    `hypothesis` are for people: the next experiment has neither unless somebody gives them.
    """

    metric: str
    name: str | None = None
    hypothesis: str | None = None
    alpha: float = 0.05
    baseline: str | None = None
    equivalence_margin: float | None = None
    min_effect: float | None = None
    reward_range: tuple[float, float] | None = (0.0, 1.0)
    reward_triggered: bool = False
    error_range: tuple[float, float] | None = None
    labels_exogenous: bool = False
    unit: str | None = None
    reward_window_s: float | None = None
    guardrail_slow: str = GUARDRAIL_SLOW
    positive_class: str | None = None
    cost_matrix: Mapping[str, Mapping[str, float]] | None = None
    classes: tuple[str, ...] = ()
    class_shares: tuple[float, ...] | None = None


class SecondaryMetric(msgspec.Struct, frozen=True, kw_only=True):
    """A metric that is shown beside the one that decides, with what its values depend on, fixed when it was added.

    The fields are those of `ExperimentTerms`; nobody sets `classes` and `class_shares`.
    """

    metric: str
    error_range: tuple[float, float] | None = None
    positive_class: str | None = None
    cost_matrix: Mapping[str, Mapping[str, float]] | None = None
    classes: tuple[str, ...] = ()
    class_shares: tuple[float, ...] | None = None

    def terms(self, primary: ExperimentTerms) -> ExperimentTerms:
        """The terms of an experiment with these terms, if this metric decided it."""
        own: ExperimentTerms = msgspec.structs.replace(primary, **msgspec.structs.asdict(self))
        return own


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """One revision of the configuration: a row of the store's table `config`, never changed.

    `epoch` is the number of the revision; prediction ids carry it, and it gives the propensity of each version. 0
    means that the store could not be read at start: such answers do not enter the experiment. `weights` are
    normalised, over the versions loaded then; `asked` is the split that was wanted, of which `weights` is the part that
    could be served (set and read at start only). `environment` has the settings of the server's last start, so that
    the next start can tell which were changed since. `ordinals` are the versions' numbers in prediction ids.
    `former_champions`, oldest first, are what roll-backs return to. `ramp` is the running one. `min_duration_s`
    is how long an experiment runs, by the log's time, before a promotion is automatic. `cases` are the facts of the
    champion's reference at the last start or reload; an experiment goes by those of its first configuration.
    `secondary` are the metrics that are shown and decide nothing; they may change while an experiment runs.
    """

    epoch: int
    experiment_id: str
    weights: Mapping[str, float]
    asked: Mapping[str, float] = msgspec.field(default_factory=dict)
    policy: str = "weighted"
    ramp: Ramp | None = None
    terms: ExperimentTerms
    auto_decide: str = "rollback"
    drift_threshold: float = 0.1
    min_duration_s: float = MIN_DURATION_S
    cases: CaseFacts = CaseFacts()
    champion: str | None = None
    former_champions: tuple[str, ...] = ()
    ordinals: Mapping[str, int] = msgspec.field(default_factory=dict)
    created_at_us: int = 0
    source: str = "environment"
    environment: Mapping[str, object] = msgspec.field(default_factory=dict)
    secondary: tuple[SecondaryMetric, ...] = ()

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the secondary metrics."""
        return tuple(each.metric for each in self.secondary)
