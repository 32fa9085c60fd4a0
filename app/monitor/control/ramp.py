"""Steers a ramp: up when its time has come and harm is excluded, held while it is not, back when a guardrail crosses.

Crossed is what `app.stats.guardrails` proves. Undecided is what has not been excluded yet: in the epochs of the present
step, that the version fails in `MOST_FAILED` of its requests or more, and that `MOST_SLOW` of its answers or more are
slow. Each is excluded by a mixture e-value at `ALPHA`: whoever does that much harm passes that gate with a chance of at
most `ALPHA` a step, however often the monitor looks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from app.domain.decision import RAMP, Decided
from app.domain.experiment import Configuration, Ramp
from app.domain.report import ExperimentReport
from app.monitor.experiment.state import ExperimentState
from app.services.control.decisions import WeightChange
from app.services.control.transitions import advanced, held, taken_back
from app.stats import guardrails
from app.stats.estimates import bar
from app.stats.guardrails import GuardrailState

_LOG = logging.getLogger(__name__)
ALPHA = 0.05
MOST_FAILED, MOST_SLOW = 0.05, 0.2
_CHECKS = ("sample_ratio", "label_rate")


class WeightControl(Protocol):
    """What the monitor may change where a person asked for it (see `app.services.control.decisions`).

    Raises `StoreUnavailable`.
    """

    def change_weights(self, seen: Configuration, after: Configuration, what: WeightChange) -> Decided | None: ...


class ExperimentKnowledge(msgspec.Struct, frozen=True):
    """What the monitor knows of an experiment; None where it has not seen anything of it."""

    report: ExperimentReport | None
    state: ExperimentState | None


class StepEvidence(msgspec.Struct, frozen=True):
    """Of one version in one step: requests it was drawn for and how many it failed in, answers timed and slow ones."""

    requests: int = 0
    failed: int = 0
    timed: int = 0
    slow: int = 0


class RampControl:
    """To be called about once a second. `known` gives what is known of an experiment (raises `StoreUnavailable`)."""

    def __init__(
        self,
        decisions: WeightControl,
        configuration: Callable[[], Configuration | None],
        known: Callable[[str], ExperimentKnowledge],
        now_us: Callable[[], int],
    ) -> None:
        self._decisions = decisions
        self._configuration = configuration
        self._known = known
        self._now_us = now_us

    def __call__(self) -> None:
        """Do what is due. Raises `StoreUnavailable`."""
        latest = self._configuration()
        if latest is None or latest.ramp is None:
            return
        ramp, known = latest.ramp, self._known(latest.experiment_id)
        rail = _crossed(known.report, ramp.version)
        if rail is not None:
            reason = f"{ramp.version} crossed a guardrail, {rail}: the split is the one before the ramp"
            self._change_weights(latest, taken_back(latest, ramp), reason)
        elif self._now_us() >= ramp.next_step_at_us:
            self._due(latest, ramp, reason_to_hold(known, ramp))

    def _due(self, latest: Configuration, ramp: Ramp, hold: str | None) -> None:
        if hold is None:
            self._change_weights(latest, advanced(latest, ramp, self._now_us()), _progress(ramp))
        elif hold != ramp.held:
            _LOG.warning("ramp_held", extra={"event_fields": {"version": ramp.version, "reason": hold}})
            self._change_weights(latest, held(latest, ramp, hold), f"held: {hold}")

    def _change_weights(self, latest: Configuration, after: Configuration, reason: str) -> None:
        version = latest.ramp.version if latest.ramp else None
        self._decisions.change_weights(latest, after, WeightChange(RAMP, version, reason))


def reason_to_hold(known: ExperimentKnowledge, ramp: Ramp) -> str | None:
    """Why the ramp may not go on now, in one sentence without numbers that change; None where nothing holds it."""
    failure = None if known.report is None else _failure(known.report, ramp.version)
    if failure is not None:
        return failure
    evidence = StepEvidence() if known.state is None else evidence_of_step(known.state, ramp)
    if not excluded(evidence.failed, evidence.requests, MOST_FAILED):
        return f"it is not excluded yet that {ramp.version} fails in {MOST_FAILED:.0%} of its requests or more"
    if not excluded(evidence.slow, evidence.timed, MOST_SLOW):
        return f"it is not excluded yet that {MOST_SLOW:.0%} of the answers of {ramp.version} or more are slow"
    return None


def evidence_of_step(state: ExperimentState, ramp: Ramp) -> StepEvidence:
    """What the step's epochs have shown so far: of no earlier ones, since harm can come with load."""
    pair = state.pairs.get(ramp.version)
    return StepEvidence(
        requests=_sum(state.chosen, ramp),
        failed=0 if pair is None else _own(pair.errors, ramp.after_epoch),
        timed=_sum(state.timed, ramp),
        slow=0 if pair is None else _own(pair.slow, ramp.after_epoch),
    )


def excluded(bad: int, n: int, most: float, alpha: float = ALPHA) -> bool:
    """Whether a rate of `most` or more is excluded by `bad` of n. P(ever true, at such a rate) ≤ `alpha`.

    The mirror of a guardrail: what is fine has at most the share 1 − `most` under the hypothesis.
    """
    return guardrails.log_e(n - bad, n, 1 - most) >= bar(alpha)


def _own(state: GuardrailState, after_epoch: int) -> int:
    return sum(events.challenger for epoch, events in state.epochs.items() if epoch > after_epoch)


def _sum(counts: Mapping[int, Mapping[str, int]], ramp: Ramp) -> int:
    return sum(of_epoch.get(ramp.version, 0) for epoch, of_epoch in counts.items() if epoch > ramp.after_epoch)


def _crossed(report: ExperimentReport | None, version: str) -> str | None:
    rails = () if report is None else report.guardrails
    return next((rail.name.replace("_", " ") for rail in rails if rail.ok is False and rail.version == version), None)


def _failure(report: ExperimentReport, version: str) -> str | None:
    failed = next((check.name for check in report.checks if check.ok is False and check.name in _CHECKS), None)
    if failed is not None:
        return f"the check {failed.replace('_', ' ')} of the experiment has failed"
    compared = next((each for each in report.comparisons if each.challenger == version), None)
    if compared is not None and compared.verdict == "worse":
        return f"{version} is proven to be worse than {report.baseline}"
    return None


def _progress(ramp: Ramp) -> str:
    done = f"step {ramp.step + 1} of {len(ramp.steps)} held for its time, and no guardrail spoke against it"
    return f"{done}: the ramp has ended" if ramp.is_last else f"{done}: now {ramp.steps[ramp.step + 1]:.4g}"
