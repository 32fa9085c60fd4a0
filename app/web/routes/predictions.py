"""Predictions, and the log of them: `POST /predict`, `POST /predict/batch` and `GET /predictions…`."""

from __future__ import annotations

from flask import Blueprint, Response, request
from werkzeug.datastructures import MultiDict

from app.domain.contract import VERSION_NAME
from app.domain.prediction import LONGEST_KEY, is_own_key
from app.domain.prediction_id import ID_LENGTH
from app.errors import InvalidRequest
from app.services.pages import LARGEST_PAGE
from app.services.queries.history import HistoryPage, Name
from app.services.queries.logged_answers import PredictionDetail
from app.web.dependencies import Services
from app.web.operations import Operation, Parameter, number_parameter
from app.web.predict_body import LONGEST_USER_ID
from app.web.prediction import BatchAnswer, PredictionAnswer, answer_predict, answer_predict_batch
from app.web.request import one_text, whole_number
from app.web.response import Answer, json_answer
from app.web.short_ids import page_for, row_for

DEFAULT_LIMIT = 100
# Recorders tick every 10 ms; this bounds the wait while one of them is busy.
FLUSH_S = 0.25

_PREDICTION_ID = {"type": "string", "pattern": f"^[A-Za-z0-9_-]{{{ID_LENGTH}}}$"}
_NAME = {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY}
OPTIONS = (
    Parameter(
        "X-Model-Version",
        "header",
        "Force a version: its answer is logged and never counted in the experiment.",
    ),
    Parameter(
        "X-User-Id",
        "header",
        "A user for a sticky assignment; `user_id` in the body takes precedence.",
        {"type": "string", "minLength": 1, "maxLength": LONGEST_USER_ID},
    ),
    Parameter(
        "X-Prediction-Key",
        "header",
        "The caller's own key for this case, as `id` in the body; for a batch of one row, as `ids`.",
        {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY},
    ),
    Parameter(
        "X-Request-Id",
        "header",
        "Returned in the response and logged; at most 128 printable ASCII characters, otherwise replaced by a new id.",
    ),
    Parameter(
        "X-Traffic-Kind",
        "header",
        "`synthetic` marks test traffic: neither the prediction nor its feedback counts. No other value has an effect.",
    ),
)
OPERATIONS = (
    Operation(
        method="post",
        path="/predict",
        tag="Predicting",
        summary="Predict one row",
        description="The split's policy chooses the version unless a header forces one.",
        access="predict",
        body="PredictRequest",
        answer=PredictionAnswer,
        parameters=OPTIONS,
        problems=(400, 404, 413, 503),
        fast=answer_predict,
    ),
    Operation(
        method="post",
        path="/predict/batch",
        tag="Predicting",
        summary="Predict many rows with one version",
        description="One invalid row rejects the whole batch, and the error names its index.",
        access="predict",
        body="BatchRequest",
        answer=BatchAnswer,
        parameters=OPTIONS,
        problems=(400, 404, 413, 503),
        fast=answer_predict_batch,
    ),
    Operation(
        method="get",
        path="/predictions/history",
        tag="Predicting",
        summary="Served predictions, newest first",
        answer=HistoryPage,
        parameters=(
            number_parameter("limit", "The number of predictions, at most.", DEFAULT_LIMIT, LARGEST_PAGE, 20),
            Parameter(
                "version",
                "query",
                "Only predictions that this version answered.",
                {"type": "string", "pattern": f"^{VERSION_NAME.pattern}$"},
            ),
            Parameter(
                "before", "query", "Predictions older than this id: the `next` of the previous page.", _PREDICTION_ID
            ),
            Parameter("id", "query", "Only predictions with this own key, of whatever age.", _NAME),
            Parameter("request_id", "query", "Only predictions of the request with this `X-Request-Id`.", _NAME),
        ),
        problems=(400, 404, 503),
    ),
    Operation(
        method="get",
        path="/predictions",
        tag="Predicting",
        summary="One prediction, by an own key or by its request",
        answer=PredictionDetail,
        parameters=(
            Parameter(
                "id", "query", "The caller's own key: the prediction that feedback with this key is about.", _NAME
            ),
            Parameter("request_id", "query", "Its `X-Request-Id`; of a batch, the first row.", _NAME),
        ),
        problems=(400, 404, 503),
    ),
    Operation(
        method="get",
        path="/predictions/{prediction_id}",
        tag="Predicting",
        summary="One prediction with everything that is known of it",
        answer=PredictionDetail,
        parameters=(Parameter("prediction_id", "path", "The id of the prediction.", _PREDICTION_ID),),
        problems=(404, 503),
    ),
)


def blueprint(services: Services) -> Blueprint:
    """The routes about predictions."""
    routes = Blueprint("predictions", __name__)

    @routes.post("/predict")
    def predict() -> Response:
        """The answer to one row."""
        return _as_response(answer_predict(services, request.environ))

    @routes.post("/predict/batch")
    def predict_batch() -> Response:
        """The answers to a batch."""
        return _as_response(answer_predict_batch(services, request.environ))

    @routes.get("/predictions/history")
    def history() -> Response:
        """A page of the log."""
        limit = whole_number(request.args, "limit", DEFAULT_LIMIT, LARGEST_PAGE)
        version, before = one_text(request.args, "version"), one_text(request.args, "before")
        name = _given_name(request.args)
        services.recorder.flush(FLUSH_S)  # a client that asks right after a prediction must find it
        page = services.history.page(limit, version, before, name)
        return json_answer(page_for(page, services.settings, request.environ))

    @routes.get("/predictions")
    def by_name() -> Response:
        """A prediction by its own key or its request."""
        name = _given_name(request.args)
        if name is None:
            raise InvalidRequest("give id (your own key) or request_id; /predictions/history lists all", field="id")
        return one(name)

    @routes.get("/predictions/<prediction_id>")
    def by_id(prediction_id: str) -> Response:
        """A prediction by its id."""
        return one(Name("prediction_id", prediction_id))

    def one(name: Name) -> Response:
        services.recorder.flush(FLUSH_S)
        return json_answer(row_for(services.history.one(name), services.settings, request.environ))

    return routes


def _given_name(query: MultiDict[str, str]) -> Name | None:
    """What the query searches by, None for nothing. Raises `InvalidRequest`."""
    key, request_id = one_text(query, "id"), one_text(query, "request_id")
    if key is not None and request_id is not None:
        raise InvalidRequest("give id or request_id, not both", field="request_id")
    for field, value in (("id", key), ("request_id", request_id)):
        # A request's id has the same limits.
        if value is not None and not is_own_key(value):
            raise InvalidRequest(f"{field} must have 1 to {LONGEST_KEY} printable characters", field=field)
    if key is not None:
        return Name("own_key", key)
    return None if request_id is None else Name("request_id", request_id)


def _as_response(answer: Answer) -> Response:
    status, headers, body = answer
    return Response(body, status, headers)
