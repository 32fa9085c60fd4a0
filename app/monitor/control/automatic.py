"""Automatic decisions, as far as AUTO_DECIDE allows: roll back a crossed guardrail's version, promote a winner."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from app.domain.decision import Decided
from app.domain.experiment import Configuration
from app.domain.report import CheckReport, ExperimentReport


class DecisionMaker(Protocol):
    """The decisions that the monitor may make, of `app.services.control.decisions`. Raises `StoreUnavailable`.

    Each answers None where the configuration has changed so that the decision no longer applies.
    """

    def stop(self, experiment_id: str, offender: str, reason: str) -> Decided | None: ...

    def promote(self, experiment_id: str, version: str, reason: str) -> Decided | None: ...


class Stop(msgspec.Struct, frozen=True):
    """To take the traffic from `version`, which crossed a guardrail."""

    version: str
    reason: str


class Promote(msgspec.Struct, frozen=True):
    """To promote `version`, which is proven to be better under assumptions that hold."""

    version: str
    reason: str


Call = Stop | Promote


def called_for(report: ExperimentReport, auto_decide: str, weights: Mapping[str, float]) -> Call | None:
    """The decision that the report calls for under AUTO_DECIDE; None where there is none, or a person has to make it.

    `weights` is the split in force. A crossed guardrail goes before a verdict.
    """
    # Only a guardrail takes a version out: a verdict of "worse" is about quality, which can wait for a person.
    if auto_decide in ("rollback", "both"):
        crossed = next((rail for rail in report.guardrails if _offends(rail, weights)), None)
        if crossed is not None:
            return Stop(str(crossed.version), _reason(crossed))
    winner = _sound_winner(report) if auto_decide in ("promote", "both") else None
    return None if winner is None else Promote(winner, report.recommendation.reason)


def _offends(rail: CheckReport, weights: Mapping[str, float]) -> bool:
    # A crossed guardrail stays crossed. Without traffic the version has been taken out already.
    return rail.ok is False and rail.version is not None and weights.get(rail.version, 0.0) > 0


def _reason(rail: CheckReport) -> str:
    crossed = f"guardrail crossed by {rail.version}: {rail.name.replace('_', ' ')}"
    return crossed + (f" ({rail.detail})" if rail.detail else "")


def _sound_winner(report: ExperimentReport) -> str | None:
    """The version whose promotion is recommended, where no check has failed and every assumption is verified."""
    advice = report.recommendation
    if advice.action != "promote" or any(check.ok is False for check in (*report.checks, *report.guardrails)):
        return None
    best = next((each for each in report.comparisons if each.challenger == advice.version), None)
    if best is None or best.verdict != "better" or best.asymptotic or best.assumptions:
        return None
    return best.challenger


class AutomaticDecisions:
    """Acts on the reports that the monitor has just made; call it with them.

    `configuration` reads the one in force, because AUTO_DECIDE can be changed at run time.
    """

    def __init__(self, decisions: DecisionMaker, configuration: Callable[[], Configuration | None]) -> None:
        self._decisions = decisions
        self._configuration = configuration
        # The last decision that was refused, and its config revision. It is not tried again in the same revision:
        # each try takes the store's write lock.
        self._refused: tuple[int, Call] | None = None

    def __call__(self, reports: Sequence[ExperimentReport]) -> None:
        """Decide where the running experiment's report calls for it. Raises `StoreUnavailable`."""
        configuration = self._configuration() if reports else None
        if configuration is None:
            return
        report = next((each for each in reports if each.id == configuration.experiment_id), None)
        if report is None:
            return
        call = called_for(report, configuration.auto_decide, configuration.weights)
        if call is None or self._refused == (configuration.epoch, call):
            return
        if self._decide(report.id, call) is None:
            self._refused = (configuration.epoch, call)

    def _decide(self, experiment_id: str, call: Call) -> Decided | None:
        if isinstance(call, Stop):
            return self._decisions.stop(experiment_id, call.version, call.reason)
        return self._decisions.promote(experiment_id, call.version, call.reason)
