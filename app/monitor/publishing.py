"""Makes the reports of the experiments that have changed, no more often than people look."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from app.domain.experiment import Configuration
from app.domain.log_event import Cursor
from app.domain.monitoring import ExperimentSummary
from app.domain.report import ExperimentReport
from app.monitor.experiment import NAME, load_state
from app.monitor.plan import plan_of
from app.monitor.reporting import report_of
from app.stats.checks import CheckResult

MoreChecks = Callable[[str], Sequence[CheckResult]]


class ReportStore(Protocol):
    """The store's side of reports. Raises `StoreUnavailable`."""

    def states(self, names: Iterable[str]) -> dict[str, str]: ...

    def cursor(self, folder: str) -> Cursor: ...

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
