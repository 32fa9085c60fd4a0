"""`POST /predict` and `/predict/batch`, from a WSGI environment to the bytes of the response.

They do without Flask, whose dispatch costs more than a prediction. Every request pays each microsecond spent here:
whatever can be built in advance is a constant of this module.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from app.domain.layouts import Layout
from app.domain.prediction import Assignment, Exposure, all_readable, readable
from app.domain.timestamps import iso_utc
from app.errors import BakeoffError, TooLarge
from app.services.serving.live_models import LiveState
from app.services.serving.predictor import PredictionRequest, Predictor, ServedPrediction
from app.web.dependencies import Services
from app.web.operations import require_scope
from app.web.predict_body import batch_rows, rows_in_blocks, single_row
from app.web.request import decoded, decoded_object, read_body, request_id_of
from app.web.response import JSON, Answer, Body, Environ, body_of, encode, problem_of

_LOG = logging.getLogger(__name__)
_CONTENT_TYPE = ("Content-Type", JSON)
# The answer to a larger batch is made while it is sent. A body that may be answered on the event loop has fewer rows.
_MOST_ROWS_AT_ONCE = 2048
_LEAST_PIECE, _MOST_PIECES = 1024, 24  # each piece passes from thread to thread, which waits for the interpreter's lock


# gc=False: answers hold no reference cycles, so the garbage collector need not track them.
class PredictionAnswer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The answer to one row.

    Regression has no `class_id`; a model without probabilities has no `probabilities` and no `confidence`.
    `latency_ms` is the time from the parsed request to the model's result.
    """

    prediction_id: str
    prediction: str | float
    class_id: int | UnsetType = UNSET
    confidence: float | UnsetType = UNSET
    probabilities: dict[str, float] | UnsetType = UNSET
    model_version: str
    assignment: Assignment
    latency_ms: float
    timestamp: str


class BatchItem(msgspec.Struct, frozen=True, gc=False):
    """The answer to one row of a batch; what is absent is as in `PredictionAnswer`."""

    prediction_id: str
    prediction: str | float
    class_id: int | UnsetType = UNSET
    confidence: float | UnsetType = UNSET
    probabilities: dict[str, float] | UnsetType = UNSET


class BatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answers to a batch, in the order of its rows; one version gave all of them."""

    predictions: list[BatchItem]
    count: int
    model_version: str
    assignment: Assignment
    latency_ms: float
    timestamp: str


def answer_to_one(served: ServedPrediction) -> PredictionAnswer:
    """The response record for one row."""
    exposure = served.exposure
    outputs = exposure.outputs
    class_id: int | UnsetType = UNSET
    confidence: float | UnsetType = UNSET
    named: dict[str, float] | UnsetType = UNSET
    if outputs.class_ids is None:
        assert outputs.values is not None
        prediction: str | float = outputs.values.tolist()[0]
    else:
        classes = served.version.contract.classes
        index: int = outputs.class_ids.tolist()[0]
        class_id, prediction = index, classes[index]
        if outputs.probabilities is not None:
            probabilities = [readable(p) for p in outputs.probabilities.tolist()[0]]
            confidence = probabilities[index]
            named = dict(zip(classes, probabilities, strict=True))
    return PredictionAnswer(
        prediction_id=exposure.prediction_ids[0],
        prediction=prediction,
        class_id=class_id,
        confidence=confidence,
        probabilities=named,
        model_version=exposure.version,
        assignment=exposure.assignment,
        latency_ms=latency_ms(exposure),
        timestamp=iso_utc(exposure.served_at_us),
    )


def answer_to_batch(served: ServedPrediction) -> Generator[bytes]:
    """The body of the answer to a batch, a `BatchAnswer`, in pieces: as a whole it may be many megabytes."""
    exposure = served.exposure
    whole = BatchAnswer(
        predictions=[],
        count=len(exposure),
        model_version=exposure.version,
        assignment=exposure.assignment,
        latency_ms=latency_ms(exposure),
        timestamp=iso_utc(exposure.served_at_us),
    )
    before, after = encode(whole).split(b"[]", 1)
    rows, classes = len(exposure), served.version.contract.classes
    size = max(_LEAST_PIECE, -(-rows // _MOST_PIECES))
    for start in range(0, rows, size):
        end = start + size
        head, tail = b"," if start else before + b"[", b"]" + after if end >= rows else b""
        # What a piece is made of has no name here: it is gone before the next one is made.
        yield b"".join((head, memoryview(encode(_items(exposure, classes, slice(start, end))))[1:-1], tail))


def latency_ms(exposure: Exposure) -> float:
    """Milliseconds from the parsed request to the result, to the microsecond."""
    return int(exposure.latency_s * 1e6 + 0.5) / 1000


def _items(exposure: Exposure, classes: tuple[str, ...], places: slice) -> list[BatchItem]:
    # By columns, and without a step of Python a row: in a large batch these objects cost more than the model.
    ids, outputs = exposure.prediction_ids[places], exposure.outputs.at(places)
    if outputs.class_ids is None:
        assert outputs.values is not None
        return [*map(BatchItem, ids, outputs.values.tolist())]
    class_ids = outputs.class_ids.tolist()
    names = map(classes.__getitem__, class_ids)
    if outputs.probabilities is None:
        return [*map(BatchItem, ids, names, class_ids)]
    shown = all_readable(outputs.probabilities)
    confidences = np.take_along_axis(shown, outputs.class_ids[:, np.newaxis], axis=1)[:, 0].tolist()
    return [*map(BatchItem, ids, names, class_ids, confidences, _by_class(classes, shown))]


def _by_class(classes: tuple[str, ...], probabilities: np.ndarray) -> Iterable[Any]:
    """Each row of probabilities as an object by the names of the classes, for the encoder."""
    record = _record_of(classes)
    if record is None:
        return [dict(zip(classes, row, strict=True)) for row in probabilities.tolist()]
    return map(record, *probabilities.T.tolist())


@lru_cache(64)
def _record_of(classes: tuple[str, ...]) -> Callable[..., msgspec.Struct] | None:
    """A record with a field for each class, which takes a third of the time and memory of a dictionary.

    None where a class has a name that msgspec does not write as a field's.
    """
    fields = [(f"class_{place}", float) for place in range(len(classes))]
    names = dict(zip((field for field, _ in fields), classes, strict=True))
    try:
        return msgspec.defstruct("Probabilities", fields, rename=names, frozen=True, gc=False)
    except ValueError:
        return None


def answer_predict(services: Services, environ: Environ) -> Answer:
    """Status, headers and body of `POST /predict`. Never raises."""
    return _respond(services, environ, _one)


def answer_predict_batch(services: Services, environ: Environ) -> Answer:
    """Status, headers and body of `POST /predict/batch`; one bad row refuses the batch. Never raises."""
    return _respond(services, environ, _many)


def _respond(services: Services, environ: Environ, ask: Callable[[Services, Environ, str], tuple[str, Body]]) -> Answer:
    request_id = request_id_of(environ)
    try:
        version, body = ask(services, environ, request_id)
    except Exception as error:  # noqa: BLE001 - nothing above catches it; counted, and logged if unexpected
        return _refusal(services, environ, error, request_id)
    headers = [_CONTENT_TYPE, ("X-Request-Id", request_id), ("X-Model-Version", version)]
    if isinstance(body, bytes):
        headers.insert(1, ("Content-Length", str(len(body))))
    return 200, headers, body


def _one(services: Services, environ: Environ, request_id: str) -> tuple[str, bytes]:
    body = decoded_object(checked_body(services, environ))
    forced = environ.get("HTTP_X_MODEL_VERSION")
    predictor = services.predictor
    state = predictor.live_state()
    columns = state.columns(forced)
    features, user_id, key = single_row(body, columns, environ)
    row, layout = columns.row(features)
    keys = () if key is None else (key,)
    served = predictor.predict(
        PredictionRequest(row, layout, state, request_id, forced, user_id, is_synthetic(environ), keys)
    )
    return served.version.name, encode(answer_to_one(served))


def _many(services: Services, environ: Environ, request_id: str) -> tuple[str, Body]:
    request = _batch(services, environ, request_id)
    if len(request.rows) <= _MOST_ROWS_AT_ONCE:
        served = services.predictor.predict(request)
        return served.version.name, b"".join(answer_to_batch(served))
    served = services.predictor.answer(request)
    pieces = _recorded_in_the_end(services.predictor, served)
    next(pieces)  # one that has not begun would be closed without its end
    return served.version.name, pieces


def _recorded_in_the_end(predictor: Predictor, served: ServedPrediction) -> Generator[bytes]:
    """The pieces of the answer, behind an empty one. The recorder, which needs the processor, waits for them."""
    try:
        yield b""
        yield from answer_to_batch(served)
    finally:
        predictor.record(served)


# Rows of shape (n, columns of the layout), the user id and the caller's own keys.
_Batch = tuple[np.ndarray, Layout, str | None, tuple[str, ...]]


def _batch(services: Services, environ: Environ, request_id: str) -> PredictionRequest:
    """The request as arrays. The body and the decoded rows, which take more memory, do not outlive this call."""
    body = checked_body(services, environ)
    forced = environ.get("HTTP_X_MODEL_VERSION")
    state = services.predictor.live_state()
    limit = services.settings.max_batch_rows
    batch = _large_batch(body, state, forced, environ, limit)
    if batch is None:
        values = decoded_object(body)
        columns = state.columns(forced)
        instances, user_id, keys = batch_rows(values, columns, environ)
        if len(instances) > limit:
            raise TooLarge(f"the batch has {len(instances)} rows; the limit is {limit}", field="instances")
        batch = (*columns.rows(instances), user_id, keys)
    rows, layout, user_id, keys = batch
    return PredictionRequest(rows, layout, state, request_id, forced, user_id, is_synthetic(environ), keys)


def _large_batch(body: bytes, state: LiveState, forced: str | None, environ: Environ, limit: int) -> _Batch | None:
    """The batch of a large body, whose rows are decoded block by block.

    None where that cannot be done, as where a row is at fault: which one, only the whole body tells.
    """
    try:
        columns = state.columns(forced)
        found = rows_in_blocks(body, lambda text: columns.decoded(text) or columns.rows(decoded(text)))
        if found is None:
            return None
        blocks, values = found
        last, user_id, keys = batch_rows(values, columns, environ, sum(len(rows) for rows, _ in blocks))
        blocks.append(columns.rows(last))
    except BakeoffError:
        return None
    layout = blocks[0][1]
    if sum(len(rows) for rows, _ in blocks) > limit or any(other is not layout for _, other in blocks):
        return None
    return np.concatenate([rows for rows, _ in blocks]), layout, user_id, keys


def checked_body(services: Services, environ: Environ) -> bytes:
    """The body of a caller who may predict. Raises what `read_body` and `require_scope` raise."""
    settings = services.settings
    # Before the token is checked: a client that is still sending its body would not read why it was refused.
    raw = read_body(environ, settings.max_body_bytes)
    if settings.api_token is not None or settings.predict_token is not None:
        services.wrong_tokens.check(lambda: require_scope("predict", settings, environ), environ)
    return raw


def is_synthetic(environ: Environ) -> bool:
    """Whether the caller marks the request as test traffic."""
    return environ.get("HTTP_X_TRAFFIC_KIND") == "synthetic"


def _refusal(services: Services, environ: Environ, error: Exception, request_id: str) -> Answer:
    problem = problem_of(error, environ)
    services.metrics.refused(problem.detail.code)
    # Only for debugging: clients' mistakes must not fill the log, and the metric counts them.
    _LOG.debug("request_refused", extra={"request_id": request_id, "event_fields": {"code": problem.detail.code}})
    body = body_of(problem.detail)
    headers = [
        _CONTENT_TYPE,
        ("Content-Length", str(len(body))),
        ("X-Request-Id", request_id),
        *problem.headers,
    ]
    return problem.status, headers, body
