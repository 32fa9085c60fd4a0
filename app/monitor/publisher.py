"""Makes the reports of the experiments that have changed, no more often than people look.

Drift as a check of the running experiment: an alarm that concerns people turns its recommendation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from app.domain.experiment import Configuration
from app.domain.log_event import Cursor
from app.domain.monitor_state import ExperimentSummary
from app.domain.report import ExperimentReport
from app.drift.evidence import false_alarm_bound
from app.drift.report import concerns_people
from app.drift.report_types import DriftReport
from app.monitor.experiment.projection import NAME, load_state
from app.monitor.experiment.report import report_of
from app.monitor.experiment.state import plan_of
from app.stats.checks import CheckResult

MoreChecks = Callable[[str], Sequence[CheckResult]]


class ReportStore(Protocol):
    """The store's side of reports. Raises `StoreUnavailable`."""

    def states(self, names: Iterable[str]) -> dict[str, str]: ...

    def cursor(self, projection: str) -> Cursor: ...

    def stale_reports(self) -> Mapping[str, Cursor]: ...

    def put_report(self, experiment_id: str, of: Cursor, body: str) -> None: ...

    def newest_epoch(self) -> int: ...

    def experiments(self) -> Sequence[ExperimentSummary]: ...

    def first_configuration(self, experiment_id: str) -> Configuration | None: ...

    def last_configuration(self, experiment_id: str) -> Configuration | None: ...


def no_more_checks(_experiment_id: str) -> Sequence[CheckResult]:
    """Where nothing but the experiment itself is checked."""
    return ()


class Publisher:
    """Writes reports. `more_checks` gives checks of an experiment from outside it (drift); `now_us` is the clock."""

    def __init__(self, store: ReportStore, now_us: Callable[[], int], more_checks: MoreChecks = no_more_checks) -> None:
        self._store = store
        self._now_us = now_us
        self._more_checks = more_checks
        self._newest: object = None

    def publish(self) -> list[ExperimentReport]:
        """Make the reports that are missing or older than their state, and that of the newest experiment where the
        configuration, or the outcome of a check from outside it, has changed; those reports.

        Raises `StoreUnavailable`.
        """
        around: object = None
        due = dict(self._store.stale_reports())
        summaries = {each.id: each for each in self._store.experiments()}
        if summaries:
            newest = next(iter(summaries))
            checked = [(check.name, check.ok) for check in self._more_checks(newest)]
            around = (self._store.newest_epoch(), checked)
            if around != self._newest:
                due.setdefault(newest, self._store.cursor(f"{NAME}/{newest}"))
        made = [self._publish(summaries[name], due[name]) for name in due if name in summaries]
        self._newest = around
        return made

    def _publish(self, summary: ExperimentSummary, of: Cursor) -> ExperimentReport:
        report = self.make(summary)
        self._store.put_report(summary.id, of, msgspec.json.encode(report).decode())
        return report

    def make(self, summary: ExperimentSummary) -> ExperimentReport:
        """The report of an experiment as its state is now."""
        first = self._store.first_configuration(summary.id)
        last = self._store.last_configuration(summary.id)
        assert first is not None, summary.id  # an experiment begins with a configuration, in one transaction
        assert last is not None, summary.id
        plan = plan_of(first)
        name = f"{NAME}/{summary.id}"
        state = load_state(plan, self._store.states([name]).get(name))
        return report_of(state, plan, summary, last.weights, self._now_us(), self._more_checks(summary.id))


DRIFT_CHECK = "drift"


class DriftCheck:
    """To be given to the publisher of reports.

    `configuration` reads the one in force, `standing` a version's report with its acknowledgements in it.
    """

    def __init__(
        self, configuration: Callable[[], Configuration | None], standing: Callable[[str], DriftReport | None]
    ) -> None:
        self._configuration = configuration
        self._standing = standing

    def __call__(self, experiment_id: str) -> tuple[CheckResult, ...]:
        """The check of the champion's traffic; none of an experiment that is over, or where nothing is known.

        Raises `StoreUnavailable`.
        """
        configuration = self._configuration()
        if configuration is None or configuration.experiment_id != experiment_id:
            return ()
        champion = configuration.champion or configuration.terms.baseline
        report = None if champion is None else self._standing(champion)
        return () if report is None else (check_of(report, configuration.drift_threshold),)


def check_of(report: DriftReport, threshold: float) -> CheckResult:
    """Failed while an alarm stands and `threshold` of the traffic is displaced.

    Its p-value bounds the chance that evidence as strong as the present one ever comes up by now on clean traffic:
    (t + r) / M, which is what `evidence` says on a log scale.
    """
    p_value = false_alarm_bound(report.requests) ** report.evidence
    return CheckResult(DRIFT_CHECK, not concerns_people(report, threshold), p_value, -math.log(p_value))
