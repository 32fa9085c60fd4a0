"""Answers a predict request: chooses a version, asks it, falls back to another, and hands the record over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np

from app.domain.experiment import Configuration
from app.domain.prediction import CIRCUIT_OPEN, Assignment, Exposure, Failure, Outputs
from app.domain.prediction_id import Signer, user_hash
from app.domain.rows import RowParser
from app.errors import ModelFailed, NotReady
from app.routing.choice import Choice
from app.routing.policies import policy_for
from app.services.boundaries import attempt
from app.services.ports import LoadedModels, LoadedVersion, Sink
from app.services.serving.availability import PublishedNames, nothing_loaded, unknown_version
from app.services.serving.breaker import Breaker

_RETRY_AFTER_S = 5
_BREAKER_OPEN = "its circuit breaker is open after repeated failures, see GET /health"


class LiveState(msgspec.Struct, frozen=True):
    """The loaded models with a circuit breaker for each version; replaced as a whole."""

    loaded_models: LoadedModels
    breakers: Mapping[str, Breaker]
    published: PublishedNames

    def version(self, name: str) -> LoadedVersion:
        """The loaded version of that name. Raises `UnknownVersion`."""
        version = self.loaded_models.versions.get(name)
        if version is None:
            raise unknown_version(name, self.loaded_models.versions, "X-Model-Version")
        return version

    def parser(self, forced: str | None) -> RowParser:
        """The row parser of the version that will answer: the forced one, otherwise the reference version.

        Raises `UnknownVersion` and `NotReady`.
        """
        if forced is not None:
            return self.version(forced).parser
        if self.loaded_models.reference is None:
            raise self.not_ready()
        return self.loaded_models.versions[self.loaded_models.reference].parser

    def not_ready(self) -> NotReady:
        """The error while no version is loaded: why that is, and what to do."""
        return NotReady(nothing_loaded(self.loaded_models, self.published), retry_after_s=_RETRY_AFTER_S)


class PredictionRequest(msgspec.Struct, frozen=True):
    """Rows that fit the contract, shape (rows, features), and how to route them. `synthetic` traffic never counts.

    `state` is the live state whose parser read the rows: the version that answers must be of the same contract, also
    if a reload has replaced the loaded models in between. None: the state at the time of the answer. `keys` are the
    caller's own keys, one for each row or none at all.
    """

    rows: np.ndarray
    request_id: str
    forced: str | None = None
    user_id: str | None = None
    synthetic: bool = False
    state: LiveState | None = None
    keys: tuple[str, ...] = ()


class ServedPrediction(msgspec.Struct, frozen=True):
    """The answer: what is recorded of it, and the version that gave it."""

    exposure: Exposure
    version: LoadedVersion


def _nothing_published() -> Sequence[str]:
    return ()


class LiveModels:
    """What one worker serves with: the loaded models and the configuration, each replaced as a whole.

    `published` lists the model registry; it is called only to explain why no version is loaded.
    """

    def __init__(
        self,
        loaded_models: LoadedModels,
        configuration: Configuration,
        new_breaker: Callable[[], Breaker],
        published: PublishedNames = _nothing_published,
    ) -> None:
        self._new_breaker = new_breaker
        self._published = published
        self.configuration = configuration
        self.state = LiveState(loaded_models, {name: new_breaker() for name in loaded_models.versions}, published)

    @property
    def loaded_models(self) -> LoadedModels:
        """The loaded models."""
        return self.state.loaded_models

    @property
    def breakers(self) -> Mapping[str, Breaker]:
        """The circuit breaker of each loaded version."""
        return self.state.breakers

    def install(self, loaded_models: LoadedModels) -> None:
        """Serve with `loaded_models` from the next request on. A version that is unchanged keeps its breaker."""
        before = self.state
        breakers = {
            name: before.breakers[name] if before.loaded_models.versions.get(name) is version else self._new_breaker()
            for name, version in loaded_models.versions.items()
        }
        # One assignment: a request reads `state` once and sees either all of the old models or all of the new ones.
        self.state = LiveState(loaded_models, breakers, self._published)

    def configure(self, configuration: Configuration) -> None:
        """Route by `configuration` from the next request on."""
        self.configuration = configuration

    def not_ready(self) -> NotReady:
        """The error while no version is loaded; see `LiveState.not_ready`."""
        return self.state.not_ready()


class Predictor:
    """The use case of every predict call. `draw` returns a random number in [0, 1), `now_us` µs since 1970 (UTC)."""

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

    def live_state(self) -> LiveState:
        """The live state now, for a request that must be parsed and answered by the same loaded models."""
        return self._live.state

    def predict(self, request: PredictionRequest) -> ServedPrediction:
        """Answer the request and hand its record to the sink. Raises `UnknownVersion`, `NotReady` and `ModelFailed`."""
        started = time.perf_counter()
        state = request.state or self._live.state
        # Read once: a decision in the middle of a request must not mix two revisions in one record.
        configuration = self._live.configuration
        user = user_hash(self._salt, request.user_id) if request.user_id else 0
        choice = self._choose(state, configuration, request.forced, user)
        version, outputs, failures = self._answer(state, configuration, choice, request.rows)
        assignment: Assignment = choice.assignment if version.name == choice.version else "fallback"
        latency_s = time.perf_counter() - started
        # Revision 0 means that the store was away at start: no experiment to count for.
        counts = assignment != "forced" and configuration.epoch > 0 and not request.synthetic
        served_at_us = self._now_us()
        exposure = Exposure(
            prediction_ids=self._signer.sign_all(
                served_at_us=served_at_us,
                version_ordinal=version.ordinal,
                epoch=configuration.epoch,
                counts=counts,
                # A fallback was not drawn by the policy, so its propensity is unknown.
                randomised=counts and assignment != "fallback",
                sticky=assignment == "sticky",
                synthetic=request.synthetic,
                user_hash=user,
                answers=_answers(outputs),
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
            keys=request.keys,
        )
        self._sink.record(exposure)
        return ServedPrediction(exposure=exposure, version=version)

    def _choose(self, state: LiveState, configuration: Configuration, forced: str | None, user: int) -> Choice:
        if forced is not None:
            return Choice(version=state.version(forced).name, propensity=None, assignment="forced")
        compatible = state.loaded_models.compatible
        if not compatible:
            raise state.not_ready()
        return policy_for(configuration.policy, user)(configuration.weights, compatible, self._draw(), user)

    def _answer(
        self, state: LiveState, configuration: Configuration, choice: Choice, rows: np.ndarray
    ) -> tuple[LoadedVersion, Outputs, tuple[Failure, ...]]:
        """The outputs of the chosen version, or of another if it fails; a forced version has no fallback."""
        chosen = state.loaded_models.versions[choice.version]
        fallbacks = () if choice.assignment == "forced" else _by_weight(state.loaded_models, configuration, chosen.name)
        failures: tuple[Failure, ...] = ()
        for version in (chosen, *fallbacks):
            breaker = state.breakers[version.name]
            if not breaker.allows():
                failures += (Failure(version.name, CIRCUIT_OPEN),)
                continue
            outputs = attempt(version.runtime.predict, rows)
            if isinstance(outputs, Exception):
                breaker.failed()
                reason = type(outputs).__name__
                # The sink logs and counts it in the recorder's thread: logging costs more than a prediction.
                self._sink.failed(version.name, f"{reason}: {outputs}")
                failures += (Failure(version.name, reason),)
                continue
            breaker.succeeded()
            return version, outputs, failures
        if choice.assignment == "forced":
            reason = failures[-1].reason
            raise ModelFailed(chosen.name, reason, _BREAKER_OPEN if reason == CIRCUIT_OPEN else None)
        raise NotReady(f"no loaded version can answer: {_described(failures)}; see GET /health", retry_after_s=5)


def _answers(outputs: Outputs) -> np.ndarray:
    answers = outputs.class_ids if outputs.values is None else outputs.values
    assert answers is not None
    return answers


def _described(failures: Sequence[Failure]) -> str:
    """The failures for the client: names of error types only, since a model's message may hold data."""
    return ", ".join(
        f"{failure.version} {'is shut off' if failure.reason == CIRCUIT_OPEN else f'raised {failure.reason}'}"
        for failure in failures
    )


def _by_weight(loaded_models: LoadedModels, configuration: Configuration, but: str) -> tuple[LoadedVersion, ...]:
    names = [name for name in loaded_models.compatible if name != but]
    if len(names) > 1:
        names.sort(key=lambda name: -configuration.weights.get(name, 0.0))
    return tuple(loaded_models.versions[name] for name in names)
