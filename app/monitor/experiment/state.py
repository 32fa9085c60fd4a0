"""Latencies in buckets that grow by a twelfth of an octave: quantiles within 3 % from constant memory.

What an experiment compares: fixed by the configuration with which it began.

What the monitor keeps of an experiment: a few numbers for each version, pair of versions and epoch.

These records are filled in place during one fold and then written as JSON; floats survive that exactly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from app.domain.experiment import Configuration, ExperimentTerms
from app.monitor.experiment.methods.table import MethodState
from app.stats.agreement import AgreementState
from app.stats.checks import RatioState
from app.stats.guardrails import GuardrailState
from app.stats.robust import ServedCounts
from app.stats.slowness import SlowThreshold
from app.stats.stopping import Conclusions
from app.stats.strongest import Strongest

_PER_OCTAVE = 12


def bucket_of(latency_us: int) -> int:
    """The bucket of a latency; all below one µs share the first."""
    return math.floor(_PER_OCTAVE * math.log2(max(latency_us, 1)))


def quantile_ms(buckets: Mapping[int, int], share: float) -> float | None:
    """The least bucket below which at least `share` of the latencies lie, by its middle, in ms; None of nothing."""
    total = sum(buckets.values())
    seen = 0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen >= share * total:
            return round(2 ** ((bucket + 0.5) / _PER_OCTAVE) / 1000, 6)
    return None


class ExperimentPlan(msgspec.Struct, frozen=True):
    """The terms, the versions in their order, and the baseline (None only where there is no version)."""

    experiment_id: str
    terms: ExperimentTerms
    versions: tuple[str, ...]
    baseline: str

    @property
    def challengers(self) -> tuple[str, ...]:
        """All versions but the baseline."""
        return tuple(version for version in self.versions if version != self.baseline)

    def share(self, weights: Mapping[str, float], challenger: str) -> float:
        """The challenger's share of the traffic of the pair; 0 where the pair has none.

        Given that one of the two was drawn, it was the challenger with this probability; so a pair may be compared
        by itself however many versions share the traffic.
        """
        own, base = weights.get(challenger, 0.0), weights.get(self.baseline, 0.0)
        return own / (own + base) if own + base > 0 else 0.0


def plan_of(first: Configuration) -> ExperimentPlan:
    """The plan of the experiment that `first` began."""
    versions = tuple(first.weights)
    named = first.terms.baseline
    baseline = named if named in versions else next(iter(versions), "")
    return ExperimentPlan(first.experiment_id, first.terms, versions, baseline or "")


class VersionTally(msgspec.Struct):
    """One version. A batch is one request; labels and rewards count row by row.

    `scored` of the labels have a known value of the metric, and these sum to `total`. `errors`: requests for which the
    version was chosen and another answered. `latency`: how many requests fell in each bucket (`bucket_of`).
    `forced_*`: what never enters the experiment. `users`: of sticky users, by first exposure.
    """

    requests: int = 0
    users: int = 0
    labelled: int = 0
    scored: int = 0
    total: float = 0.0
    rewards: int = 0
    reward_total: float = 0.0
    errors: int = 0
    latency: dict[int, int] = msgspec.field(default_factory=dict)
    forced_requests: int = 0
    forced_labelled: int = 0
    forced_rewards: int = 0


class PairState(msgspec.Struct, kw_only=True):
    """A challenger against the baseline.

    `both` answered so many rows, on `differ` of them differently, `differ_labelled` of which have a label. `skipped`
    outcomes came while chance gave one of the two nothing. `served`: by epoch, what the robust test needs.
    `adjusted`: the strongest evidence, adjusted for all challengers. `next_look`: at which number of outcomes the
    interval is looked at next.
    """

    method: MethodState
    both: int = 0
    differ: int = 0
    differ_labelled: int = 0
    skipped: int = 0
    agreement: AgreementState = AgreementState()
    served: dict[int, ServedCounts] = msgspec.field(default_factory=dict)
    adjusted: Strongest = Strongest()
    conclusions: Conclusions = Conclusions()
    next_look: int = 1
    errors: GuardrailState = GuardrailState()
    slow: GuardrailState = GuardrailState()


class ExperimentState(msgspec.Struct, kw_only=True):
    """One experiment: all that its report is made of.

    `labels`: counted labels; `unattributed`: those labels and rewards that no version of this experiment gave. `epochs`:
    the weights of each epoch met. `chosen`: requests by epoch and version drawn; `timed`: those answered by it after it was
    known what is slow. `moved_users` were seen in two versions.
    """

    versions: dict[str, VersionTally]
    pairs: dict[str, PairState]
    epochs: dict[int, dict[str, float]] = msgspec.field(default_factory=dict)
    chosen: dict[int, dict[str, int]] = msgspec.field(default_factory=dict)
    timed: dict[int, dict[str, int]] = msgspec.field(default_factory=dict)
    sample_ratio: RatioState = RatioState()
    label_rate: RatioState = RatioState()
    slow_threshold: SlowThreshold = SlowThreshold()
    labels: int = 0
    rewards: int = 0
    # The name in states that earlier releases wrote, and read.
    unattributed: int = msgspec.field(default=0, name="nameless")
    moved_users: int = 0
