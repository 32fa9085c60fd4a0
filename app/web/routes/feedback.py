"""`POST /feedback`: the outcome of a prediction."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request

from app.errors import InvalidRequest, TooLarge
from app.services.recording.feedback import Receipt
from app.web.dependencies import Services
from app.web.operations import Operation
from app.web.request import decoded_object, read_body
from app.web.response import json_answer

OPERATIONS = (
    Operation(
        method="post",
        path="/feedback",
        tag="Predicting",
        summary="Report the outcome of a prediction: its true label, or the reward of the answer",
        description=(
            "Durable before it is acknowledged. Repeating an outcome is safe: it is counted once. A contradicting "
            "outcome is refused. Of a list, either all outcomes are accepted or none."
        ),
        body="FeedbackRequest",
        answer=Receipt,
        problems=(400, 404, 409, 413, 503),
    ),
)


def blueprint(services: Services) -> Blueprint:
    """The route of outcomes."""
    routes = Blueprint("feedback", __name__)

    @routes.post("/feedback")
    def feedback() -> Response:
        """One outcome, or a list."""
        body = decoded_object(read_body(request.environ, services.settings.max_body_bytes))
        return json_answer(services.feedback.accept(_items(body, services.settings.max_batch_rows)))

    return routes


def _items(body: dict[str, Any], limit: int) -> list[Any]:
    """The outcomes of `{"feedback": [...]}`, or the body itself as the only one."""
    if "feedback" not in body:
        return [body]
    items = body["feedback"]
    if len(body) > 1:
        unknown = next(key for key in body if key != "feedback")
        raise InvalidRequest(f"unknown key {unknown[:60]!r} beside feedback", field=unknown[:60])
    if type(items) is not list:
        raise InvalidRequest("feedback must be an array of outcomes", field="feedback")
    # One list is one transaction, which holds the store's write lock: hence a limit.
    if len(items) > limit:
        raise TooLarge(f"the list has {len(items)} outcomes; the limit is {limit}", field="feedback")
    return items
