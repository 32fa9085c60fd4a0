"""Sets the weights of the policy thompson: each version's probability to be the best, from the outcomes so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from msgspec.structs import replace

from app.domain.decision import WEIGHTS
from app.domain.experiment import Configuration, ExperimentTerms
from app.domain.report import ExperimentReport, VariantReport
from app.monitor.control.ramp import WeightControl
from app.routing.policies import THOMPSON
from app.routing.thompson import Beliefs, probabilities_to_be_best
from app.scoring.table import metric_of
from app.services.control.decisions import WeightChange

# A version that never answers could never recover, and the test's weights 1/propensity would have no bound.
LEAST_SHARE = 0.01
LEAST_MOVE = 0.01
LEAST_PAUSE_US = 60_000_000
# The pause grows with the experiment, so the number of config revisions grows with the logarithm of its length: each
# revision adds to the state that is kept.
_PAUSE_SHARE = 0.02


class Bandit:
    """Sets new weights when they are due. Call it about once a second; under other policies it does nothing.

    `configuration` reads the one in force, `report` the newest report of an experiment, `now_us` µs since 1970.
    """

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
        """Change the weights where the pause has passed and one of them has moved. Raises `StoreUnavailable`."""
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
    """The next split; None where no weight moves by more than `LEAST_MOVE`, or a version's outcomes have no range.

    Versions without traffic get none. The others get at least `LEAST_SHARE`.
    """
    # A version at weight 0 was taken out by a person or a guardrail; outcomes must not bring it back.
    playing = {version for version, weight in latest.weights.items() if weight > 0}
    found = {each.version: beliefs_of(each, latest.terms) for each in variants if each.version in playing}
    beliefs = {version: belief for version, belief in found.items() if belief is not None}
    # All or none: a version that the report does not know yet would lose its traffic before its first outcome.
    if len(beliefs) < 2 or beliefs.keys() != playing:
        return None
    shares = probabilities_to_be_best(beliefs, LEAST_SHARE)
    weights = {version: shares.get(version, 0.0) for version in latest.weights}
    moved = max(abs(weights[version] - weight) for version, weight in latest.weights.items())
    return weights if moved > LEAST_MOVE else None


def beliefs_of(variant: VariantReport, terms: ExperimentTerms) -> Beliefs | None:
    """A version's outcomes as successes and failures; None where no range is declared for the metric.

    A value counts as the part of a success that its place in the range makes it. Requests in which a version with
    traffic took no part are left out: they may be of another population, which only the other versions answered.
    """
    metric = metric_of(terms)
    declared = metric.range_of(terms)
    if declared is None:
        return None
    n, mean = _outcomes_of(variant, uses_rewards=metric.uses_rewards)
    if mean is None or not n:
        return Beliefs()
    share = declared.to_unit(mean)
    gained = share if metric.higher_is_better else 1 - share
    return Beliefs(successes=gained * n, failures=(1 - gained) * n)


def _outcomes_of(variant: VariantReport, *, uses_rewards: bool) -> tuple[int, float | None]:
    """The number and mean of the outcomes that compare versions."""
    if variant.comparable is None:  # a report of an earlier release, which knew no version that takes no part
        return (variant.rewards if uses_rewards else variant.labelled), variant.mean
    return variant.comparable, variant.comparable_mean
