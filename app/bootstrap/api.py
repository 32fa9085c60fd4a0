"""Builds the api before gunicorn forks: only what workers may share; each starts the rest after the fork."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from app.bootstrap.parts import Shared, breaker, generation_now, generations
from app.bootstrap.worker import Worker
from app.errors import StoreUnavailable
from app.inference.loader import load_models
from app.inference.registry import ModelRegistry
from app.inference.retirement import served_names
from app.inference.storage import storage_of
from app.services.control.config_watcher import Configurations, ConfigWatcher
from app.services.ports import LoadedModels
from app.services.serving.availability import MAKE_REACHABLE
from app.services.serving.live_models import LiveModels
from app.services.serving.load_shedding import LoadShedding
from app.services.serving.reload import Reload
from app.settings import Settings
from app.store.configurations import ConfigurationLog
from app.store.deployment import DeploymentKey
from app.store.engine import Database
from app.store.keys import load_or_create
from app.store.versions import StoredVersions
from app.web.response import Environ

_LOG = logging.getLogger(__name__)
_PUBLISH = "publish a version with `bakeoff train`, then POST /models/reload or restart the api"
_REPLACE = "publish a version in place of the refused ones, then POST /models/reload or restart the api"


def build_api(settings: Settings) -> Api:
    """The api, ready to be forked and started. Raises `SettingError`."""
    keys = load_or_create(settings.data_dir, settings.deployment_key_file)
    database = Database(settings.store_url)
    key = DeploymentKey(database, keys.fingerprint, setting=settings.key_setting)
    with contextlib.suppress(StoreUnavailable):  # the workers ask again
        key.require()
    registry = ModelRegistry(storage_of(settings), keys.registry, StoredVersions(database, key.admit))
    shared = Shared(settings, keys, registry, database, key)
    generation = generation_now(shared)  # before loading: a reload in between is then noticed
    loaded_models = load_models(shared.registry)
    _log_loaded(loaded_models)
    for complaint in settings.tokens.complaints():
        _LOG.warning("tokens", extra={"event_fields": {"reason": complaint.detail, "do": complaint.advice}})
    configurations = Configurations(ConfigurationLog(database), settings, admit=key.admit)
    configurations.load(loaded_models)
    database.close()  # an open connection must not cross the fork
    return Api(shared, loaded_models, generation, configurations)


class Api:
    """The WSGI callable of one process: made before the fork, and started after it, at the latest by a request."""

    def __init__(
        self, shared: Shared, loaded_models: LoadedModels, generation: str, configurations: Configurations
    ) -> None:
        self._shared = shared
        self._loaded_models: LoadedModels | None = loaded_models
        self._generation = generation
        self._configurations = configurations
        self._lock = threading.Lock()
        self._worker: Worker | None = None

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        worker = self._worker or self.start()
        return worker.front(environ, start_response)

    def start(self, draining: Callable[[], bool] = lambda: False, waiting: Callable[[], int] = lambda: 0) -> Worker:
        """Start the parts that must not cross a fork; later calls return the same worker.

        `draining` returns whether the server is about to stop, `waiting` how many requests wait to be answered.
        """
        # Locked: without gunicorn's hook, the first requests of several threads may all come here.
        with self._lock:
            if self._worker is None:
                self._worker = self._started(draining, LoadShedding(waiting, self._shared.settings.queued_requests))
            return self._worker

    def _started(self, draining: Callable[[], bool], load_shedding: LoadShedding) -> Worker:
        loaded_models, self._loaded_models = self._loaded_models, None  # a reload must be able to free it
        assert loaded_models is not None
        shared = self._shared
        live = LiveModels(
            loaded_models,
            self._configurations.current(),
            partial(breaker, shared.settings),
            published=partial(served_names, shared.registry),
            foreign=lambda: shared.key.foreign,
        )
        watcher = ConfigWatcher(self._configurations, live)
        reload = Reload(
            loaded_models=lambda: live.loaded_models,
            load=partial(load_models, shared.registry),
            serve=watcher.serve,
            generations=generations(shared),
            generation=self._generation,
        )
        del loaded_models
        worker = Worker(shared, live, watcher, reload, load_shedding, draining)
        worker.start()
        return worker

    def stop(self) -> None:
        """Write the rows that are still queued."""
        if self._worker is not None:
            self._worker.stop()


def _log_loaded(loaded_models: LoadedModels) -> None:
    for refused in loaded_models.refused:
        if refused.registry:
            fields = {"reason": f"{refused.name}: {refused.reason}", "do": MAKE_REACHABLE}
            _LOG.error("registry_unreachable", extra={"event_fields": fields})
            continue
        _LOG.error("version_refused", extra={"event_fields": {"version": refused.name, "reason": refused.reason}})
    if not loaded_models.versions:
        advice = _REPLACE if loaded_models.refused else _PUBLISH
        if any(refused.registry for refused in loaded_models.refused):
            advice = MAKE_REACHABLE
        _LOG.warning("nothing_to_serve", extra={"event_fields": {"do": advice}})
