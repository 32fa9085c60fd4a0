"""Prove a version by asking it for real: the only evidence of health that a flag cannot fake.

Whether the service can do its work: proven by a real prediction of each version, not by a flag.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast

import msgspec
import numpy as np

from app.domain.prediction import Outputs
from app.domain.typical_row import typical_row
from app.errors import NotReady
from app.services.ports import Fleet, LoadedVersion
from app.services.serving.predictor import Live

_LONG_REASON = 200


def flaw_in(fleet: Fleet, name: str) -> str | None:
    """What is wrong with the answers of the version called `name`; None where nothing is."""
    version = fleet.versions.get(name)
    return "it is not served" if version is None else flaw_of(version)


def flaw_of(version: LoadedVersion) -> str | None:
    """What is wrong with the version's answers to its examples; None where nothing is."""
    try:
        examples = cast("Sequence[Sequence[Any]]", version.manifest.get("examples") or ())
        rows = version.parser.rows([list(row) for row in examples] or [typical_row(version.contract)])
        return _flaw_in(version.runtime.predict(rows), len(rows))
    except Exception as error:  # noqa: BLE001 - whatever a model raises is the finding
        return f"{type(error).__name__}: {error}"[:_LONG_REASON]


def _flaw_in(outputs: Outputs, rows: int) -> str | None:
    answers = outputs.class_ids if outputs.values is None else outputs.values
    if answers is None or len(answers) != rows:
        return f"{rows} rows were asked and {0 if answers is None else len(answers)} answered"
    for numbers in (outputs.values, outputs.probabilities):
        if numbers is not None and not bool(np.isfinite(numbers).all()):
            return "an answer is not a finite number"
    return None


_LOG = logging.getLogger(__name__)
MONITOR_STALE_S = 30.0

Status = Literal["healthy", "degraded", "unhealthy"]


class VersionHealth(msgspec.Struct, frozen=True, omit_defaults=True):
    """One version: whether it is in memory, its breaker's state there, and what is wrong with it, if anything is."""

    loaded: bool
    circuit_breaker: str | None = None
    error: str | None = None


class MonitorHealth(msgspec.Struct, frozen=True):
    """Whether the monitor keeps up; `age_s` is how old its state is. It never makes the service degraded."""

    state: Literal["ok", "stale", "absent"]
    age_s: float | None = None


class HealthReport(msgspec.Struct, frozen=True, kw_only=True):
    """The whole state. `store` is `ok` or what is wrong with it; versions refused at loading are in `models` too."""

    status: Status
    models: Mapping[str, VersionHealth]
    store: str
    monitor: MonitorHealth
    version: str
    uptime_s: float


class _Proof(msgspec.Struct, frozen=True):
    """What was found at `at_s`: the error of each version that failed its proof, and of the store (None: fine)."""

    at_s: float
    fleet: Fleet
    errors: Mapping[str, str]
    store: str | None


class Health:
    """Reports on what one worker serves.

    The proofs are good for `ttl_s` seconds, so that probes cannot be used as load. `store` returns None or a reason
    (it must come back soon: it is called in a request); `monitor_age_s` the age of the monitor's state, None where
    there is none. `clock` is monotonic seconds.
    """

    def __init__(
        self,
        live: Live,
        store: Callable[[], str | None],
        version: str,
        *,
        monitor_age_s: Callable[[], float | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        ttl_s: float = 1.0,
    ) -> None:
        self._live = live
        self._store = store
        self._version = version
        self._monitor_age_s = monitor_age_s
        self._clock = clock
        self._ttl_s = ttl_s
        self._started_s = clock()
        self._lock = threading.Lock()
        self._proof: _Proof | None = None

    def report(self) -> HealthReport:
        """The state now; breakers are read afresh, proofs may be up to `ttl_s` old."""
        proof = self._proven()
        models = self._models(proof)
        return HealthReport(
            status=self._status(proof, models),
            models=models,
            store=proof.store or "ok",
            monitor=self._monitor(),
            version=self._version,
            uptime_s=round(self._clock() - self._started_s, 3),
        )

    def require_ready(self) -> None:
        """Nothing, where a version that routing uses answers and the store can be written; else raises `NotReady`."""
        proof = self._proven()
        if not proof.fleet.peers:
            raise NotReady(no_model(proof.fleet), retry_after_s=5)
        if not self._answers(proof):
            raise NotReady("no version can answer: see /health", retry_after_s=5)
        if proof.store is not None:
            raise NotReady(f"the store cannot be written: {proof.store}", retry_after_s=5)

    def _answers(self, proof: _Proof) -> bool:
        """Whether any version that routing uses passes its proof and is not shut off by its breaker."""
        breakers = self._live.breakers
        return any(
            name not in proof.errors and (name not in breakers or breakers[name].state != "open")
            for name in proof.fleet.peers
        )

    def _status(self, proof: _Proof, models: Mapping[str, VersionHealth]) -> Status:
        if not self._answers(proof):
            return "unhealthy"
        well = all(model.error is None and model.circuit_breaker == "closed" for model in models.values())
        return "healthy" if well and proof.store is None else "degraded"

    def _models(self, proof: _Proof) -> dict[str, VersionHealth]:
        breakers = self._live.breakers
        models = {
            name: VersionHealth(
                loaded=True,
                circuit_breaker=breakers[name].state if name in breakers else "closed",
                error=proof.errors.get(name),
            )
            for name in proof.fleet.versions
        }
        for refused in proof.fleet.refused:
            models.setdefault(refused.name, VersionHealth(loaded=False, error=refused.reason))
        return models

    def _monitor(self) -> MonitorHealth:
        age_s = self._monitor_age_s()
        if age_s is None:
            return MonitorHealth("absent")
        return MonitorHealth("ok" if age_s <= MONITOR_STALE_S else "stale", round(age_s, 3))

    def _proven(self) -> _Proof:
        """The current proof. Where another thread is at it, the last one: a slow model must not tie up all threads."""
        proof = self._proof
        if proof is not None and self._fresh(proof):
            return proof
        if not self._lock.acquire(blocking=proof is None):
            return cast(_Proof, proof)
        try:
            proof = self._proof
            if proof is None or not self._fresh(proof):
                proof = self._proof = self._prove()
            return proof
        finally:
            self._lock.release()

    def _fresh(self, proof: _Proof) -> bool:
        return proof.fleet is self._live.fleet and self._clock() - proof.at_s < self._ttl_s

    def _prove(self) -> _Proof:
        fleet = self._live.fleet
        found = {name: flaw_of(version) for name, version in fleet.versions.items()}
        errors = {name: error for name, error in found.items() if error is not None}
        before = self._proof.errors if self._proof is not None else {}
        for name in errors.keys() - before.keys():
            _LOG.warning("health_proof_failed", extra={"event_fields": {"version": name, "reason": errors[name]}})
        return _Proof(at_s=self._clock(), fleet=fleet, errors=errors, store=self._store())


def no_model(fleet: Fleet) -> str:
    """What to do where no version is served."""
    if fleet.refused:
        names = ", ".join(refused.name for refused in fleet.refused)
        return f"every version on the shelf is refused ({names}): see /health, or run `bakeoff train`"
    return "no model is on the shelf: run `bakeoff train`, then restart the api"
