"""Builds the monitor: its stores, its projections, and what it does about its reports."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import msgspec

from app.clock import now_us
from app.domain.report import ExperimentReport
from app.errors import Contradiction, StoreUnavailable
from app.inference.mlflow_server import MlflowServer
from app.inference.registry import ModelRegistry
from app.inference.storage import storage_of
from app.monitor.breakdown import BreakdownProjection
from app.monitor.control.automatic import AutomaticDecisions
from app.monitor.control.bandit import Bandit
from app.monitor.control.ramp import ExperimentKnowledge, RampControl
from app.monitor.disagreements import DisagreementProjection
from app.monitor.drift.projection import DriftProjection
from app.monitor.drift.references import References
from app.monitor.experiment.projection import NAME, ExperimentProjection, load_state
from app.monitor.experiment.state import plan_of
from app.monitor.health_probe import http_probe
from app.monitor.heartbeats import HeartbeatControl
from app.monitor.loop import AfterReports, Loop, wait_for
from app.monitor.nightly import Nightly
from app.monitor.projection import Projection, Rounds, process_together
from app.monitor.publisher import DriftCheck, Publisher
from app.monitor.rebuild import Rebuilt, Space, is_outdated, rebuild, recompute
from app.monitor.secondary import SecondaryMetrics
from app.monitor.webhook import Announcer, Notifier
from app.services.control.aliases import CHAMPION, ChampionElsewhere
from app.services.control.config_watcher import new_experiment_id
from app.services.control.decisions import Decisions, Dependencies
from app.settings import Settings
from app.store import kinds, statements
from app.store.archive.source import ArchivedLog
from app.store.configurations import ConfigurationLog, DecisionTable
from app.store.deployment import DeploymentKey
from app.store.drift_reports import DriftTable
from app.store.engine import Database
from app.store.erasures import Erasures
from app.store.event_log import EventLog, HeartbeatLog
from app.store.keys import load_or_create
from app.store.kinds import StoreLock
from app.store.metric_states import MetricStates
from app.store.projections import NoticeState, ProjectionStore
from app.store.reports import MonitorReads, ReportTable
from app.store.rewriting import OldRows
from app.store.stamps import stamped_at_s

_LOG = logging.getLogger(__name__)
# Projections that nobody waits for: one that begins on a long log does not make the monitor late.
_UNHURRIED = frozenset(("breakdown2", "disagreements"))
_ANOTHER_REBUILD = "another rebuild runs on this data"


class OnceDone(NamedTuple):
    """The result of processing the log once: the number of rows, and the report of the newest experiment."""

    rows: int
    report: ExperimentReport | None


class Monitor:
    """The monitor of the deployment that `settings` describe. Building it reads no log; `close` it at the end.

    Raises `SettingError`, also where the deployment's key can be neither made nor read.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database = Database(settings.store_url)
        self.log = EventLog(self._database, ArchivedLog(settings.archive_to))
        self.live = self._space("")
        keys = load_or_create(settings.data_dir, settings.deployment_key_file)
        self._key = DeploymentKey(self._database, keys.fingerprint, setting=settings.key_setting)
        self._registry = ModelRegistry(storage_of(settings), keys.registry)
        drift, references = DriftTable(self._database), References(self._registry)
        self._experiments = ExperimentProjection()
        self.projections: Sequence[Projection] = (
            self._experiments,
            DriftProjection(references, drift),
            DisagreementProjection(),
            BreakdownProjection(references),
        )
        self._drift_check = DriftCheck(ConfigurationLog(self._database).latest, drift.standing)
        self._publisher = Publisher(self.log, self.live.states, self.live.reports, now_us, self._drift_check)
        self._metric_states = MetricStates(self._database, now_us)
        self._secondary = SecondaryMetrics(self.log, self._metric_states, self.live.states)
        self._heartbeat = ReportTable(self._database, now_us).heartbeat
        self._reads = MonitorReads(self._database, now_us)
        self._waits = False

    def run(self, stop: threading.Event) -> None:
        """Run until `stop` is set, which is checked between ticks. Waits while another monitor runs on this data.

        Raises `SettingError` where the store has another deployment's key.
        """
        with contextlib.suppress(StoreUnavailable):  # `_prepare` asks again
            self._key.require()
        notifier = Notifier(self._settings.notify_webhook_url) if self._settings.notify_webhook_url else None
        loop = self._loop(notifier)
        with self._lock(kinds.MONITOR) as lock:
            if not wait_for(lock, stop):
                return
            with _sending(notifier), _archiving(self._settings), self._telling_mlflow():
                loop.run(stop, lock.held)
                # A server that was away has forgotten the lock, or has given it to another monitor.
                while not stop.is_set() and wait_for(lock, stop, lost=True):
                    loop.run(stop, lock.held)

    @contextlib.contextmanager
    def _telling_mlflow(self) -> Iterator[None]:
        """Repeat the champion on the MLflow server within the block, where MLFLOW_TRACKING_URI is set."""
        if self._settings.mlflow is None:
            yield
            return
        server, registry = MlflowServer(self._settings.mlflow), self._registry

        def point(version: str) -> str | None:
            there = server.registered(registry.manifest(version))
            if there is None:
                return None
            server.point(CHAMPION, there)
            return f"{there.name} version {there.version}"

        elsewhere = ChampionElsewhere(ConfigurationLog(self._database).latest, point)
        elsewhere.start()
        try:
            yield
        finally:
            elsewhere.stop()

    def once(self) -> OnceDone:
        """Process all of the log, and publish.

        Raises `Contradiction` while a monitor runs, or has to wait for a rebuild, and `StoreUnavailable`.
        """
        with self._lock(kinds.MONITOR) as lock:
            if not lock.acquire():
                raise Contradiction("a monitor runs on this data already and processes everything: read its report")
            if not self._prepare(lambda: True):
                raise Contradiction(f"{_ANOTHER_REBUILD}: wait for it, or stop it")
            rows = process_together(self.projections, self.log, self.live.states)
            while self._secondary.step():
                pass
            self._publisher.publish()
            self._secondary.publish()
            self._heartbeat()
            stored = self._reads.report()
        return OnceDone(rows, stored.report if stored else None)

    def rebuild(self) -> Rebuilt:
        """Recompute everything from the log, also beside a running monitor, and compare.

        Raises `Contradiction` while another rebuild runs, and `StoreUnavailable`.
        """
        # A lock of its own: the running monitor need not stop.
        self._key.require()
        with self._lock(kinds.REBUILD) as lock:
            if not lock.acquire():
                raise Contradiction(f"{_ANOTHER_REBUILD}: wait for it, or stop it")
            fresh, notes = self._space(statements.REBUILD), Erasures(self._database)
            erasures = notes.since_rebuild()
            rebuilt = rebuild(self.projections, self.log, self.live, fresh, now_us, self._drift_check)
            metrics = self._secondary.rebuild()
            if erasures and all(each.ended_us is not None for each in erasures):
                notes.note_rebuilt(erasures[-1])
            equal = {**rebuilt.states_equal, **metrics}
            erased = sum(each.rows for each in erasures)
            return msgspec.structs.replace(rebuilt, states_equal=equal, erased=erased)

    def _prepare(self, going_on: Callable[[], bool]) -> bool:
        """Compute the experiments anew where another release wrote their state; false where that is not done yet.

        Raises `StoreUnavailable`, also where the store has another deployment's key.
        """
        self._key.admit()
        if not is_outdated(self.live.states):
            return True
        with self._lock(kinds.REBUILD) as lock:
            if not lock.acquire():
                self._log_waiting()
                return False
            fresh = self._space(statements.REBUILD)
            return recompute(self._experiments, self.log, self.live, fresh, now_us, going_on, self._drift_check)

    def _require_key(self) -> int:
        self._key.admit()  # nothing is processed once another key is the deployment's
        return 0

    def _log_waiting(self) -> None:
        if not self._waits:
            _LOG.warning("monitor_waits", extra={"event_fields": {"reason": _ANOTHER_REBUILD}})
        self._waits = True

    def close(self) -> None:
        """Close the connections to the store."""
        self._database.close()

    def _space(self, space: str) -> Space:
        return Space(ProjectionStore(self._database, now_us, space), ReportTable(self._database, now_us, space))

    def _lock(self, name: str) -> contextlib.AbstractContextManager[StoreLock]:
        return kinds.monitor_lock(self._settings.data_dir, self._database.kind, name)

    def _loop(self, notifier: Notifier | None) -> Loop:
        decisions = Decisions(DecisionTable(self._database), self._dependencies())
        rounds = Rounds(self.log, self.live.states)
        steps = {each.name: partial(rounds.step, each) for each in self.projections}
        return Loop(
            {"key": self._require_key, **{name: work for name, work in steps.items() if name not in _UNHURRIED}},
            self._publisher.publish,
            self._heartbeat,
            self._after_reports(decisions, notifier),
            self._ticks(decisions),
            prepare=self._prepare,
            behind={
                "secondary metrics": self._secondary.step,
                "old rows": OldRows(self._database).step,
                **{name: work for name, work in steps.items() if name in _UNHURRIED},
            },
        )

    def _after_reports(self, decisions: Decisions, notifier: Notifier | None) -> list[AfterReports]:
        configuration = ConfigurationLog(self._database).latest
        after: list[AfterReports] = [AutomaticDecisions(decisions, configuration)]
        if notifier is not None:
            # Behind the decisions: the notice of an automatic decision goes out in the same tick.
            table = DecisionTable(self._database)
            after.append(Announcer(NoticeState(self._database), table, configuration, notifier.notify))
        return after

    def _ticks(self, decisions: Decisions) -> Mapping[str, Callable[[], None]]:
        """The controls that go by the clock, and act also where there is no traffic."""
        configuration = ConfigurationLog(self._database).latest
        windows = (ProjectionStore(self._database, now_us), self._metric_states)
        heartbeats = HeartbeatLog(self._database, now_us)
        return {
            "secondary metrics": self._secondary.publish,
            "heartbeats": HeartbeatControl(windows, heartbeats, now_us),
            "ramp": RampControl(decisions, configuration, self._knowledge, now_us),
            "bandit": Bandit(decisions, configuration, self._report, now_us),
        }

    def _dependencies(self) -> Dependencies:
        return Dependencies(
            report=self._report,
            probe=http_probe(self._settings.api_url),
            now_us=now_us,
            new_id=new_experiment_id,
        )

    def _report(self, experiment_id: str) -> ExperimentReport | None:
        stored = self._reads.report(experiment_id)
        return stored.report if stored else None

    def _knowledge(self, experiment_id: str) -> ExperimentKnowledge:
        """The report of an experiment, and the state that it was made of or a newer one. Raises `StoreUnavailable`."""
        first = self.log.first_configuration(experiment_id)
        name = f"{NAME}/{experiment_id}"
        body = self.live.states.states([name]).get(name)
        state = None if first is None or body is None else load_state(plan_of(first), body)
        return ExperimentKnowledge(self._report(experiment_id), state)


@contextlib.contextmanager
def _archiving(settings: Settings) -> Iterator[None]:
    """Archive every night within the block, where KEEP_LOG is set."""
    if settings.keep_log_s is None:
        yield
        return
    command = (sys.executable, "-m", "app", "archive", "--json")
    nightly = Nightly(command, lambda: round((stamped_at_s(settings.data_dir, "archive") or 0) * 1e6), now_us)
    nightly.start()
    try:
        yield
    finally:
        nightly.stop()


@contextlib.contextmanager
def _sending(notifier: Notifier | None) -> Iterator[None]:
    """Send notices within the block, and those that still wait for a moment after it."""
    if notifier is None:
        yield
        return
    notifier.start()
    try:
        yield
    finally:
        notifier.stop()
