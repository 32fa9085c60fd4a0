"""The only place that knows concrete classes: makes the parts and joins them, when asked, never on import."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from app import __version__
from app.domain.prediction_id import Signer
from app.errors import StoreUnavailable
from app.inference.loading import load_fleet
from app.inference.shelf import Shelf
from app.observe.folding import DeadWorkers
from app.observe.metric_files import shared_directory, wipe
from app.observe.metrics import Metrics
from app.observe.state import RecentState, StateSnapshot, state_of
from app.services.admission import Admission
from app.services.aliases import AliasKeeper
from app.services.breaker import Breaker
from app.services.breaker_watch import BreakerWatch
from app.services.catalogue import Catalogue
from app.services.configuration import Configurations, new_experiment_id
from app.services.deciding import World
from app.services.decisions import Decisions
from app.services.drift import Drift
from app.services.experiments import Experiments
from app.services.feedback import Feedback
from app.services.following import Following
from app.services.health import Health
from app.services.history import History
from app.services.ports import Fleet, LoadedVersion
from app.services.predict import Live, Predictor
from app.services.proof import flaw_in
from app.services.recorder import Recorder
from app.services.reload import Reload
from app.settings import Settings
from app.store.configs import ConfigurationLog
from app.store.decisions import DecisionTable
from app.store.drift import DriftTable
from app.store.engine import Database
from app.store.experiments import ExperimentTable
from app.store.feedback import FeedbackLog
from app.store.generations import SharedGenerations
from app.store.history import PredictionHistory
from app.store.keys import Keys, load_or_create
from app.store.log import PredictionLog
from app.store.monitor_reads import MonitorReads
from app.store.progress import SharedProgress
from app.web.app import create_flask
from app.web.front import Environ, Front
from app.web.predicting import answer_predict, answer_predict_batch
from app.web.services import Services

_LOG = logging.getLogger(__name__)
_POLL_S = 0.25
_STOP_S = 20.0


class Host:
    """What the master of a host's workers does for them."""

    def __init__(self, settings: Settings) -> None:
        self._directory = settings.metrics_dir
        self._dead = DeadWorkers(settings.metrics_dir)

    def prepare(self) -> None:
        """Before the first worker starts: an empty folder for their metrics."""
        wipe(self._directory)

    def retire(self, pid: int) -> None:
        """Keep what a dead worker had counted."""
        self._dead.fold(pid)


def build_api(settings: Settings) -> Api:
    """The api, ready to be forked and started. Raises `SettingError`."""
    keys = load_or_create(settings.data_dir)
    shelf = Shelf(settings.model_dir, keys.shelf)
    database = Database(settings.store_url)
    generation = _generations(settings).current()  # before the shelf: what comes in between is looked at again
    fleet = load_fleet(shelf)
    _announce(fleet)
    configurations = Configurations(ConfigurationLog(database), settings)
    configurations.load(fleet)
    database.close()  # nothing that is open may cross the fork
    return Api(settings, keys, shelf, fleet, generation, database, configurations)


class Api:
    """The WSGI callable of one process: made before the fork, started after it (by the first request at the latest)."""

    def __init__(
        self,
        settings: Settings,
        keys: Keys,
        shelf: Shelf,
        fleet: Fleet,
        generation: str,
        database: Database,
        configurations: Configurations,
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._shelf = shelf
        self._fleet: Fleet | None = fleet
        self._generation = generation
        self._database = database
        self._configurations = configurations
        self._lock = threading.Lock()
        self._worker: Worker | None = None

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        worker = self._worker or self.start()
        return worker.front(environ, start_response)

    def start(self, draining: Callable[[], bool] = lambda: False, waiting: Callable[[], int] = lambda: 0) -> Worker:
        """Start what may not cross a fork.

        `draining` tells when the server wants no more requests, `waiting` how many wait for a thread.
        """
        with self._lock:
            if self._worker is None:
                self._worker = self._started(draining, Admission(waiting, self._settings.queued_requests))
            return self._worker

    def _started(self, draining: Callable[[], bool], admission: Admission) -> Worker:
        fleet, self._fleet = self._fleet, None  # a reload must be able to let go of it
        assert fleet is not None
        live = Live(fleet, self._configurations.current(), partial(_breaker, self._settings))
        following = Following(self._configurations, live, AliasKeeper(self._shelf))
        reload = Reload(
            fleet=lambda: live.fleet,
            load=partial(load_fleet, self._shelf),
            serve=following.serve,
            generations=_generations(self._settings),
            generation=self._generation,
        )
        del fleet
        worker = Worker(
            self._settings, self._keys, self._shelf, self._database, live, following, reload, admission, draining
        )
        worker.start()
        return worker

    def stop(self) -> None:
        """Write what was answered and not written yet."""
        if self._worker is not None:
            self._worker.stop()


class Worker:
    """The parts of one serving process, joined."""

    def __init__(
        self,
        settings: Settings,
        keys: Keys,
        shelf: Shelf,
        database: Database,
        live: Live,
        following: Following,
        reload: Reload,
        admission: Admission,
        draining: Callable[[], bool],
    ) -> None:
        self._live = live
        self._following = following
        self._reload = reload
        self._stopping = threading.Event()
        self._declared: Mapping[str, LoadedVersion] = {}
        self._metrics = Metrics(RecentState(self._state, time.monotonic), shared_directory())
        progress = SharedProgress(settings.data_dir / "progress")
        log = PredictionLog(database)
        self._recorder = Recorder(
            log,
            self._metrics,
            lambda: live.fleet,
            settings.recorder_queue_rows,
            progress,
            pressed=lambda: admission.pressed,
        )
        self._reads = reads = MonitorReads(database, _now_us)
        self._drift = Drift(live, DriftTable(database), _now_us)
        signer = Signer(keys.predictions, os.urandom(4))
        services = Services(
            settings=settings,
            live=live,
            predictor=Predictor(live, self._recorder, signer, keys.salt, random.random, _now_us),
            feedback=Feedback(live, signer, FeedbackLog(database, _now_us)),
            experiments=Experiments(live, reads, ExperimentTable(database), time.monotonic),
            decisions=Decisions(DecisionTable(database), self._world(reads)),
            drift=self._drift,
            health=Health(
                live, partial(_store_complaint, database), __version__, monitor_age_s=partial(_monitor_age_s, reads)
            ),
            catalogue=Catalogue(live, shelf),
            history=History(PredictionHistory(database), lambda: live.fleet),
            reload=reload,
            metrics=self._metrics,
            recorder=self._recorder,
            draining=draining,
        )
        direct = {
            "/predict": partial(answer_predict, services),
            "/predict/batch": partial(answer_predict_batch, services),
        }
        self.front = Front(direct, create_flask(services), admission, self._metrics)

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
        breakers = BreakerWatch(self._metrics)
        while not self._stopping.wait(_POLL_S):
            try:
                self._following.now()
                self._reload.follow()
                self._declare()
                breakers.look(self._live.breakers)
            except Exception:  # noqa: BLE001 - logged
                _LOG.exception("follow_failed")  # the next turn tries again; serving goes on with what is installed

    def _declare(self) -> None:
        """Begin the series of what serves now; looked at each turn, because a reload may come from any request."""
        fleet = self._live.fleet
        if self._declared is not fleet.versions:
            self._declared = fleet.versions
            self._metrics.declare({name: version.sha256 for name, version in fleet.versions.items()})

    def _world(self, reads: MonitorReads) -> World:
        return World(
            report=lambda experiment_id: stored.report if (stored := reads.report(experiment_id)) else None,
            probe=lambda version: flaw_in(self._live.fleet, version),
            now_us=_now_us,
            new_id=new_experiment_id,
            follow=self._following.now,
        )

    def _state(self) -> StateSnapshot:
        """What the monitor has derived, with the weights that this process serves with."""
        weights = self._live.configuration.weights
        try:
            return state_of(self._reads.snapshot(), weights, self._drift.of_champion())
        except StoreUnavailable:
            return StateSnapshot(weights=weights)


def _announce(fleet: Fleet) -> None:
    for refused in fleet.refused:
        _LOG.error("version_refused", extra={"event_fields": {"version": refused.name, "reason": refused.reason}})
    if not fleet.versions:
        _LOG.warning("nothing_to_serve", extra={"event_fields": {"do": "python -m app train, then restart the api"}})


def _generations(settings: Settings) -> SharedGenerations:
    return SharedGenerations(settings.data_dir / "reload")


def _breaker(settings: Settings) -> Breaker:
    return Breaker(settings.breaker_failures, settings.breaker_open_s, time.monotonic)


def _store_complaint(database: Database) -> str | None:
    try:
        database.probe()
    except StoreUnavailable as error:
        return error.message
    return None


def _monitor_age_s(reads: MonitorReads) -> float | None:
    try:
        return reads.age_s()
    except StoreUnavailable:
        return None


def _now_us() -> int:
    return time.time_ns() // 1000
