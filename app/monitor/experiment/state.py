"""What the monitor keeps of an experiment: its plan, and a few numbers for each version, pair and config revision.

The records are changed in place while a batch of events is applied, and then written as JSON, which keeps floats
exactly. Their size does not grow with the number of events.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec
from msgspec import UNSET, UnsetType

from app.domain.experiment import CaseFacts, Configuration, ExperimentTerms
from app.monitor.experiment.methods.table import MethodState
from app.scoring.contract import Metric
from app.scoring.table import metric_of
from app.stats.agreement import AgreementState
from app.stats.all_traffic import Coverage
from app.stats.checks import RatioState
from app.stats.distinct_rows import DistinctRows
from app.stats.estimates import NotEstimable
from app.stats.evidence import Conclusions
from app.stats.guardrails import GuardrailState, SlowThreshold
from app.stats.strongest import Strongest


class ExperimentPlan(msgspec.Struct, frozen=True):
    """What an experiment compares, fixed by its first configuration: terms, versions in order, and the baseline.

    `baseline` is empty only where there is no version. `cases` are facts about the rows of the reference.
    """

    experiment_id: str
    terms: ExperimentTerms
    versions: tuple[str, ...]
    baseline: str
    cases: CaseFacts = CaseFacts()

    @property
    def metric(self) -> Metric:
        """The metric that the terms name."""
        return metric_of(self.terms)

    @property
    def challengers(self) -> tuple[str, ...]:
        """All versions but the baseline."""
        return tuple(version for version in self.versions if version != self.baseline)

    @property
    def rewards_wait(self) -> bool:
        """Whether a reward enters when its prediction's row is in the log too, for the row says whose vote it is."""
        return self.terms.unit is not None or self.metric.is_triggered(self.terms)

    @property
    def window_us(self) -> int | None:
        """For how many µs after an answer its reward counts; None where rewards count when they are received."""
        seconds = self.terms.reward_window_s
        return None if seconds is None or not self.metric.uses_rewards else round(seconds * 1e6)

    @property
    def interval_alpha(self) -> float:
        """The error rate of each interval that is shown, and of conclusions from it: α/K for K challengers.

        By the union bound, all K intervals then hold together at 1 − α. Verdicts of a winner go through closed testing.
        """
        return self.terms.alpha / max(1, len(self.challengers))

    def parts(self, lacking: Collection[str], challenger: str) -> bool:
        """Whether a request keeps the challenger and the baseline apart: one of them is in `lacking`."""
        return challenger in lacking or self.baseline in lacking

    def share(self, weights: Mapping[str, float], challenger: str) -> float:
        """The challenger's share of the traffic of the pair; 0 where the pair has none.

        Given that one of the two was drawn, it was the challenger with this probability; so each pair may be compared
        on its own, however many versions share the traffic.
        """
        own, base = weights.get(challenger, 0.0), weights.get(self.baseline, 0.0)
        return own / (own + base) if own + base > 0 else 0.0


def plan_of(first: Configuration) -> ExperimentPlan:
    """The plan of an experiment from its first configuration."""
    versions = tuple(first.weights)
    named = first.terms.baseline
    # The first one where none is named, or the named one was not loaded when the experiment began.
    baseline = named if named in versions else next(iter(versions), "")
    return ExperimentPlan(first.experiment_id, first.terms, versions, baseline or "", first.cases)


class VersionTally(msgspec.Struct):
    """One version. A batch is one request; labels and rewards count row by row.

    `scored` of the labels have a known value of the metric, and these values sum to `total`, one outside the declared
    range as the nearer end. `known` and `known_total` are the same over all labelled rows that the version was asked,
    served or in shadow; `voted` and `voted_total` over those of them that are the vote of a unit. `errors`: requests
    for which the version was chosen and another answered. `latency`: requests by bucket (`bucket_of`). `forced_*`:
    requests with a forced version and their outcomes, which never enter the experiment. `users`: sticky users first
    exposed to this version. `apart` of the `scored` (with a reward window, of the `voted`) are of requests in which a
    version with traffic took no part, and sum to `apart_total`.
    """

    requests: int = 0
    users: int = 0
    labelled: int = 0
    scored: int = 0
    total: float = 0.0
    known: int = 0
    known_total: float = 0.0
    voted: int = 0
    voted_total: float = 0.0
    rewards: int = 0
    reward_total: float = 0.0
    errors: int = 0
    latency: dict[int, int] = msgspec.field(default_factory=dict)
    forced_requests: int = 0
    forced_labelled: int = 0
    forced_rewards: int = 0
    apart: int = 0
    apart_total: float = 0.0

    def replace_score(self, before: float | None, after: float | None) -> None:
        """Count a corrected outcome's value in the place of the one that was counted."""
        if before is not None:
            self.scored -= 1
            self.total -= before
        self.add_score(after)

    def add_score(self, value: float | None) -> None:
        """Count an outcome's value of the metric (`score_of_outcome`); None, which is not known, changes nothing."""
        if value is not None:
            self.scored += 1
            self.total += value


class Cells(msgspec.Struct):
    """Labelled rows of a pair by who was right."""

    both: int = 0
    baseline: int = 0
    challenger: int = 0
    neither: int = 0


class Gate(msgspec.Struct):
    """The first disagreement of each unit, in log order: those without a label, and those that were won or lost."""

    open: int = 0
    wins: int = 0
    losses: int = 0


class FirstRows(msgspec.Struct):
    """The first row of each unit that both versions were asked: how many differ, and what is known of them.

    Of those that differ, `labelled` have a label, with `wins` and `losses`; of the others, `agreeing_labelled` have.
    """

    both: int = 0
    differ: int = 0
    labelled: int = 0
    wins: int = 0
    losses: int = 0
    agreeing_labelled: int = 0

    def coverage(self) -> Coverage:
        """The counts as `app.stats.all_traffic` takes them."""
        return Coverage(
            both=self.both,
            differ=self.differ,
            labelled=self.labelled,
            wins=self.wins,
            losses=self.losses,
            agreeing_labelled=self.agreeing_labelled,
        )


class PairState(msgspec.Struct, kw_only=True):
    """A challenger against the baseline.

    Rows: `both` were asked of both versions, `differ` of them were answered differently (or by one of the two alone),
    `differ_labelled` of which have a label; `asked` were asked of the challenger, and it failed on `missing` of them.
    `outcomes`: labelled rows or rewards that could enter; each unit votes once, so `method.n` may be fewer. Both are of
    the first values: corrections have made `recounted` more of them, or fewer, since. `kinds`: votes by the kind of
    their unit. `firsts`: the first row of each unit that both were asked. `skipped`: outcomes of a split that gave one
    of the two no traffic. `adjusted`: the strongest evidence, adjusted for all challengers. `next_look`: the number of
    votes at which the interval is computed next. `failed_in_request`: the request of the newest row has contributed its
    one error event. `improvements`: the sum of the challenger's improvements over the present outcomes, each as often
    as it came, in units of the metric; `outside` of these rows have a value outside the declared range. `apart`:
    requests in which one of the two could take no part.
    """

    method: MethodState
    both: int = 0
    differ: int = 0
    differ_labelled: int = 0
    asked: int = 0
    missing: int = 0
    outcomes: int = 0
    recounted: int = 0
    kinds: dict[str, int] = msgspec.field(default_factory=dict)
    cells: Cells = msgspec.field(default_factory=Cells)
    firsts: FirstRows = msgspec.field(default_factory=FirstRows)
    gate: Gate = msgspec.field(default_factory=Gate)
    rows: DistinctRows = DistinctRows()
    skipped: int = 0
    agreement: AgreementState = AgreementState()
    adjusted: Strongest = Strongest()
    conclusions: Conclusions = Conclusions()
    next_look: int = 1
    errors: GuardrailState = GuardrailState()
    slow: GuardrailState = GuardrailState()
    failed_in_request: bool = False
    improvements: float = 0.0
    outside: int = 0
    apart: int = 0

    @property
    def present_outcomes(self) -> int:
        """The outcomes by their last values."""
        return self.outcomes + self.recounted

    def log_e(self) -> float:
        """ln E of this moment, not adjusted; before it can be estimated nothing is bet, and E is 1."""
        found = self.method.log_e()
        return 0.0 if isinstance(found, NotEstimable) else found


class RewardValues(msgspec.Struct):
    """The rewards that count: the least and the largest, how many are 0, and how many lie outside the range."""

    least: float | None = None
    largest: float | None = None
    zeros: int = 0
    outside: int = 0


class ExperimentState(msgspec.Struct, kw_only=True):
    """One experiment: all that its report is made from.

    `labels` and `rewards`: those that count. `beside`: labels that are no outcome of the metric, such as one of another
    class than that of the recall. `unattributed`: labels and rewards of a version that is not in this experiment.
    `epochs`: the weights of each config revision met; `policies`: its policy. By revision and version: `chosen`,
    requests for which the version was drawn, `failed` of which it could not answer; `timed`, requests that it answered
    once the threshold for slow answers was known, `slow` of which above it; and `lacked`, requests in which it could
    take no part, because they lack a column that it reads. `moved_users`: users that two versions answered in one
    revision. `last_event_us`: when its newest event came about, µs since 1970, as the log has it. `reward_values`: what
    rewards there were. `open_windows`: answers whose reward window is open; `late_rewards`: rewards that came after it.
    `corrections`: of outcomes that count, the last at `corrected_at_us`; `corrections_since`: outcomes of the metric
    that have another value now than the evidence counts. `named_users`: users who sent a request or were exposed, and
    `named_requests` how often. `exposures`, as callers reported them, by version: how many count, and how many do not.
    """

    versions: dict[str, VersionTally]
    pairs: dict[str, PairState]
    epochs: dict[int, dict[str, float]] = msgspec.field(default_factory=dict)
    policies: dict[int, str] = msgspec.field(default_factory=dict)
    chosen: dict[int, dict[str, int]] = msgspec.field(default_factory=dict)
    failed: dict[int, dict[str, int]] = msgspec.field(default_factory=dict)
    timed: dict[int, dict[str, int]] = msgspec.field(default_factory=dict)
    slow: dict[int, dict[str, int]] = msgspec.field(default_factory=dict)
    lacked: dict[int, dict[str, int]] = msgspec.field(default_factory=dict)
    sample_ratio: RatioState = RatioState()
    label_rate: RatioState = RatioState()
    slow_threshold: SlowThreshold = SlowThreshold()
    labels: int = 0
    beside: int = 0
    rewards: int = 0
    joined_rewards: int = 0
    reward_values: RewardValues = msgspec.field(default_factory=RewardValues)
    open_windows: int = 0
    late_rewards: int = 0
    # The name in states that earlier releases wrote, and read.
    unattributed: int = msgspec.field(default=0, name="nameless")
    moved_users: int = 0
    last_event_us: int = 0
    named_users: int = 0
    named_requests: int = 0
    corrections: int = 0
    corrections_since: int = 0
    corrected_at_us: int = 0
    exposures: dict[str, tuple[int, int]] | UnsetType = UNSET

    @property
    def requests(self) -> int:
        """The requests that count."""
        return sum(sum(of_epoch.values()) for of_epoch in self.chosen.values())

    def answerable_share(self, version: str) -> float | None:
        """The share of the requests in which a version could take part; None before the first."""
        return self._share(sum(of_epoch.get(version, 0) for of_epoch in self.lacked.values()))

    def comparable_share(self, challenger: str) -> float | None:
        """The share of the requests in which both the challenger and the baseline could; None before the first."""
        return self._share(self.pairs[challenger].apart)

    def _share(self, left_out: int) -> float | None:
        requests = self.requests
        return 1 - left_out / requests if requests else None
