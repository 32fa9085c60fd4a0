"""From a body of another protocol to a prediction and back: what all of these protocols share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from app.domain.layouts import Column, Layout, RequestColumns
from app.errors import InvalidRequest, TooLarge, UnknownModel, UnknownVersion
from app.services.serving.live_models import LiveState
from app.services.serving.predictor import PredictionRequest, ServedPrediction
from app.web.dependencies import Services
from app.web.operations import Parameter
from app.web.predict_body import header_key, header_user
from app.web.prediction import checked_body, is_synthetic
from app.web.protocols.contract import Protocol
from app.web.request import request_id_of
from app.web.response import Answer, Environ, problem_of

_LONG_TEXT = 60
MODEL = Parameter("model", "path", "The name of the served model (MODEL_NAME).")


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What a body asks: its rows, for whom, the caller's own keys, and whether probabilities must be among the answers.

    Nothing of the `count` rows is checked yet. `rows` are arrays or objects; where they come as columns, `table` has
    them, by name or in the order of a row that is an array.
    """

    rows: list[Any] = []
    table: Mapping[str, Column] | Sequence[Column] | None = None
    count: int
    user_id: str | None = None
    keys: tuple[str, ...] = ()
    needs_probabilities: bool = False


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """What a path chooses: the model (None: the path names none), and the version, or an alias of one."""

    model: str | None = None
    version: str | None = None
    alias: str | None = None


Reader = Callable[[bytes, RequestColumns, Environ], Question]
Writer = Callable[[ServedPrediction, str], Answer]


def answer(
    protocol: Protocol, services: Services, environ: Environ, chosen: Chosen, read: Reader, write: Writer
) -> Answer:
    """The whole answer. `read` gives the question of a body, `write` the answer with a request id. Never raises."""
    request_id = request_id_of(environ)
    try:
        body = checked_body(services, environ)
        served = _served(protocol, services, environ, chosen, read, body, request_id)
        try:
            return write(served, request_id)
        finally:
            # Behind the answer: the recorder needs the processor as well.
            services.predictor.record(served)
    except Exception as error:  # noqa: BLE001 - nothing above catches it; counted, and logged if unexpected
        problem = problem_of(error, environ)
        services.metrics.refused(problem.detail.code, protocol.name)
        return protocol.refused(problem, request_id)


def _served(
    protocol: Protocol, services: Services, environ: Environ, chosen: Chosen, read: Reader, body: bytes, request_id: str
) -> ServedPrediction:
    state = services.predictor.live_state()
    require_model(services, state, chosen.model)
    forced = forced_version(services, state, chosen, environ)
    columns = state.columns(forced)
    question = read(body, columns, environ)
    require_rows(services, question.count)
    rows, layout = _checked(columns, question)
    return services.predictor.answer(
        PredictionRequest(
            rows,
            layout,
            state,
            request_id,
            forced,
            question.user_id or user_of(environ),
            is_synthetic(environ),
            question.keys or key_of(environ, question.count),
            protocol.name,
            question.needs_probabilities,
        )
    )


def _checked(columns: RequestColumns, question: Question) -> tuple[np.ndarray, Layout]:
    if question.table is not None:
        return columns.table(question.table)
    # A row alone takes the shorter way, as at `/predict`, and its error needs no index.
    return columns.row(question.rows[0]) if question.count == 1 else columns.rows(question.rows)


def require_rows(services: Services, rows: int) -> None:
    """Raises `InvalidRequest` for an empty batch, and `TooLarge`."""
    if not rows:
        raise InvalidRequest("the batch is empty: give at least one row")
    limit = services.settings.max_batch_rows
    if rows > limit:
        raise TooLarge(f"the batch has {rows} rows; the limit is {limit}")


def model_name(services: Services, state: LiveState) -> str:
    """The name of the served model in paths."""
    return services.settings.model_name or state.model_name


def require_model(services: Services, state: LiveState, name: str | None) -> None:
    """Raise `UnknownModel` for another name than the served model's, and `NotReady` if no model is loaded."""
    if name is None or name == (own := model_name(services, state)):
        return
    if not state.loaded_models.versions:
        raise state.not_ready()
    raise UnknownModel(
        f"there is no model {name[:_LONG_TEXT]!r}; this service serves {own!r} (MODEL_NAME sets the name)"
    )


def forced_version(services: Services, state: LiveState, chosen: Chosen, environ: Environ) -> str | None:
    """The version that the path or the header X-Model-Version forces; None if the split's policy chooses.

    Some clients number versions: `1` is `v1`, unless a version is called so. Raises `UnknownVersion`, and
    `InvalidRequest` if path and header differ.
    """
    by_header: str | None = environ.get("HTTP_X_MODEL_VERSION")
    if chosen.version is None and chosen.alias is None:
        return by_header
    version = _of_alias(services, state, chosen.alias) if chosen.version is None else _numbered(state, chosen.version)
    if by_header is not None and by_header != version:
        raise InvalidRequest(f"the call forces {version!r} and X-Model-Version {by_header[:_LONG_TEXT]!r}: give one")
    return version


def _numbered(state: LiveState, version: str) -> str:
    versions = state.loaded_models.versions
    named = f"v{version}"
    return named if version.isdecimal() and version not in versions and named in versions else version


def _of_alias(services: Services, state: LiveState, alias: str | None) -> str:
    aliases: Mapping[str, str | None] = {
        **state.loaded_models.aliases,
        # The registry's alias follows a decision only later.
        "champion": services.live.configuration.champion,
    }
    version = aliases.get(alias or "")
    if version is None:
        known = ", ".join(sorted(name for name, target in aliases.items() if target)) or "none"
        raise UnknownVersion(f"no version has the alias {(alias or '')[:_LONG_TEXT]!r}; aliases: {known}")
    return version


def user_of(environ: Environ) -> str | None:
    """The user of the header X-User-Id. Raises `InvalidRequest`."""
    return header_user(environ) if "HTTP_X_USER_ID" in environ else None


def key_of(environ: Environ, rows: int) -> tuple[str, ...]:
    """The own key of the header X-Prediction-Key, which names one row. Raises `InvalidRequest`."""
    key = header_key(environ) if "HTTP_X_PREDICTION_KEY" in environ else None
    if key is not None and rows > 1:
        raise InvalidRequest(f"X-Prediction-Key names one row, and the batch has {rows}", field="X-Prediction-Key")
    return () if key is None else (key,)
