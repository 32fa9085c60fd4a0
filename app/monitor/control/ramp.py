"""Advances a ramp when its step is due and harm is excluded, holds it until then, ends it when a guardrail is crossed.

A guardrail is crossed when `app.stats.guardrails` proves harm. A step is held until its own config revisions have
excluded that the version fails in `MOST_FAILED` of its requests or more, and that `MOST_SLOW` of its answers or more
are slow. Each is excluded by a mixture e-value at `ALPHA`: a version that does that much harm passes the gate with
probability at most `ALPHA` a step, however often the monitor checks (ADR 16).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from app.domain.decision import RAMP, Decided
from app.domain.experiment import Configuration, Ramp
from app.domain.report import ComparisonReport, ExperimentReport
from app.monitor.experiment.state import ExperimentState
from app.services.control.decisions import WeightChange
from app.services.control.transitions import advanced, held, taken_back
from app.stats import guardrails
from app.stats.estimates import bar

_LOG = logging.getLogger(__name__)
ALPHA = 0.05
MOST_FAILED, MOST_SLOW = 0.05, 0.2
_CHECKS = ("sample_ratio", "label_rate")


class WeightControl(Protocol):
    """The change that the monitor may make where a person asked for it, of `app.services.control.decisions`.

    Answers None where `seen` is no longer in force. Raises `StoreUnavailable`.
    """

    def change_weights(self, seen: Configuration, after: Configuration, change: WeightChange) -> Decided | None: ...

    def hold(self, seen: Configuration, after: Configuration, change: WeightChange) -> Decided | None: ...


class ExperimentKnowledge(msgspec.Struct, frozen=True):
    """An experiment's newest report and state; None where the monitor has processed nothing of it."""

    report: ExperimentReport | None
    state: ExperimentState | None


class StepEvidence(msgspec.Struct, frozen=True):
    """One version in one step: `requests` that it was drawn for, `failed` of them; `timed` answers, `slow` of them.

    `lacked`: requests that lack a column that it reads.
    """

    requests: int = 0
    failed: int = 0
    timed: int = 0
    slow: int = 0
    lacked: int = 0


class RampControl:
    """Steers the ramp of the configuration in force. Call it about once a second; without a ramp it does nothing.

    `known` reads what is known of an experiment and raises `StoreUnavailable`; `now_us` is µs since 1970.
    """

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
        """End, advance or hold the ramp, where that is due. Raises `StoreUnavailable`."""
        latest = self._configuration()
        if latest is None or latest.ramp is None:
            return
        ramp, known = latest.ramp, self._known(latest.experiment_id)
        rail = _crossed(known.report, ramp.version)
        # Before the time is checked: a crossed guardrail ends the ramp at once, also in the middle of a step.
        if rail is not None:
            reason = f"{ramp.version} crossed a guardrail, {rail}: the split is the one before the ramp"
            self._change_weights(latest, taken_back(latest, ramp), reason)
        elif self._now_us() >= ramp.next_step_at_us:
            self._advance_or_hold(latest, ramp, reason_to_hold(known, ramp))

    def _advance_or_hold(self, latest: Configuration, ramp: Ramp, hold: str | None) -> None:
        if hold is None:
            self._change_weights(latest, advanced(latest, ramp, self._now_us()), _progress(ramp))
        elif hold != ramp.held:
            # Written once per reason: each hold is an audit entry.
            _LOG.warning("ramp_held", extra={"event_fields": {"version": ramp.version, "reason": hold}})
            self._decisions.hold(latest, held(latest, ramp, hold), WeightChange(RAMP, ramp.version, f"held: {hold}"))

    def _change_weights(self, latest: Configuration, after: Configuration, reason: str) -> None:
        version = latest.ramp.version if latest.ramp else None
        self._decisions.change_weights(latest, after, WeightChange(RAMP, version, reason))


def reason_to_hold(known: ExperimentKnowledge, ramp: Ramp) -> str | None:
    """Why the ramp may not go on now; None where nothing holds it.

    The text holds no figures that change with each request: another text is another entry in the audit log.
    """
    failure = None if known.report is None else _failure(known.report, ramp.version)
    if failure is not None:
        return failure
    evidence = StepEvidence() if known.state is None else evidence_of_step(known.state, ramp)
    if evidence.lacked and not evidence.requests:
        return f"no request of this step has every column that {ramp.version} reads"
    if not excluded(evidence.failed, evidence.requests, MOST_FAILED):
        return f"it is not excluded yet that {ramp.version} fails in {MOST_FAILED:.0%} of its requests or more"
    if not excluded(evidence.slow, evidence.timed, MOST_SLOW):
        return f"it is not excluded yet that {MOST_SLOW:.0%} of the answers of {ramp.version} or more are slow"
    return None


def evidence_of_step(state: ExperimentState, ramp: Ramp) -> StepEvidence:
    """The counts of the step's own config revisions. Earlier ones say little: harm can come with load."""
    return StepEvidence(
        requests=_sum(state.chosen, ramp),
        failed=_sum(state.failed, ramp),
        timed=_sum(state.timed, ramp),
        slow=_sum(state.slow, ramp),
        lacked=_sum(state.lacked, ramp),
    )


def excluded(bad: int, n: int, most: float, alpha: float = ALPHA) -> bool:
    """Whether `bad` of `n` exclude a rate of `most` or more. P(this is ever true at such a rate) ≤ `alpha`.

    The mirror image of a guardrail: under the hypothesis the good ones have at most the share 1 − `most`.
    """
    # "Too many good ones for a rate of `most`": the guardrail's test with good and bad exchanged, and no margin.
    return guardrails.log_e(n - bad, n, 1 - most) >= bar(alpha)


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
    if compared is not None and _is_worse_now(compared, report.alpha):
        return f"{version} is proven to be worse than {report.baseline}"
    return None


def _is_worse_now(compared: ComparisonReport, alpha: float) -> bool:
    """Whether the present evidence carries the verdict: what has changed since must not hold the ramp for good."""
    present = (compared.adjusted_log_e or 0.0) >= bar(alpha) and (compared.difference or 0.0) < 0
    return compared.verdict == "worse" and present


def _progress(ramp: Ramp) -> str:
    done = f"step {ramp.step + 1} of {len(ramp.steps)} has lasted its time, and harm is excluded"
    after = "the ramp has ended" if ramp.is_last else f"the share is now {ramp.steps[ramp.step + 1]:.4g}"
    return f"{done}: {after}"
