"""What the monitor does about its reports: decide where it may, and tell the webhook; joined for the command."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from app.domain.report import ExperimentReport
from app.monitor.announcing import Announcer
from app.monitor.auto import AutomaticDecisions
from app.monitor.bandit import Bandit
from app.monitor.experiment import NAME, load_state
from app.monitor.loop import AfterReports
from app.monitor.notify import Notifier
from app.monitor.plan import plan_of
from app.monitor.probing import http_probe
from app.monitor.ramping import Known, Ramping
from app.services.configuration import new_experiment_id
from app.services.deciding import World
from app.services.decisions import Decisions
from app.settings import Settings
from app.store.configs import ConfigurationLog
from app.store.decisions import DecisionTable
from app.store.engine import Database
from app.store.monitor import MonitorStore
from app.store.monitor_reads import MonitorReads
from app.store.notices import NoticeState


class Acting:
    """`after_reports` are for the loop, in this order: a decision is told in the same turn.

    `ticks` are what goes by the clock. Raises `SettingError`.
    """

    def __init__(self, settings: Settings, database: Database, now_us: Callable[[], int]) -> None:
        table, reads = DecisionTable(database), MonitorReads(database, now_us)
        configuration = ConfigurationLog(database).latest
        world = World(
            report=lambda experiment_id: stored.report if (stored := reads.report(experiment_id)) else None,
            probe=http_probe(settings.api_url),
            now_us=now_us,
            new_id=new_experiment_id,
        )
        self._notifier = Notifier(settings.notify_webhook_url) if settings.notify_webhook_url else None
        decisions = Decisions(table, world)
        known = _Knowledge(MonitorStore(database, now_us), world.report)
        self.ticks: Mapping[str, Callable[[], None]] = {
            "ramp": Ramping(decisions, configuration, known, now_us),
            "bandit": Bandit(decisions, configuration, world.report, now_us),
        }
        after: list[AfterReports] = [AutomaticDecisions(decisions, configuration)]
        if self._notifier is not None:
            after.append(Announcer(NoticeState(database), table, configuration, self._notifier.tell))
        self.after_reports: tuple[AfterReports, ...] = tuple(after)

    def __enter__(self) -> Acting:
        """Begin to send notices."""
        if self._notifier is not None:
            self._notifier.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Send what waits, for a moment."""
        if self._notifier is not None:
            self._notifier.stop()


class _Knowledge:
    """The report of an experiment and the state that it was made of, or a newer one."""

    def __init__(self, store: MonitorStore, report: Callable[[str], ExperimentReport | None]) -> None:
        self._store = store
        self._report = report

    def __call__(self, experiment_id: str) -> Known:
        """Raises `StoreUnavailable`."""
        first = self._store.first_configuration(experiment_id)
        name = f"{NAME}/{experiment_id}"
        body = self._store.states([name]).get(name)
        state = None if first is None or body is None else load_state(plan_of(first), body)
        return Known(self._report(experiment_id), state)
