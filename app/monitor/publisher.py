"""Makes the reports of the experiments whose evidence, configuration or drift check has changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from app.domain.experiment import Configuration
from app.domain.log_event import Cursor
from app.domain.monitor_state import ExperimentSummary
from app.domain.report import ExperimentReport
from app.drift.alarm_streams import what_changed
from app.drift.evidence import false_alarm_bound
from app.drift.report import concerns_people
from app.drift.report_types import DriftReport
from app.monitor.experiment.projection import NAME, load_state
from app.monitor.experiment.report import report_of
from app.monitor.experiment.state import plan_of
from app.stats.checks import CheckResult

DRIFT_CHECK = "drift"
MoreChecks = Callable[[str], Sequence[CheckResult]]


class ExperimentReads(Protocol):
    """The experiments and their configurations. Raises `StoreUnavailable`."""

    def newest_epoch(self) -> int: ...

    def experiments(self) -> Sequence[ExperimentSummary]: ...

    def first_configuration(self, experiment_id: str) -> Configuration | None: ...

    def last_configuration(self, experiment_id: str) -> Configuration | None: ...


class StateReads(Protocol):
    """The states that reports are made of. Raises `StoreUnavailable`."""

    def cursor(self, projection: str) -> Cursor: ...

    def states(self, names: Iterable[str]) -> dict[str, str]: ...


class ReportWrites(Protocol):
    """Where reports are kept. Raises `StoreUnavailable`."""

    def stale_reports(self) -> Mapping[str, Cursor]: ...

    def put_report(self, experiment_id: str, of: Cursor, body: str) -> None: ...


class _Basis(NamedTuple):
    """What the newest experiment's report depends on beside its state: revision, and checks by name and result."""

    epoch: int
    checks: tuple[tuple[str, bool | None], ...]


def no_more_checks(_experiment_id: str) -> Sequence[CheckResult]:
    """No checks beside those of the experiment itself."""
    return ()


class Publisher:
    """Writes reports. `more_checks` adds checks from outside the experiment (drift); `now_us` is the clock (µs)."""

    def __init__(
        self,
        log: ExperimentReads,
        states: StateReads,
        reports: ReportWrites,
        now_us: Callable[[], int],
        more_checks: MoreChecks = no_more_checks,
    ) -> None:
        self._log = log
        self._states = states
        self._reports = reports
        self._now_us = now_us
        self._more_checks = more_checks
        self._basis: _Basis | None = None

    def publish(self) -> list[ExperimentReport]:
        """Write and return the reports that are due. Raises `StoreUnavailable`.

        Due are reports that are missing or older than their state, and the report of the newest experiment where the
        configuration, or the result of a check from outside, has changed.
        """
        basis: _Basis | None = None
        due = dict(self._reports.stale_reports())
        summaries = {each.id: each for each in self._log.experiments()}
        if summaries:
            newest = next(iter(summaries))
            basis = _Basis(
                self._log.newest_epoch(), tuple((check.name, check.ok) for check in self._more_checks(newest))
            )
            if basis != self._basis:
                due.setdefault(newest, self._states.cursor(f"{NAME}/{newest}"))
        made = [self._publish(summaries[name], due[name]) for name in due if name in summaries]
        # Kept only now: where writing failed, the next call finds the same reports due.
        self._basis = basis
        return made

    def make(self, summary: ExperimentSummary) -> ExperimentReport:
        """The report of an experiment from its present state; nothing is written. Raises `StoreUnavailable`."""
        first = self._log.first_configuration(summary.id)
        last = self._log.last_configuration(summary.id)
        assert first is not None, summary.id  # an experiment begins with a configuration, in one transaction
        assert last is not None, summary.id
        plan = plan_of(first)
        name = f"{NAME}/{summary.id}"
        state = load_state(plan, self._states.states([name]).get(name))
        return report_of(state, plan, summary, last, self._now_us(), self._more_checks(summary.id))

    def _publish(self, summary: ExperimentSummary, of: Cursor) -> ExperimentReport:
        report = self.make(summary)
        # `of` was read before the state: a report of a newer state counts as stale and is made once more, never less.
        self._reports.put_report(summary.id, of, msgspec.json.encode(report).decode())
        return report


class DriftCheck:
    """Drift as a check of the running experiment, for `Publisher`: an alarm can change the recommendation.

    `configuration` reads the one in force; `standing` reads a version's report, with its acknowledgements applied.
    """

    def __init__(
        self, configuration: Callable[[], Configuration | None], standing: Callable[[str], DriftReport | None]
    ) -> None:
        self._configuration = configuration
        self._standing = standing

    def __call__(self, experiment_id: str) -> tuple[CheckResult, ...]:
        """The check of the champion's traffic; empty for an ended experiment, and before the first drift report.

        Raises `StoreUnavailable`.
        """
        configuration = self._configuration()
        if configuration is None or configuration.experiment_id != experiment_id:
            return ()
        champion = configuration.champion or configuration.terms.baseline
        report = None if champion is None else self._standing(champion)
        return () if report is None else (check_of(report, configuration.drift_threshold),)


def check_of(report: DriftReport, threshold: float) -> CheckResult:
    """Drift as a check: it fails while an alarm stands and a share of at least `threshold` of the traffic is displaced.

    Its p-value bounds the chance that evidence as strong as the present ever appears on clean traffic up to now:
    (t + r) / M, which `evidence` expresses on a log scale (docs/drift.md).
    """
    p_value = false_alarm_bound(report.requests) ** report.evidence
    changed = what_changed(report.alarm_streams)
    fault = f"the traffic provably differs from the reference data of {report.version} in {changed}"
    return CheckResult(DRIFT_CHECK, not concerns_people(report, threshold), p_value, -math.log(p_value), fault)
