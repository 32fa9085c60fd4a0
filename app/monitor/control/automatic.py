"""Decisions without a person, as far as AUTO_DECIDE allows: out with what broke a guardrail, up with what has won."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from app.domain.decision import Decided
from app.domain.experiment import Configuration
from app.domain.report import CheckReport, ExperimentReport


class Deciding(Protocol):
    """What the monitor may decide; see `app.services.control.decisions`. Raises `StoreUnavailable`."""

    def stop(self, experiment_id: str, offender: str, reason: str) -> Decided | None: ...

    def promote(self, experiment_id: str, version: str, reason: str) -> Decided | None: ...


class Stop(msgspec.Struct, frozen=True):
    """`version` broke a guardrail and has traffic."""

    version: str
    reason: str


class Promote(msgspec.Struct, frozen=True):
    """`version` is proven to be better, and nothing speaks against believing it."""

    version: str
    reason: str


Call = Stop | Promote


def called_for(report: ExperimentReport, auto_decide: str, weights: Mapping[str, float]) -> Call | None:
    """What the report calls for under AUTO_DECIDE, None where a person decides.

    A guardrail goes before a verdict; a verdict alone never takes a version out.
    """
    if auto_decide in ("rollback", "both"):
        crossed = next((rail for rail in report.guardrails if _offends(rail, weights)), None)
        if crossed is not None:
            return Stop(str(crossed.version), _words(crossed))
    winner = _sound_winner(report) if auto_decide in ("promote", "both") else None
    return None if winner is None else Promote(winner, report.recommendation.reason)


def _offends(rail: CheckReport, weights: Mapping[str, float]) -> bool:
    return rail.ok is False and rail.version is not None and weights.get(rail.version, 0.0) > 0


def _words(rail: CheckReport) -> str:
    what = f"guardrail crossed by {rail.version}: {rail.name.replace('_', ' ')}"
    return what + (f" ({rail.detail})" if rail.detail else "")


def _sound_winner(report: ExperimentReport) -> str | None:
    """The version whose promotion is recommended, where all checks hold and no assumption has to be taken on trust."""
    advice = report.recommendation
    if advice.action != "promote" or any(check.ok is False for check in (*report.checks, *report.guardrails)):
        return None
    best = next((each for each in report.comparisons if each.challenger == advice.version), None)
    if best is None or best.verdict != "better" or best.asymptotic or best.assumptions:
        return None
    return best.challenger


class AutomaticDecisions:
    """Acts on the reports that the monitor has just made; to be called with them.

    `configuration` reads the one in force: AUTO_DECIDE may have been changed at run time. What has been looked into
    and left alone is not looked into again before the configuration changes, since that takes the write lock.
    """

    def __init__(self, decisions: Deciding, configuration: Callable[[], Configuration | None]) -> None:
        self._decisions = decisions
        self._configuration = configuration
        self._left_alone: tuple[int, Call] | None = None

    def __call__(self, reports: Sequence[ExperimentReport]) -> None:
        """Decide where the running experiment's report calls for it. Raises `StoreUnavailable`."""
        configuration = self._configuration() if reports else None
        if configuration is None:
            return
        report = next((each for each in reports if each.id == configuration.experiment_id), None)
        if report is None:
            return
        call = called_for(report, configuration.auto_decide, configuration.weights)
        if call is None or self._left_alone == (configuration.epoch, call):
            return
        if self._carried_out(report.id, call) is None:
            self._left_alone = (configuration.epoch, call)

    def _carried_out(self, experiment_id: str, call: Call) -> Decided | None:
        if isinstance(call, Stop):
            return self._decisions.stop(experiment_id, call.version, call.reason)
        return self._decisions.promote(experiment_id, call.version, call.reason)
