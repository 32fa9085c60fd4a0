"""Ask the running api whether a version answers.

What the monitor does about its reports: decide where it may, and tell the webhook; joined for the command.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
import requests

from app.domain.report import ExperimentReport
from app.monitor.control.automatic import AutomaticDecisions
from app.monitor.control.bandit import Bandit
from app.monitor.control.ramp import ExperimentKnowledge, RampControl
from app.monitor.experiment.projection import NAME, load_state
from app.monitor.experiment.state import plan_of
from app.monitor.loop import AfterReports
from app.monitor.webhook import Announcer, Notifier
from app.services.control.config_watcher import new_experiment_id
from app.services.control.decisions import Decisions, Dependencies
from app.settings import Settings
from app.store.configurations import ConfigurationLog, DecisionTable
from app.store.engine import Database
from app.store.projections import MonitorStore, NoticeState
from app.store.reports import MonitorReads

_TIMEOUT_S = (2.0, 5.0)


class _Version(msgspec.Struct):
    loaded: bool = False
    circuit_breaker: str | None = None
    error: str | None = None


class _Health(msgspec.Struct):
    models: dict[str, _Version]


def http_probe(api_url: str) -> Callable[[str], str | None]:
    """A function that gives what is wrong with a version, as `GET /health` proves it; None where it answers."""

    def probe(version: str) -> str | None:
        try:
            # Unhealthy is a 503 with the same body.
            answer = requests.get(f"{api_url.rstrip('/')}/health", timeout=_TIMEOUT_S)
            health = msgspec.json.decode(answer.content, type=_Health)
        except requests.RequestException as error:
            return f"the api cannot be asked: {type(error).__name__}"
        except msgspec.MsgspecError:
            return "the api gave no readable answer"
        return _failure(health.models.get(version))

    return probe


def _failure(found: _Version | None) -> str | None:
    if found is None or not found.loaded:
        return "it is not loaded" if found is None or not found.error else f"it is not loaded: {found.error}"
    if found.error:
        return found.error
    return "its circuit breaker is open" if found.circuit_breaker == "open" else None


class MonitorActions:
    """`after_reports` are for the loop, in this order: a decision is told in the same turn.

    `ticks` are what goes by the clock. Raises `SettingError`.
    """

    def __init__(self, settings: Settings, database: Database, now_us: Callable[[], int]) -> None:
        table, reads = DecisionTable(database), MonitorReads(database, now_us)
        configuration = ConfigurationLog(database).latest
        dependencies = Dependencies(
            report=lambda experiment_id: stored.report if (stored := reads.report(experiment_id)) else None,
            probe=http_probe(settings.api_url),
            now_us=now_us,
            new_id=new_experiment_id,
        )
        self._notifier = Notifier(settings.notify_webhook_url) if settings.notify_webhook_url else None
        decisions = Decisions(table, dependencies)
        known = _KnowledgeOf(MonitorStore(database, now_us), dependencies.report)
        self.ticks: Mapping[str, Callable[[], None]] = {
            "ramp": RampControl(decisions, configuration, known, now_us),
            "bandit": Bandit(decisions, configuration, dependencies.report, now_us),
        }
        after: list[AfterReports] = [AutomaticDecisions(decisions, configuration)]
        if self._notifier is not None:
            after.append(Announcer(NoticeState(database), table, configuration, self._notifier.notify))
        self.after_reports: tuple[AfterReports, ...] = tuple(after)

    def __enter__(self) -> MonitorActions:
        """Begin to send notices."""
        if self._notifier is not None:
            self._notifier.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Send what waits, for a moment."""
        if self._notifier is not None:
            self._notifier.stop()


class _KnowledgeOf:
    """The report of an experiment and the state that it was made of, or a newer one."""

    def __init__(self, store: MonitorStore, report: Callable[[str], ExperimentReport | None]) -> None:
        self._store = store
        self._report = report

    def __call__(self, experiment_id: str) -> ExperimentKnowledge:
        """Raises `StoreUnavailable`."""
        first = self._store.first_configuration(experiment_id)
        name = f"{NAME}/{experiment_id}"
        body = self._store.states([name]).get(name)
        state = None if first is None or body is None else load_state(plan_of(first), body)
        return ExperimentKnowledge(self._report(experiment_id), state)
