"""Sets the weights of the policy thompson: each version's probability to be the best, from the outcomes so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from msgspec.structs import replace

from app.domain.decision import WEIGHTS
from app.domain.experiment import Configuration, ExperimentTerms
from app.domain.report import ExperimentReport, VariantReport
from app.monitor.control.ramp import WeightControl
from app.monitor.experiment.methods.table import declared_range
from app.routing.policies import THOMPSON
from app.routing.thompson import Beliefs, probabilities_to_be_best
from app.services.control.decisions import WeightChange

LEAST_SHARE = 0.01
LEAST_MOVE = 0.01
LEAST_PAUSE_US = 60_000_000
# So that an experiment has a number of epochs that grows with the logarithm of its length: each one costs state.
_PAUSE_SHARE = 0.02
_LOSSES = ("brier", "log_loss", "absolute_error")


class Bandit:
    """To be called about once a second; does nothing under another policy."""

    def __init__(
        self,
        decisions: WeightControl,
        configuration: Callable[[], Configuration | None],
        report: Callable[[str], ExperimentReport | None],
        now_us: Callable[[], int],
    ) -> None:
        self._decisions = decisions
        self._configuration = configuration
        self._report = report
        self._now_us = now_us

    def __call__(self) -> None:
        """Set the weights where they are due and have moved. Raises `StoreUnavailable`."""
        latest = self._configuration()
        if latest is None or latest.policy != THOMPSON or self._age_us(latest) < LEAST_PAUSE_US:
            return
        report = self._report(latest.experiment_id)
        if report is None or self._age_us(latest) < _PAUSE_SHARE * (latest.created_at_us - _started_us(report)):
            return
        weights = next_weights(latest, report.variants)
        if weights is not None:
            reason = "each version's probability to be the best, from the outcomes so far"
            self._decisions.change_weights(
                latest, replace(latest, weights=weights, asked={}), WeightChange(WEIGHTS, None, reason)
            )

    def _age_us(self, latest: Configuration) -> int:
        return self._now_us() - latest.created_at_us


def _started_us(report: ExperimentReport) -> int:
    return int(datetime.fromisoformat(report.started).timestamp() * 1e6)


def next_weights(latest: Configuration, variants: tuple[VariantReport, ...]) -> Mapping[str, float] | None:
    """The split of the next epoch; None where no weight moves by more than `LEAST_MOVE`, or nothing can be said.

    What has no traffic gets none: a person, or a guardrail, took it out. The others keep `LEAST_SHARE` at least.
    """
    playing = [variant for variant in variants if latest.weights.get(variant.version, 0.0) > 0]
    beliefs = {variant.version: beliefs_of(variant, latest.terms) for variant in playing}
    known = {version: belief for version, belief in beliefs.items() if belief is not None}
    if len(known) < 2 or len(known) != len([weight for weight in latest.weights.values() if weight > 0]):
        return None
    shares = probabilities_to_be_best(known, LEAST_SHARE)
    weights = {version: shares.get(version, 0.0) for version in latest.weights}
    moved = max(abs(weights[version] - weight) for version, weight in latest.weights.items())
    return weights if moved > LEAST_MOVE else None


def beliefs_of(variant: VariantReport, terms: ExperimentTerms) -> Beliefs | None:
    """Outcomes as successes and failures, a number in a declared range as the part of one; None without a range."""
    declared = declared_range(terms)
    if declared is None:
        return None
    n = variant.rewards if terms.metric == "reward" else variant.labelled
    if variant.mean is None or not n:
        return Beliefs()
    share = min(max((variant.mean - declared.low) / declared.width, 0.0), 1.0)
    gained = 1 - share if terms.metric in _LOSSES else share
    return Beliefs(successes=gained * n, failures=(1 - gained) * n)
