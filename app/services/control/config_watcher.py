"""Keeps one process on the newest configuration: settles it with the store at start, then follows what is decided.

Decisions are made in any process of any host; all of them read the store's newest row.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from app.clock import now_us
from app.domain.experiment import CaseFacts, Configuration, ExperimentTerms
from app.errors import SettingError, StoreUnavailable
from app.scoring.table import names_for
from app.services.control.reference_classes import reference_classes
from app.services.control.startup import AvailableVersions, reconcile
from app.services.ports import LoadedModels, LoadedVersion
from app.services.serving.live_models import LiveModels
from app.settings import Settings

_LOG = logging.getLogger(__name__)
_UNRECORDED = (
    "the store could not be asked which versions are retired when they were loaded: they are loaded again soon"
)


class ConfigurationStore(Protocol):
    """The store's side. Every call raises `StoreUnavailable`."""

    def newer_than(self, known: Configuration) -> Configuration | None: ...

    def settle(self, decide: Callable[[Configuration | None], Configuration | None]) -> Configuration | None: ...


def new_experiment_id() -> str:
    """A new id: sorts by the second in which it was made, and two of one second differ."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"


class Configurations:
    """The configuration of one process.

    While the store cannot be used, its revision is 0: requests are answered and never counted. `admit` is called before
    a configuration is settled or read, and raises `StoreUnavailable` where the store is that of another deployment.
    """

    def __init__(
        self,
        store: ConfigurationStore,
        settings: Settings,
        now_us: Callable[[], int] = now_us,
        new_id: Callable[[], str] = new_experiment_id,
        admit: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._admit = admit
        self._settings = settings
        self._now_us = now_us
        self._new_id = new_id
        self._available = AvailableVersions(versions=(), eligible=(), champion=None, task="classification")
        self._current = _nothing_to_serve(settings)
        self._unreachable = False
        self._unrecorded = False

    def current(self) -> Configuration:
        """The configuration in force, as far as this process knows."""
        return self._current

    def load(self, loaded_models: LoadedModels) -> Configuration:
        """Settle the configuration for `loaded_models`: at start, and after a reload.

        Raises `SettingError` if the settings do not fit the loaded models. A store that cannot be used raises nothing.
        """
        self._available, self._unrecorded = available_versions(loaded_models), loaded_models.unrecorded
        # Before the store is used: it shows whether the settings fit, and it is in force while the store is away.
        fallback = self._decide(None) or _nothing_to_serve(self._settings)
        if self._current.epoch == 0:
            self._current = fallback
        self._settle()
        if self._current.epoch and (lacked := self._available.lacked(self._current)):
            # Not even what the settings say.
            _LOG.warning("split_kept", extra={"event_fields": {"lacking": sorted(lacked)}})
        return self._current

    def poll(self) -> Configuration | None:
        """The configuration in force if it has changed since the last call, otherwise None. Cheap; never raises."""
        before = self._current
        # Revision 0: the store was away at start, so nothing is settled yet.
        if before.epoch == 0 and self._available.versions:
            self._settle()
        else:
            self._follow()
        return None if self._current is before else self._current

    def _settle(self) -> None:
        try:
            self._admit()
            if self._unrecorded:
                raise StoreUnavailable(_UNRECORDED)
            settled = self._store.settle(self._decide)
        except StoreUnavailable as error:
            self._log_away(error)
            return
        self._log_back()
        if settled is not None:
            self._current = settled

    def _follow(self) -> None:
        try:
            self._admit()
            newer = self._store.newer_than(self._current)
        except StoreUnavailable as error:
            self._log_away(error)
            return
        self._log_back()
        if newer is not None:
            self._current = newer

    def _decide(self, latest: Configuration | None) -> Configuration | None:
        return reconcile(self._settings, self._available, latest, self._now_us(), self._new_id)

    def _log_away(self, error: StoreUnavailable) -> None:
        # Once for each outage: this is called four times a second.
        if not self._unreachable:
            fields = {"reason": error.message, "epoch": self._current.epoch}
            _LOG.error("configuration_unreachable", extra={"event_fields": fields})
        self._unreachable = True

    def _log_back(self) -> None:
        if self._unreachable:
            _LOG.info("configuration_reachable")
        self._unreachable = False


def available_versions(loaded_models: LoadedModels) -> AvailableVersions:
    """The versions that a split can be over."""
    reference = loaded_models.versions.get(loaded_models.reference or "")
    return AvailableVersions(
        versions=tuple(loaded_models.versions),
        # One that another host has is no refused one: at weight 0 it would lose its traffic there, too.
        refused=tuple(refused.name for refused in loaded_models.refused if not refused.elsewhere),
        shared=loaded_models.shared,
        retired=tuple(loaded_models.retired),
        removed=loaded_models.removed,
        eligible=loaded_models.compatible,
        excluded=loaded_models.excluded,
        champion=loaded_models.aliases.get("champion"),
        task=reference.contract.task if reference else "classification",
        ordinals={version.name: version.ordinal for version in loaded_models.versions.values()},
        cases={name: _cases(version) for name, version in loaded_models.versions.items()},
        classes={name: reference_classes(version) for name, version in loaded_models.versions.items()},
    )


def waiting(loaded_models: LoadedModels, configuration: Configuration) -> Mapping[str, str]:
    """Why loaded versions that could take part are in no experiment: a version of the split that is lacked here."""
    new = [name for name in loaded_models.compatible if name not in configuration.weights]
    if not new or configuration.epoch == 0:
        return {}
    lacked = sorted(available_versions(loaded_models).lacked(configuration))
    are, them = ("is", "it") if len(lacked) == 1 else ("are", "them")
    retire = f", or `bakeoff retire {' '.join(lacked)}`" if loaded_models.shared else ""
    reason = (
        f"waits for {' and '.join(lacked)}, which {are} in the split and cannot be loaded on this host, so a reload "
        f"here begins no experiment: put {them} into this host's model registry{retire}; then POST /models/reload"
    )
    return dict.fromkeys(new, reason) if lacked else {}


def _cases(version: LoadedVersion) -> CaseFacts:
    return msgspec.convert(version.manifest.get("cases", {}), CaseFacts)


def _nothing_to_serve(settings: Settings) -> Configuration:
    return Configuration(
        epoch=0,
        experiment_id="",
        weights={},
        terms=ExperimentTerms(metric=settings.experiment_metric or names_for("classification")[0]),
        auto_decide=settings.auto_decide,
        drift_threshold=settings.drift_threshold,
        min_duration_s=settings.min_duration_s,
    )


class ConfigWatcher:
    """Installs the newest configuration in `live` each time `now` is called. Thread-safe.

    A background thread calls it several times a second, and a request that has just decided calls it at once.
    """

    def __init__(self, configurations: Configurations, live: LiveModels) -> None:
        self._configurations = configurations
        self._live = live
        # One at a time: an older configuration must not be installed over a newer one.
        self._lock = threading.Lock()

    def serve(self, loaded_models: LoadedModels) -> Configuration:
        """Serve with `loaded_models` and the configuration that follows from them, which is returned.

        Raises `SettingError` if the settings do not fit the loaded models; then nothing has changed.
        """
        with self._lock:
            try:
                configuration = self._configurations.load(loaded_models)
            except SettingError:
                # Back to the models that go on serving: `poll` must not settle for the rejected ones.
                self._configurations.load(self._live.loaded_models)
                raise
            self._live.install(loaded_models)
            self._live.configure(configuration)
            return configuration

    def now(self) -> None:
        """Check once. Raises nothing if the store cannot be used: serving continues with what is installed."""
        with self._lock:
            # Polling one indexed number costs 0.2 ms; a notification could be missed (ADR 11).
            changed = self._configurations.poll()
            if changed is not None:
                self._live.configure(changed)
                _LOG.info("configuration_installed", extra={"event_fields": {"epoch": changed.epoch}})
