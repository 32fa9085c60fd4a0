"""Builds and runs the parts of one worker process, after the fork."""

from __future__ import annotations

import ctypes
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial

from app import __version__
from app.bootstrap.parts import Shared, host_condition, monitor_lag, store_complaint
from app.clock import now_us
from app.domain.erasure import Tombstones
from app.domain.prediction_id import Signer
from app.errors import StoreUnavailable
from app.inference.registry import ModelRegistry
from app.monitor.breakdown import known_columns
from app.monitor.drift.references import References
from app.observe.metric_files import shared_directory
from app.observe.metrics import Metrics
from app.observe.state import StateSnapshot
from app.services.boundaries import FaultBoundary
from app.services.breakdown.on_demand import Sources
from app.services.control.aliases import AliasKeeper
from app.services.control.config_watcher import ConfigWatcher, new_experiment_id
from app.services.control.decisions import Decisions, Dependencies
from app.services.ports import LoadedVersion
from app.services.queries.breakdown import Breakdowns
from app.services.queries.disagreements import Disagreements
from app.services.queries.drift import Drift
from app.services.queries.experiments import Experiments
from app.services.queries.history import History
from app.services.queries.models import ModelQueries
from app.services.recording.feedback import Feedback
from app.services.recording.recorder import Recorder
from app.services.serving.assignments import Assignments
from app.services.serving.availability import lacking
from app.services.serving.breaker import BreakerWatch
from app.services.serving.health import Health, failure_in
from app.services.serving.live_models import LiveModels
from app.services.serving.load_shedding import LoadShedding
from app.services.serving.pace import Pace
from app.services.serving.predictor import Predictor
from app.services.serving.reload import Reload
from app.services.snapshot import CachedSnapshot
from app.store.archive.marks import archived_until_us
from app.store.archive.source import ArchivedLog
from app.store.configurations import DecisionTable
from app.store.disagreements import DisagreementTable
from app.store.drift_reports import DriftTable
from app.store.history import OwnKeys, PredictionHistory
from app.store.host_files import SharedProgress
from app.store.newest_outcomes import NewestOutcomes
from app.store.outcomes import FeedbackLog
from app.store.predictions import PredictionLog
from app.store.projections import ProjectionStore
from app.store.reports import ExperimentTable, MonitorReads
from app.web.allowed_hosts import ListenerHosts
from app.web.app import ALWAYS_ANSWERED, create_flask, fast_lane
from app.web.dependencies import Services
from app.web.front import Front
from app.web.wrong_tokens import WrongTokens

_LOG = logging.getLogger(__name__)
_POLL_S = 0.25
_TICKS_OF_REGISTRY = 20
# However many scrape this worker, it reads the store for them once a second.
_STATE_TTL_S = 1.0
# Less than gunicorn's graceful timeout, which would kill the process in the middle of a write.
_STOP_S = 20.0


def give_back_freed() -> None:
    """Return the C library's free memory to the system; does nothing where that is not glibc."""
    # A reload loads versions on any request thread, and glibc keeps what a thread has freed for that thread: without
    # this, resident memory grows with every reload until each thread has done one.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class MemoryRelease:
    """Calls `release` a number of ticks after versions were replaced: requests that use the old ones must end first."""

    def __init__(self, release: Callable[[], None] = give_back_freed, ticks: int = 4) -> None:
        self._release = release
        self._ticks = ticks
        self._left = 0

    def soon(self) -> None:
        """Start to count: versions were replaced just now."""
        self._left = self._ticks

    def tick(self) -> None:
        """Count one tick."""
        if self._left:
            self._left -= 1
            if not self._left:
                self._release()


def is_behind(live: LiveModels, registry: ModelRegistry) -> bool:
    """Whether the registry on S3 was away when it was to be read, or has a version with traffic that is not loaded."""
    models = live.loaded_models
    refused = {each.name for each in models.refused}
    if any(each.registry for each in models.refused):
        return True  # also where the copy had all versions: `/health` says so until the registry has been read
    lacked = set(lacking(live.configuration, models.versions)) - refused
    return bool(lacked) and not lacked.isdisjoint(registry.names())


class Worker:
    """One serving process, made and started after the fork; `front` answers requests."""

    def __init__(
        self,
        shared: Shared,
        live: LiveModels,
        watcher: ConfigWatcher,
        reload: Reload,
        load_shedding: LoadShedding,
        draining: Callable[[], bool],
    ) -> None:
        database = shared.database
        self._live = live
        self._watcher = watcher
        self._reload = reload
        self._registry, self._registry_is_shared = shared.registry, shared.settings.model_bucket is not None
        self._keeper = AliasKeeper(shared.registry)
        self._stopping = threading.Event()
        self._declared: Mapping[str, LoadedVersion] = {}
        self._pace = Pace()
        self._reads = MonitorReads(database, now_us)
        self._drift = Drift(live, DriftTable(database, shared.key.admit), now_us, shared.registry.reference_history)
        self._complaint = partial(store_complaint, database, shared.key)
        self._condition = partial(host_condition, shared.settings, database, shared.key)
        state: CachedSnapshot[StateSnapshot] = CachedSnapshot(time.monotonic, _STATE_TTL_S)
        self._metrics = Metrics(partial(state.get, self._state), shared_directory())
        self._recorder = Recorder(
            PredictionLog(database, shared.key.admit),
            self._metrics,
            lambda: live.loaded_models,
            shared.settings.recorder_queue_rows,
            SharedProgress(shared.settings.data_dir / "progress"),
            backpressure=lambda: load_shedding.backpressure,
        )
        services = self._services(shared, draining)
        fast, flask = fast_lane(services), create_flask(services)
        hosts = ListenerHosts(shared.settings)
        self.front = Front(fast, flask, load_shedding, self._metrics, ALWAYS_ANSWERED, self._slow, hosts)

    def _services(self, shared: Shared, draining: Callable[[], bool]) -> Services:
        live, database, keys = self._live, shared.database, shared.keys
        signer = Signer(keys.predictions, os.urandom(4))
        lag = partial(monitor_lag, self._reads)
        own_keys = OwnKeys(database, now_us)
        archive = ArchivedLog(shared.settings.archive_to)
        turn, tombstones = shared.settings.data_dir / "feedback.turn", Tombstones(keys.erased)
        outcomes = FeedbackLog(database, now_us, turn, archive, tombstones, shared.key.admit)
        breakdowns = self._breakdowns(shared)
        return Services(
            settings=shared.settings,
            live=live,
            predictor=Predictor(live, self._recorder, signer, keys.salt, random.random, now_us, self._pace),
            assignments=Assignments(live, self._recorder, signer, keys.salt, now_us),
            feedback=Feedback(live, signer, outcomes, own_keys, self._recorder.logged),
            experiments=Experiments(live, self._reads, ExperimentTable(database), time.monotonic),
            breakdowns=breakdowns,
            disagreements=Disagreements(
                DisagreementTable(database),
                ExperimentTable(database),
                lambda: live.loaded_models,
                breakdowns.part,
                time.monotonic,
            ),
            decisions=Decisions(DecisionTable(database, shared.key.admit), self._dependencies()),
            drift=self._drift,
            health=Health(
                live,
                self._complaint,
                __version__,
                monitor_age_s=self._reads.age_s,
                monitor_lag=lag,
            ),
            catalogue=ModelQueries(live, shared.registry),
            history=History(
                PredictionHistory(database),
                own_keys,
                lambda: live.loaded_models,
                partial(archived_until_us, database),
            ),
            reload=self._reload,
            metrics=self._metrics,
            recorder=self._recorder,
            draining=draining,
            wrong_tokens=WrongTokens(self._metrics, time.monotonic, forwarded=shared.settings.trust_forwarded_for),
        )

    def _breakdowns(self, shared: Shared) -> Breakdowns:
        references = References(shared.registry)
        columns = partial(known_columns, references)
        sources = Sources(NewestOutcomes(shared.database), references.features, columns, time.monotonic)
        return Breakdowns(ProjectionStore(shared.database, now_us).states, ExperimentTable(shared.database), sources)

    def start(self) -> None:
        """Start to record, and to watch the configuration."""
        self._metrics.start()
        self._reload.start()
        self._declare()
        self._recorder.start()
        threading.Thread(target=self._follow, name="follow", daemon=True).start()
        threading.Thread(target=self._keep_up, name="registry", daemon=True).start()

    def stop(self) -> None:
        """Write the rows that are still queued, for up to `_STOP_S` seconds; rows beyond that are lost, and logged."""
        self._stopping.set()
        left = self._recorder.stop(_STOP_S)
        self._reload.stop()  # only now: a restore must not begin while rows are written
        if left:
            _LOG.error("rows_lost", extra={"event_fields": {"rows": left}})

    def _follow(self) -> None:
        """Apply new configurations, and export the breakers, as long as the process lives."""
        boundary = FaultBoundary(_LOG, "follow_failed")
        breakers = BreakerWatch(self._metrics)
        memory = MemoryRelease()
        while not self._stopping.wait(_POLL_S):
            with boundary:  # the next tick tries again; requests are answered from what is installed
                self._watcher.now()
                if self._declare():
                    memory.soon()
                memory.tick()
                breakers.check(self._live.breakers)

    def _keep_up(self) -> None:
        """Follow reloads, repair the aliases, and load again what this process lacks, as long as the process lives."""
        # On a thread of its own: a registry that does not answer must not hold up new configurations.
        boundary = FaultBoundary(_LOG, "registry_not_read")
        ticks = 0
        while not self._stopping.wait(_POLL_S):
            ticks += 1
            with boundary:
                self._reload.follow()
                # In every tick, not only after a change: a crash may have left the aliases half moved (ADR 11).
                self._keeper.keep(self._live.configuration)
                due = self._registry_is_shared and ticks % _TICKS_OF_REGISTRY == 0
                if (due and is_behind(self._live, self._registry)) or self._can_be_recorded():
                    self._reload.again()

    def _can_be_recorded(self) -> bool:
        """Whether the versions were loaded without the store, which can be asked now."""
        return self._live.loaded_models.unrecorded and self._complaint() is None

    def _declare(self) -> bool:
        """Declare the metric series of the loaded versions; whether they have changed since the last call."""
        # Compared in each tick, not reported by the reload, because a reload may run on any request's thread.
        loaded_models = self._live.loaded_models
        if self._declared is loaded_models.versions:
            return False
        self._declared = loaded_models.versions
        self._metrics.declare({name: version.sha256 for name, version in loaded_models.versions.items()})
        self._pace.measure(loaded_models.versions)
        return True

    def _slow(self) -> bool:
        return self._pace.slow(self._live.loaded_models.versions)

    def _dependencies(self) -> Dependencies:
        return Dependencies(
            report=lambda experiment_id: stored.report if (stored := self._reads.report(experiment_id)) else None,
            probe=lambda version: failure_in(self._live.loaded_models, version),
            now_us=now_us,
            new_id=new_experiment_id,
            follow=self._watcher.now,
            lacking=self._reload.lacking,
            nothing_loaded=lambda: None if self._live.loaded_models.versions else self._live.not_ready().message,
        )

    def _state(self) -> StateSnapshot:
        """The monitor's figures, with the weights that this process answers by; without them if the store is down."""
        weights = self._live.configuration.weights
        host = self._condition()
        try:
            monitor, drift = self._reads.snapshot(), self._drift.of_champion()
            return StateSnapshot(host=host, weights=weights, monitor=monitor, drift=drift)
        except StoreUnavailable:
            return StateSnapshot(weights=weights, host=host)
