"""The only place that knows concrete classes: makes the parts and joins them, when asked, never on import."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterable
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
from app.observe.state import StateSnapshot
from app.services.breaker import Breaker
from app.services.catalogue import Catalogue
from app.services.configuration import Configurations
from app.services.feedback import Feedback
from app.services.health import Health
from app.services.history import History
from app.services.ports import Fleet
from app.services.predict import Live, Predictor
from app.services.recorder import Recorder
from app.settings import Settings
from app.store.configs import ConfigurationLog
from app.store.engine import Database
from app.store.feedback import FeedbackLog
from app.store.history import PredictionHistory
from app.store.keys import Keys, load_or_create
from app.store.log import PredictionLog
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
    fleet = load_fleet(shelf)
    _announce(fleet)
    configurations = Configurations(ConfigurationLog(database), settings)
    configurations.load(fleet)
    database.close()  # nothing that is open may cross the fork
    return Api(settings, keys, shelf, fleet, database, configurations)


class Api:
    """The WSGI callable of one process: made before the fork, started after it (by the first request at the latest)."""

    def __init__(
        self,
        settings: Settings,
        keys: Keys,
        shelf: Shelf,
        fleet: Fleet,
        database: Database,
        configurations: Configurations,
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._shelf = shelf
        self._fleet = fleet
        self._database = database
        self._configurations = configurations
        self._lock = threading.Lock()
        self._worker: Worker | None = None

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        worker = self._worker or self.start()
        return worker.front(environ, start_response)

    def start(self, draining: Callable[[], bool] = lambda: False) -> Worker:
        """Start what may not cross a fork; `draining` tells when the server wants no more requests."""
        with self._lock:
            if self._worker is None:
                live = Live(self._fleet, self._configurations.current(), partial(_breaker, self._settings))
                worker = Worker(self._settings, self._keys, self._shelf, self._database, live, draining)
                worker.start(self._configurations)
                self._worker = worker
            return self._worker

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
        draining: Callable[[], bool],
    ) -> None:
        self._live = live
        self._stopping = threading.Event()
        self._metrics = Metrics(self._state, shared_directory())
        progress = SharedProgress(settings.data_dir / "progress")
        log = PredictionLog(database)
        self._recorder = Recorder(log, self._metrics, lambda: live.fleet, settings.recorder_queue_rows, progress)
        signer = Signer(keys.predictions, os.urandom(4))
        services = Services(
            settings=settings,
            live=live,
            predictor=Predictor(live, self._recorder, signer, keys.salt, random.random, _now_us),
            feedback=Feedback(live, signer, FeedbackLog(database, _now_us)),
            health=Health(live, partial(_store_complaint, database), __version__),
            catalogue=Catalogue(live, shelf),
            history=History(PredictionHistory(database), lambda: live.fleet),
            metrics=self._metrics,
            recorder=self._recorder,
            draining=draining,
        )
        direct = {
            "/predict": partial(answer_predict, services),
            "/predict/batch": partial(answer_predict_batch, services),
        }
        self.front = Front(direct, create_flask(services))

    def start(self, configurations: Configurations) -> None:
        """Begin to record and to follow the configuration."""
        self._metrics.start()
        self._metrics.declare({name: version.sha256 for name, version in self._live.fleet.versions.items()})
        self._recorder.start()
        threading.Thread(target=self._follow, args=(configurations,), name="follow", daemon=True).start()

    def stop(self) -> None:
        """Write everything that waits, for as long as the server's own patience lasts."""
        self._stopping.set()
        left = self._recorder.stop(_STOP_S)
        if left:
            _LOG.error("rows_lost", extra={"event_fields": {"rows": left}})

    def _follow(self, configurations: Configurations) -> None:
        """Install what others decided, and show the breakers, as long as the process lives."""
        while not self._stopping.wait(_POLL_S):
            try:
                changed = configurations.poll()
                if changed is not None:
                    self._live.configure(changed)
                    _LOG.info("configuration_installed", extra={"event_fields": {"epoch": changed.epoch}})
                for version, breaker in self._live.breakers.items():
                    self._metrics.breaker(version, breaker.state != "closed")
            except Exception:
                _LOG.exception("follow_failed")  # the next turn tries again; serving goes on with what is installed

    def _state(self) -> StateSnapshot:
        return StateSnapshot(weights=self._live.configuration.weights)


def _announce(fleet: Fleet) -> None:
    for refused in fleet.refused:
        _LOG.error("version_refused", extra={"event_fields": {"version": refused.name, "reason": refused.reason}})
    if not fleet.versions:
        _LOG.warning("nothing_to_serve", extra={"event_fields": {"do": "python -m app train, then restart the api"}})


def _breaker(settings: Settings) -> Breaker:
    return Breaker(settings.breaker_failures, settings.breaker_open_s, time.monotonic)


def _store_complaint(database: Database) -> str | None:
    try:
        database.probe()
    except StoreUnavailable as error:
        return error.message
    return None


def _now_us() -> int:
    return time.time_ns() // 1000
