"""Memory that a replaced version leaves behind, given back to the system.

The parts of one serving process, joined.
"""

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
from app.bootstrap.parts import Shared, host_condition, monitor_age_s, store_complaint
from app.clock import now_us
from app.domain.prediction_id import Signer
from app.errors import StoreUnavailable
from app.observe.metric_files import shared_directory
from app.observe.metrics import Metrics
from app.observe.state import StateSnapshot
from app.services.boundaries import FaultBoundary
from app.services.control.config_watcher import ConfigWatcher, new_experiment_id
from app.services.control.decisions import Decisions, Dependencies
from app.services.ports import LoadedVersion
from app.services.queries.drift import Drift
from app.services.queries.experiments import Experiments
from app.services.queries.history import History
from app.services.queries.models import ModelQueries
from app.services.recording.feedback import Feedback
from app.services.recording.recorder import Recorder
from app.services.serving.breaker import BreakerWatch
from app.services.serving.health import Health, failure_in
from app.services.serving.load_shedding import LoadShedding
from app.services.serving.predictor import LiveModels, Predictor
from app.services.serving.reload import Reload
from app.services.snapshot import CachedSnapshot
from app.store.configurations import DecisionTable
from app.store.drift_reports import DriftTable
from app.store.host_files import SharedProgress
from app.store.outcomes import FeedbackLog
from app.store.predictions import PredictionHistory, PredictionLog
from app.store.reports import ExperimentTable, MonitorReads
from app.web.app import ALWAYS_ANSWERED, create_flask, fast_lane
from app.web.dependencies import Services
from app.web.front import Front


def give_back_freed() -> None:
    """Return what the C library holds and nobody uses; does nothing where that is not glibc.

    Versions are loaded on whichever thread was asked to reload, and glibc keeps what each thread has freed for that
    thread: without this, resident memory grows with every reload until each of them has seen one.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class Tidying:
    """Calls `tidy` some turns after something was let go of: requests that began with it must have ended."""

    def __init__(self, tidy: Callable[[], None] = give_back_freed, turns: int = 4) -> None:
        self._tidy = tidy
        self._turns = turns
        self._left = 0

    def soon(self) -> None:
        """Something was let go of just now."""
        self._left = self._turns

    def tick(self) -> None:
        """Once in a while, always as often."""
        if self._left:
            self._left -= 1
            if not self._left:
                self._tidy()


_LOG = logging.getLogger(__name__)
_POLL_S = 0.25
# However many scrape this worker, it reads the store for them once a second.
_STATE_TTL_S = 1.0
_STOP_S = 20.0


class Worker:
    """Made and started after the fork; `front` answers requests."""

    def __init__(
        self,
        shared: Shared,
        live: LiveModels,
        following: ConfigWatcher,
        reload: Reload,
        admission: LoadShedding,
        draining: Callable[[], bool],
    ) -> None:
        database = shared.database
        self._live = live
        self._following = following
        self._reload = reload
        self._stopping = threading.Event()
        self._declared: Mapping[str, LoadedVersion] = {}
        self._reads = MonitorReads(database, now_us)
        self._drift = Drift(live, DriftTable(database), now_us)
        self._condition = partial(host_condition, shared.settings, database)
        state: CachedSnapshot[StateSnapshot] = CachedSnapshot(time.monotonic, _STATE_TTL_S)
        self._metrics = Metrics(partial(state.get, self._state), shared_directory())
        self._recorder = Recorder(
            PredictionLog(database),
            self._metrics,
            lambda: live.loaded_models,
            shared.settings.recorder_queue_rows,
            SharedProgress(shared.settings.data_dir / "progress"),
            backpressure=lambda: admission.backpressure,
        )
        services = self._services(shared, draining)
        fast, flask = fast_lane(services), create_flask(services)
        self.front = Front(fast, flask, admission, self._metrics, ALWAYS_ANSWERED)

    def _services(self, shared: Shared, draining: Callable[[], bool]) -> Services:
        live, database, keys = self._live, shared.database, shared.keys
        signer = Signer(keys.predictions, os.urandom(4))
        age_s = partial(monitor_age_s, self._reads)
        return Services(
            settings=shared.settings,
            live=live,
            predictor=Predictor(live, self._recorder, signer, keys.salt, random.random, now_us),
            feedback=Feedback(live, signer, FeedbackLog(database, now_us, shared.settings.data_dir / "feedback.turn")),
            experiments=Experiments(live, self._reads, ExperimentTable(database), time.monotonic),
            decisions=Decisions(DecisionTable(database), self._dependencies()),
            drift=self._drift,
            health=Health(live, partial(store_complaint, database), __version__, monitor_age_s=age_s),
            catalogue=ModelQueries(live, shared.registry),
            history=History(PredictionHistory(database), lambda: live.loaded_models),
            reload=self._reload,
            metrics=self._metrics,
            recorder=self._recorder,
            draining=draining,
        )

    def start(self) -> None:
        """Begin to record and to follow the configuration."""
        self._metrics.start()
        self._reload.start()
        self._declare()
        self._recorder.start()
        threading.Thread(target=self._follow, name="follow", daemon=True).start()

    def stop(self) -> None:
        """Write everything that waits, for as long as the server's own patience lasts."""
        self._stopping.set()
        left = self._recorder.stop(_STOP_S)
        if left:
            _LOG.error("rows_lost", extra={"event_fields": {"rows": left}})

    def _follow(self) -> None:
        """Install what others decided, and show the breakers, as long as the process lives."""
        boundary = FaultBoundary(_LOG, "follow_failed")
        breakers = BreakerWatch(self._metrics)
        tidying = Tidying()
        while not self._stopping.wait(_POLL_S):
            with boundary:  # the next tick tries again; requests are answered from what is installed
                self._following.now()
                self._reload.follow()
                if self._declare():
                    tidying.soon()
                tidying.tick()
                breakers.look(self._live.breakers)

    def _declare(self) -> bool:
        """Begin the series of what serves now, if it has changed; looked at each turn, because a reload may come from
        any request."""
        loaded_models = self._live.loaded_models
        if self._declared is loaded_models.versions:
            return False
        self._declared = loaded_models.versions
        self._metrics.declare({name: version.sha256 for name, version in loaded_models.versions.items()})
        return True

    def _dependencies(self) -> Dependencies:
        return Dependencies(
            report=lambda experiment_id: stored.report if (stored := self._reads.report(experiment_id)) else None,
            probe=lambda version: failure_in(self._live.loaded_models, version),
            now_us=now_us,
            new_id=new_experiment_id,
            follow=self._following.now,
            nothing_loaded=lambda: None if self._live.loaded_models.versions else self._live.not_ready().message,
        )

    def _state(self) -> StateSnapshot:
        """What the monitor has derived, with the weights that this process serves with."""
        weights = self._live.configuration.weights
        host = self._condition()
        try:
            monitor, drift = self._reads.snapshot(), self._drift.of_champion()
            return StateSnapshot(host=host, weights=weights, monitor=monitor, drift=drift)
        except StoreUnavailable:
            return StateSnapshot(weights=weights, host=host)
