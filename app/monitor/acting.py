"""What the monitor does about its reports: decide where it may, and tell the webhook; joined for the command."""

from __future__ import annotations

from collections.abc import Callable

from app.monitor.announcing import Announcer
from app.monitor.auto import AutomaticDecisions
from app.monitor.loop import AfterReports
from app.monitor.notify import Notifier
from app.monitor.probing import http_probe
from app.services.configuration import new_experiment_id
from app.services.deciding import World
from app.services.decisions import Decisions
from app.settings import Settings
from app.store.configs import ConfigurationLog
from app.store.decisions import DecisionTable
from app.store.engine import Database
from app.store.monitor_reads import MonitorReads
from app.store.notices import NoticeState


class Acting:
    """`after_reports` are for the loop, in this order: a decision is told in the same turn. Raises `SettingError`."""

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
        after: list[AfterReports] = [AutomaticDecisions(Decisions(table, world), configuration)]
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
