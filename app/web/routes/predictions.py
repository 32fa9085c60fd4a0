"""`POST /predict`, `POST /predict/batch` and `GET /predictions/history`."""

from __future__ import annotations

from flask import Blueprint, Response, request

from app.domain.contract import VERSION_NAME
from app.domain.prediction_id import ID_LENGTH
from app.services.pages import LARGEST_PAGE
from app.services.queries.history import HistoryPage
from app.web.dependencies import Services
from app.web.operations import Operation, Parameter
from app.web.prediction import (
    LONGEST_USER_ID,
    Answer,
    BatchAnswer,
    PredictionAnswer,
    answer_predict,
    answer_predict_batch,
)
from app.web.request import one_text, whole_number
from app.web.response import json_answer

DEFAULT_LIMIT = 100
FLUSH_S = 0.25

_PREDICTION_ID = {"type": "string", "pattern": f"^[A-Za-z0-9_-]{{{ID_LENGTH}}}$"}
_OPTIONS = (
    Parameter(
        "X-Model-Version",
        "header",
        "Force a version: answered and logged, never counted in the experiment.",
    ),
    Parameter(
        "X-User-Id",
        "header",
        "A user for a sticky assignment; `user_id` in the body goes before it.",
        {"type": "string", "minLength": 1, "maxLength": LONGEST_USER_ID},
    ),
    Parameter(
        "X-Request-Id",
        "header",
        "Repeated in the answer and the log; at most 128 printable ASCII characters, else a new one is made.",
    ),
    Parameter("X-Traffic-Kind", "header", "`synthetic` marks load tests; any other word means nothing."),
)
OPERATIONS = (
    Operation(
        method="post",
        path="/predict",
        tag="Predicting",
        summary="Predict one row",
        description="The version is chosen by the split's policy unless a header forces one.",
        body="PredictRequest",
        answer=PredictionAnswer,
        parameters=_OPTIONS,
        problems=(400, 404, 413, 503),
    ),
    Operation(
        method="post",
        path="/predict/batch",
        tag="Predicting",
        summary="Predict many rows with one version",
        description="One bad row refuses the whole batch, and the error names its index.",
        body="BatchRequest",
        answer=BatchAnswer,
        parameters=_OPTIONS,
        problems=(400, 404, 413, 503),
    ),
    Operation(
        method="get",
        path="/predictions/history",
        tag="Predicting",
        summary="What was served, newest first",
        answer=HistoryPage,
        parameters=(
            Parameter(
                "limit",
                "query",
                "How many to list.",
                {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": DEFAULT_LIMIT},
                20,
            ),
            Parameter(
                "version",
                "query",
                "Only those that this version answered.",
                {"type": "string", "pattern": f"^{VERSION_NAME.pattern}$"},
            ),
            Parameter("before", "query", "The `next` of the page before this one.", _PREDICTION_ID),
        ),
        problems=(400, 404, 503),
    ),
)


def blueprint(services: Services) -> Blueprint:
    """The routes about predictions."""
    routes = Blueprint("predictions", __name__)

    @routes.post("/predict")
    def predict() -> Response:
        """One row."""
        return _as_response(answer_predict(services, request.environ))

    @routes.post("/predict/batch")
    def predict_batch() -> Response:
        """Many rows."""
        return _as_response(answer_predict_batch(services, request.environ))

    @routes.get("/predictions/history")
    def history() -> Response:
        """A page of the log, in which a reader finds what was answered to it before."""
        limit = whole_number(request.args, "limit", DEFAULT_LIMIT, LARGEST_PAGE)
        version, before = one_text(request.args, "version"), one_text(request.args, "before")
        services.recorder.flush(FLUSH_S)
        return json_answer(services.history.page(limit, version, before))

    return routes


def _as_response(answer: Answer) -> Response:
    status, headers, body = answer
    return Response(body, status, headers)
