"""Answer a request: choose a version, ask it, fall back to another, hand the record over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import msgspec
import numpy as np

from app.domain.experiment import Configuration
from app.domain.prediction import Assignment, Exposure, Failure, Outputs
from app.domain.prediction_id import Signer, user_hash
from app.domain.rows import RowParser
from app.errors import ModelFailed, NotReady, UnknownVersion
from app.routing.choice import Choice
from app.routing.policies import policy_for
from app.services.boundaries import attempt
from app.services.ports import LoadedModels, LoadedVersion, Sink
from app.services.serving.breaker import Breaker


class LiveState(msgspec.Struct, frozen=True):
    """A fleet and the breaker of each of its versions, swapped as one."""

    loaded_models: LoadedModels
    breakers: Mapping[str, Breaker]

    def parser(self, forced: str | None) -> RowParser:
        """The row parser of the version that will answer: the forced one's, else the reference's.

        Raises `UnknownVersion` and `NotReady`.
        """
        if forced is not None:
            return _version(self.loaded_models, forced).parser
        if self.loaded_models.reference is None:
            raise NotReady("no model is on the shelf: run `bakeoff train`, then restart the api", retry_after_s=5)
        return self.loaded_models.versions[self.loaded_models.reference].parser


class PredictionRequest(msgspec.Struct, frozen=True):
    """Rows that fit the contract, and how they are to be routed. `synthetic` marks load tests.

    `serving` is what gave the parser of the rows: who answers must read them in the same way, also where a reload
    has swapped the fleet since. None: what serves when it is answered.
    """

    rows: np.ndarray
    request_id: str
    forced: str | None = None
    user_id: str | None = None
    synthetic: bool = False
    serving: LiveState | None = None


class ServedPrediction(msgspec.Struct, frozen=True):
    """What is answered; `exposure` is also what is recorded."""

    exposure: Exposure
    version: LoadedVersion


class LiveModels:
    """What one worker serves with right now: the fleet and the configuration, each swapped as a whole."""

    def __init__(
        self, loaded_models: LoadedModels, configuration: Configuration, new_breaker: Callable[[], Breaker]
    ) -> None:
        self._new_breaker = new_breaker
        self.configuration = configuration
        self.serving = LiveState(loaded_models, {name: new_breaker() for name in loaded_models.versions})

    @property
    def loaded_models(self) -> LoadedModels:
        """The versions that serve."""
        return self.serving.loaded_models

    @property
    def breakers(self) -> Mapping[str, Breaker]:
        """The breaker of each served version."""
        return self.serving.breakers

    def install(self, loaded_models: LoadedModels) -> None:
        """Serve with `loaded_models` from the next request on; versions that stay as they are keep their breaker."""
        before = self.serving
        breakers = {
            name: before.breakers[name] if before.loaded_models.versions.get(name) is version else self._new_breaker()
            for name, version in loaded_models.versions.items()
        }
        self.serving = LiveState(loaded_models, breakers)

    def configure(self, configuration: Configuration) -> None:
        """Route by `configuration` from the next request on."""
        self.configuration = configuration


class Predictor:
    """The use case behind every way to ask for a prediction."""

    def __init__(
        self,
        live: LiveModels,
        sink: Sink,
        signer: Signer,
        salt: bytes,
        draw: Callable[[], float],
        now_us: Callable[[], int],
    ) -> None:
        self._live = live
        self._sink = sink
        self._signer = signer
        self._salt = salt
        self._draw = draw
        self._now_us = now_us

    def parser(self, forced: str | None) -> RowParser:
        """`LiveState.parser` of what serves now."""
        return self._live.serving.parser(forced)

    def serving(self) -> LiveState:
        """What serves now, for a request that is to be parsed and answered by one fleet."""
        return self._live.serving

    def predict(self, request: PredictionRequest) -> ServedPrediction:
        """Answer, and record what was served. Raises `UnknownVersion`, `NotReady` and `ModelFailed`."""
        started = time.perf_counter()
        serving = request.serving or self._live.serving
        configuration = self._live.configuration
        user = user_hash(self._salt, request.user_id) if request.user_id else 0
        choice = self._choose(serving.loaded_models, configuration, request.forced, user)
        version, outputs, failures = self._answer(serving, configuration, choice, request.rows)
        assignment: Assignment = choice.assignment if version.name == choice.version else "fallback"
        latency_s = time.perf_counter() - started
        counts = assignment != "forced" and configuration.epoch > 0
        served_at_us = self._now_us()
        answers = outputs.class_ids if outputs.values is None else outputs.values
        assert answers is not None
        exposure = Exposure(
            prediction_ids=self._signer.sign_all(
                served_at_us=served_at_us,
                version_ordinal=version.ordinal,
                epoch=configuration.epoch,
                counts=counts,
                randomised=counts and assignment != "fallback",
                sticky=assignment == "sticky",
                user_hash=user,
                answers=answers,
            ),
            served_at_us=served_at_us,
            request_id=request.request_id,
            rows=request.rows,
            version=version.name,
            chosen=choice.version,
            assignment=assignment,
            propensity=choice.propensity,
            epoch=configuration.epoch,
            counts=counts,
            user_hash=user,
            synthetic=request.synthetic,
            outputs=outputs,
            latency_s=latency_s,
            failures=failures,
        )
        self._sink.record(exposure)
        return ServedPrediction(exposure=exposure, version=version)

    def _choose(
        self, loaded_models: LoadedModels, configuration: Configuration, forced: str | None, user: int
    ) -> Choice:
        if forced is not None:
            _version(loaded_models, forced)
            return Choice(version=forced, propensity=None, assignment="forced")
        if not loaded_models.compatible:
            raise NotReady("no model is on the shelf: run `bakeoff train`, then restart the api", retry_after_s=5)
        return policy_for(configuration.policy, user)(
            configuration.weights, loaded_models.compatible, self._draw(), user
        )

    def _answer(
        self, serving: LiveState, configuration: Configuration, choice: Choice, rows: np.ndarray
    ) -> tuple[LoadedVersion, Outputs, tuple[Failure, ...]]:
        """The chosen version's outputs, or another's where it cannot answer (a forced one has no substitute)."""
        loaded_models, breakers = serving.loaded_models, serving.breakers
        chosen = loaded_models.versions[choice.version]
        substitutes = () if choice.assignment == "forced" else _by_weight(loaded_models, configuration, chosen.name)
        failures: tuple[Failure, ...] = ()
        for version in (chosen, *substitutes):
            breaker = breakers[version.name]
            if not breaker.allows():
                failures += (Failure(version.name, "circuit_open"),)
                continue
            outputs = attempt(version.runtime.predict, rows)
            if isinstance(outputs, Exception):
                breaker.failed()
                reason = type(outputs).__name__
                self._sink.failed(version.name, f"{reason}: {outputs}")
                failures += (Failure(version.name, reason),)
                continue
            breaker.succeeded()
            return version, outputs, failures
        if choice.assignment == "forced":
            raise ModelFailed(chosen.name, failures[-1].reason)
        raise NotReady("every version fails at the moment: see /health", retry_after_s=5)


def _by_weight(loaded_models: LoadedModels, configuration: Configuration, but: str) -> tuple[LoadedVersion, ...]:
    names = [name for name in loaded_models.compatible if name != but]
    if len(names) > 1:
        names.sort(key=lambda name: -configuration.weights.get(name, 0.0))
    return tuple(loaded_models.versions[name] for name in names)


def _version(loaded_models: LoadedModels, name: str) -> LoadedVersion:
    version = loaded_models.versions.get(name)
    if version is None:
        served = ", ".join(loaded_models.versions) or "none"
        raise UnknownVersion(f"no version {name[:64]!r} is served; there are: {served}", field="X-Model-Version")
    return version
