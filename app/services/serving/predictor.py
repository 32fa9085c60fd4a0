"""Answers a predict request: chooses a version, asks it, falls back to another, and hands the record over."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from app.domain.columns import Reading
from app.domain.experiment import Configuration
from app.domain.layouts import Layout
from app.domain.prediction import CIRCUIT_OPEN, OWN_PROTOCOL, Assignment, Exposure, Failure, Outputs
from app.domain.prediction_id import Signer, user_hash
from app.errors import InvalidFeatures, InvalidRequest, ModelFailed, NotReady
from app.routing.choice import Choice
from app.routing.policies import policy_for
from app.services.boundaries import attempt
from app.services.ports import LoadedVersion, Sink
from app.services.serving.availability import lacking
from app.services.serving.live_models import LiveModels, LiveState
from app.services.serving.pace import Pace

_RETRY_AFTER_S = 5
_BREAKER_OPEN = "its circuit breaker is open after repeated failures, see GET /health"


class PredictionRequest(msgspec.Struct, frozen=True):
    """Rows, shape (rows, columns of `layout`), and how to route them. `synthetic` traffic never counts.

    `state` is the live state whose columns read the rows: the versions that answer must be those that `layout` knows,
    also if a reload has replaced the loaded models in between. `keys` are the caller's own keys, one for each row or
    none at all; `protocol` is the label of the call in metrics. With `needs_probabilities` only versions that give them
    can be chosen, as with a missing column.
    """

    rows: np.ndarray
    layout: Layout
    state: LiveState
    request_id: str
    forced: str | None = None
    user_id: str | None = None
    synthetic: bool = False
    keys: tuple[str, ...] = ()
    protocol: str = OWN_PROTOCOL
    needs_probabilities: bool = False


class ServedPrediction(msgspec.Struct, frozen=True):
    """The answer: what is recorded of it, and the version that gave it."""

    exposure: Exposure
    version: LoadedVersion


class Predictor:
    """The use case of every predict call.

    `draw` returns a random number in [0, 1), `now_us` µs since 1970 (UTC); `pace` takes how long versions need.
    """

    def __init__(
        self,
        live: LiveModels,
        sink: Sink,
        signer: Signer,
        salt: bytes,
        draw: Callable[[], float],
        now_us: Callable[[], int],
        pace: Pace | None = None,
    ) -> None:
        self._live = live
        self._sink = sink
        self._signer = signer
        self._salt = salt
        self._draw = draw
        self._now_us = now_us
        self._pace = pace or Pace()

    def live_state(self) -> LiveState:
        """The live state now: a request is parsed and answered by the same loaded models."""
        return self._live.state

    def predict(self, request: PredictionRequest) -> ServedPrediction:
        """Answer the request and hand its record to the sink. Raises what `answer` raises; then nothing is recorded."""
        served = self.answer(request)
        self.record(served)
        return served

    def record(self, served: ServedPrediction) -> None:
        """Hand the record of an answer to the sink, before the client has the whole answer."""
        self._sink.record(served.exposure)

    def answer(self, request: PredictionRequest) -> ServedPrediction:
        """Answer the request, which is to be recorded if the client gets the answer.

        Raises `UnknownVersion`, `NotReady`, `ModelFailed`, and `InvalidRequest` if probabilities are needed and neither
        a forced version nor any other gives them.
        """
        started = time.perf_counter()
        # Read once: a decision in the middle of a request must not mix two revisions in one record.
        configuration = self._live.configuration
        user = user_hash(self._salt, request.user_id) if request.user_id else 0
        choice = self._choose(request, configuration, user)
        version, outputs, failures = self._answer(request, configuration, choice)
        if request.needs_probabilities and outputs.probabilities is None:
            raise InvalidRequest(f"{version.name} gives no probabilities")
        assignment: Assignment = choice.assignment if version.name == choice.version else "fallback"
        latency_s = time.perf_counter() - started
        # Without a propensity no chance chose: the version was forced, or this process does not know the deployment's
        # split, or lacks one of its versions, or the key.
        counts = choice.propensity is not None and not request.synthetic
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
            layout=request.layout,
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
            protocol=request.protocol,
        )
        return ServedPrediction(exposure=exposure, version=version)

    def _choose(self, request: PredictionRequest, configuration: Configuration, user: int) -> Choice:
        """The version that chance, a user or a header chooses among those that can answer the request."""
        state, layout = request.state, request.layout
        if request.forced is not None:
            forced = state.version(request.forced)
            _require_columns(forced.name, layout)
            if request.needs_probabilities and not forced.gives_probabilities:
                raise InvalidRequest(f"{forced.name} gives no probabilities")
            return Choice(version=forced.name, propensity=None, assignment="forced")
        if not layout.able:
            raise state.not_ready()
        able = _able(request)
        if not able:
            raise InvalidRequest(f"no version that can read this request gives probabilities: {', '.join(layout.able)}")
        choice = policy_for(configuration.policy, user)(configuration.weights, able, self._draw(), user)
        # Revision 0 means that the store was away at start: the split is that of the settings, not the deployment's.
        strange = configuration.epoch == 0 or self._live.foreign()
        if strange or lacking(configuration, state.loaded_models.versions):
            # What is left of the split is another split than the one in force, whose propensities the epoch gives. With
            # another key, users have other versions, and no label will name what is answered here.
            return Choice(version=choice.version, propensity=None, assignment="fallback")
        return choice

    def _answer(
        self, request: PredictionRequest, configuration: Configuration, choice: Choice
    ) -> tuple[LoadedVersion, Outputs, tuple[Failure, ...]]:
        """The outputs of the chosen version, or of another if it fails; a forced version has no fallback."""
        chosen = request.state.loaded_models.versions[choice.version]
        fallbacks = () if choice.assignment == "forced" else _by_weight(request, configuration, chosen.name)
        failures: tuple[Failure, ...] = ()
        shut_off: list[LoadedVersion] = []
        for version in (chosen, *fallbacks):
            if not request.state.breakers[version.name].allows():
                failures += (Failure(version.name, CIRCUIT_OPEN),)
                shut_off.append(version)
                continue
            outputs = self._asked(version, request)
            if isinstance(outputs, Outputs):
                return version, outputs, failures
            failures += (outputs,)
        if choice.assignment == "forced":
            reason = failures[-1].reason
            raise ModelFailed(chosen.name, reason, _BREAKER_OPEN if reason == CIRCUIT_OPEN else None)
        return self._last_resort(request, shut_off, failures)

    def _last_resort(
        self, request: PredictionRequest, shut_off: Sequence[LoadedVersion], failures: tuple[Failure, ...]
    ) -> tuple[LoadedVersion, Outputs, tuple[Failure, ...]]:
        """The outputs of a version whose breaker is open. Raises `NotReady` if none answers.

        A few rows that each version fails on shut off all of them: then one of them may still answer this row.
        """
        for version in shut_off:
            outputs = self._asked(version, request)
            others = tuple(failure for failure in failures if failure.version != version.name)
            if isinstance(outputs, Outputs):
                return version, outputs, others
            failures = (*others, outputs)
        raise NotReady(
            f"no loaded version can answer: {_described(failures)}; see GET /health", retry_after_s=_RETRY_AFTER_S
        )

    def _asked(self, version: LoadedVersion, request: PredictionRequest) -> Outputs | Failure:
        """The version's outputs, or its failure, which is reported to its breaker and the sink."""
        breaker = request.state.breakers[version.name]
        started = time.perf_counter()
        outputs = attempt(_ask, version, request.layout.readers[version.name], request.rows)
        if len(request.rows) == 1:
            self._pace.note(version.name, time.perf_counter() - started)
        if isinstance(outputs, Exception):
            breaker.failed()
            reason = type(outputs).__name__
            # The sink logs and counts it in the recorder's thread: logging costs more than a prediction.
            self._sink.failed(version.name, f"{reason}: {outputs}")
            return Failure(version.name, reason)
        breaker.succeeded()
        return outputs


def _ask(version: LoadedVersion, reader: Reading, rows: np.ndarray) -> Outputs:
    return version.runtime.predict(reader.rows(rows))


def _require_columns(forced: str, layout: Layout) -> None:
    """Raise `InvalidFeatures` if the row lacks a column of the forced version."""
    column = layout.lacking.get(forced)
    if column is not None:
        raise InvalidFeatures(f"{forced} reads the column {column!r}, which is missing: give it by name", field=column)


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


def _able(request: PredictionRequest) -> Sequence[str]:
    """The versions that have all their columns, and give probabilities if these are needed."""
    able, versions = request.layout.able, request.state.loaded_models.versions
    return [name for name in able if versions[name].gives_probabilities] if request.needs_probabilities else able


def _by_weight(request: PredictionRequest, configuration: Configuration, but: str) -> tuple[LoadedVersion, ...]:
    names = [name for name in _able(request) if name != but]
    if len(names) > 1:
        names.sort(key=lambda name: -configuration.weights.get(name, 0.0))
    return tuple(request.state.loaded_models.versions[name] for name in names)
