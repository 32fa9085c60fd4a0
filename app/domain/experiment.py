"""A ramp: a version's share of the traffic, raised step by step as long as nothing speaks against it.

The configuration in force and the experiment it belongs to.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Ramp(msgspec.Struct, frozen=True, kw_only=True):
    """A ramp that runs: part of the configuration in force.

    `steps` are shares in (0, 1], strictly increasing; the one numbered `step`, from 0, is in force since
    `step_since_us` (µs since 1970). The epochs of the step are those above `after_epoch`. `before` is the split that a
    crossed guardrail brings back. `held` says why the next step has not come though its time has; None while nothing
    holds it.
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
        """When the next step may come, or on the last one when the ramp may end (µs since 1970)."""
        return self.step_since_us + self.every_seconds * 1_000_000

    @property
    def is_last(self) -> bool:
        """Whether no step follows."""
        return self.step + 1 >= len(self.steps)


class ExperimentTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What an experiment measures and promises; fixed when it begins.

    `alpha` is the error rate; `min_effect` and `equivalence_margin` are in the units of the metric.
    """

    metric: str
    alpha: float = 0.05
    baseline: str | None = None
    equivalence_margin: float | None = None
    min_effect: float | None = None
    reward_range: tuple[float, float] | None = (0.0, 1.0)
    reward_triggered: bool = False
    error_range: tuple[float, float] | None = None
    labels_exogenous: bool = False


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """One version of the split and its policy: a row of the store's `config`, never changed.

    `epoch` numbers these rows; prediction ids carry it, and it gives the propensity of each version. 0 means that
    the store could not be read at start: such answers are served and do not enter the experiment. `weights` are
    normalised, over the versions that were on the shelf. `asked` is the split of which `weights` is the part that
    could be served; only the start sets it and reads it. `environment` is what the environment said when the server
    last started, to tell a new word from an old one. `ordinals` are the versions' numbers in prediction ids.
    `former_champions`, the oldest first, are where roll-backs lead. `ramp` is the one that runs.
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
    champion: str | None = None
    former_champions: tuple[str, ...] = ()
    ordinals: Mapping[str, int] = msgspec.field(default_factory=dict)
    created_at_us: int = 0
    source: str = "environment"
    environment: Mapping[str, object] = msgspec.field(default_factory=dict)
