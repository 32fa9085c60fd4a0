"""The health report: each version is probed with a real prediction, because a flag can say "healthy" and be wrong."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast

import msgspec
import numpy as np

from app.domain.prediction import Outputs
from app.domain.report import MonitorLag
from app.domain.typical_row import typical_row
from app.errors import NotReady, StoreUnavailable
from app.services.boundaries import attempt
from app.services.control.config_watcher import waiting
from app.services.ports import LoadedModels, LoadedVersion
from app.services.serving.availability import FOREIGN, lacking, of_lacking
from app.services.serving.live_models import LiveModels
from app.services.snapshot import CachedSnapshot

_LOG = logging.getLogger(__name__)
_LONG_REASON = 200
MONITOR_STALE_S = 30.0
NOT_READ = (
    "this process has not read the configuration from the store since it started, so it does not know which version "
    "gets which traffic: see `store` in GET /health, and DATABASE_URL"
)

Status = Literal["healthy", "degraded", "unhealthy"]


def failure_in(loaded_models: LoadedModels, name: str) -> str | None:
    """What is wrong with the answers of the version called `name`; None if nothing is."""
    version = loaded_models.versions.get(name)
    return "it is not loaded" if version is None else failure_of(version)


def failure_of(version: LoadedVersion) -> str | None:
    """What is wrong with the version's answers to its own examples; None if nothing is."""
    found = attempt(_probe, version)
    return f"{type(found).__name__}: {found}"[:_LONG_REASON] if isinstance(found, Exception) else found


def _probe(version: LoadedVersion) -> str | None:
    examples = cast("Sequence[Sequence[Any]]", version.manifest.get("examples") or ())
    # A manifest of an older release, or of a foreign model, may have no examples.
    rows = version.parser.rows([list(row) for row in examples] or [typical_row(version.contract)])
    return _failure_in(version.runtime.predict(rows), len(rows))


def _failure_in(outputs: Outputs, rows: int) -> str | None:
    answers = outputs.class_ids if outputs.values is None else outputs.values
    if answers is None or len(answers) != rows:
        return f"{rows} rows were asked and {0 if answers is None else len(answers)} answered"
    for numbers in (outputs.values, outputs.probabilities):
        if numbers is not None and not bool(np.isfinite(numbers).all()):
            return "an answer is not a finite number"
    return None


class VersionHealth(msgspec.Struct, frozen=True, omit_defaults=True):
    """One version: whether it is loaded, the state of its circuit breaker, and what is wrong with it, if anything."""

    loaded: bool
    circuit_breaker: str | None = None
    error: str | None = None


class MonitorHealth(msgspec.Struct, frozen=True):
    """Whether the monitor keeps up; `age_s` is the age of its state. It never makes the service degraded.

    `unknown`: the store, which has that state, cannot be read.
    """

    state: Literal["ok", "stale", "absent", "unknown"]
    age_s: float | None = None


class HealthReport(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one worker. `store` is `ok` or what is wrong with it; `models` has refused versions too.

    `lag` is that of the monitor; None where the store cannot be read. `excluded` has the reason for each loaded version
    that takes no part in the experiment, which leaves the service healthy.
    """

    status: Status
    models: Mapping[str, VersionHealth]
    store: str
    monitor: MonitorHealth
    version: str
    uptime_s: float
    lag: MonitorLag | None = None
    excluded: Mapping[str, str] = msgspec.field(default_factory=dict)


class _Probe(msgspec.Struct, frozen=True):
    """The result of a health probe: the error of each version that failed it."""

    loaded_models: LoadedModels
    errors: Mapping[str, str]


class Health:
    """The use cases behind `GET /health` and `/health/ready`, for one worker.

    Versions and store are probed at most once every `ttl_s` seconds, so that health checks cannot be used as load.
    `store` returns None or what is wrong, and must return soon: it is called in a request. `monitor_age_s` returns the
    age of the monitor's state, None if there is none, or raises `StoreUnavailable`; `monitor_lag` returns how far it is
    behind. `clock` is monotonic seconds.
    """

    def __init__(
        self,
        live: LiveModels,
        store: Callable[[], str | None],
        version: str,
        *,
        monitor_age_s: Callable[[], float | None] = lambda: None,
        monitor_lag: Callable[[], MonitorLag | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        ttl_s: float = 1.0,
    ) -> None:
        self._live = live
        self._store = store
        self._version = version
        self._monitor_age_s, self._monitor_lag = monitor_age_s, monitor_lag
        self._clock = clock
        self._started_s = clock()
        self._probes: CachedSnapshot[_Probe] = CachedSnapshot(clock, ttl_s)
        self._stores: CachedSnapshot[str | None] = CachedSnapshot(clock, ttl_s)

    def report(self) -> HealthReport:
        """The state now; breakers are read at once, probes may be up to `ttl_s` old."""
        probe, store = self._latest_probe(), self._stores.get(self._store)
        models = self._models(probe)
        return HealthReport(
            status=self._status(probe, models, store),
            models=models,
            store=store or "ok",
            monitor=self._monitor(),
            version=self._version,
            uptime_s=round(self._clock() - self._started_s, 3),
            lag=self._monitor_lag(),
            excluded={**probe.loaded_models.excluded, **waiting(probe.loaded_models, self._live.configuration)},
        )

    def require_ready(self) -> None:
        """`require_answers`, and raise `NotReady` unless the store accepts writes."""
        self.require_answers()
        store = self._stores.get(self._store)
        if store is not None:
            reason = store.removeprefix("the store cannot be used: ")  # how it begins where it is away
            raise NotReady(f"the store cannot be written: {reason}", retry_after_s=5)

    def require_answers(self) -> None:
        """Raise `NotReady` unless a version answers, all with traffic are loaded, and the split is the deployment's.

        It does not ask the store: predictions are answered and wait in memory while that is away. A process that has
        not read a configuration since it started is not ready: it would answer by the settings' split.
        """
        probe = self._latest_probe()
        if self._live.foreign():  # first: it is why versions are refused and lacking here
            raise NotReady(FOREIGN, retry_after_s=5)
        if not probe.loaded_models.compatible:
            raise self._live.not_ready()
        for reason in self._lacking(probe.loaded_models).values():
            raise NotReady(reason, retry_after_s=5)
        if not self._answers(probe):
            raise NotReady("no loaded version can answer: see GET /health", retry_after_s=5)
        if self._live.configuration.epoch == 0:
            raise NotReady(NOT_READ, retry_after_s=5)

    def _answers(self, probe: _Probe) -> bool:
        """Whether any version that routing uses passes its probe and is not shut off by its breaker."""
        breakers = self._live.breakers
        return any(
            name not in probe.errors and (name not in breakers or breakers[name].state != "open")
            for name in probe.loaded_models.compatible
        )

    def _status(self, probe: _Probe, models: Mapping[str, VersionHealth], store: str | None) -> Status:
        if not self._answers(probe):
            return "unhealthy"
        well = all(model.error is None and model.circuit_breaker == "closed" for model in models.values())
        return "healthy" if well and store is None else "degraded"

    def _models(self, probe: _Probe) -> dict[str, VersionHealth]:
        breakers = self._live.breakers
        models = {
            name: VersionHealth(
                loaded=True,
                # A reload between the probe and this line may have removed the version.
                circuit_breaker=breakers[name].state if name in breakers else "closed",
                error=probe.errors.get(name),
            )
            for name in probe.loaded_models.versions
        }
        for refused in probe.loaded_models.refused:
            models.setdefault(refused.name, VersionHealth(loaded=False, error=refused.reason))
        for name, reason in self._lacking(probe.loaded_models).items():
            models.setdefault(name, VersionHealth(loaded=False, error=reason))
        return models

    def _lacking(self, loaded_models: LoadedModels) -> dict[str, str]:
        """The versions with traffic that are not loaded here, each with what to do about all; nothing if all are.

        With another key than the store's nothing: the split is not this process's then.
        """
        if self._live.foreign():
            return {}
        configuration = self._live.configuration
        names = lacking(configuration, loaded_models.versions)
        return dict.fromkeys(names, of_lacking(configuration, loaded_models)) if names else {}

    def _monitor(self) -> MonitorHealth:
        try:
            age_s = self._monitor_age_s()
        except StoreUnavailable:
            return MonitorHealth("unknown")
        if age_s is None:
            return MonitorHealth("absent")
        return MonitorHealth("ok" if age_s <= MONITOR_STALE_S else "stale", round(age_s, 3))

    def _latest_probe(self) -> _Probe:
        """Other loaded models are probed at once; a probe of the same ones is good for a while."""
        loaded_models = self._live.loaded_models
        return self._probes.get(lambda: self._probe_all(loaded_models), key=loaded_models)

    def _probe_all(self, loaded_models: LoadedModels) -> _Probe:
        found = {name: failure_of(version) for name, version in loaded_models.versions.items()}
        errors = {name: error for name, error in found.items() if error is not None}
        before = self._probes.last()
        # Logged when a version begins to fail, not once a second for as long as it does.
        for name in errors.keys() - (before.errors.keys() if before is not None else set()):
            _LOG.warning("health_proof_failed", extra={"event_fields": {"version": name, "reason": errors[name]}})
        return _Probe(loaded_models=loaded_models, errors=errors)
