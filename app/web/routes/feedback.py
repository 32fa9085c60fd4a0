"""`POST /feedback`: the outcome of a prediction, or a list of outcomes, as JSON or CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from flask import Blueprint, Response, request

from app.errors import BakeoffError, InvalidRequest, TooLarge
from app.services.recording.feedback import Receipt
from app.services.recording.outcome_items import MUST_BE_BOOLEAN, NOT_CORRECTING, Correcting
from app.web.dependencies import OutcomeReceiver, Services
from app.web.label_csv import EXAMPLE, csv_outcomes
from app.web.operations import ACTOR, Operation, Parameter, actor_of, require_admin_to
from app.web.request import decoded_object, one_text, read_body
from app.web.response import json_answer

OPERATIONS = (
    Operation(
        method="post",
        path="/feedback",
        tag="Predicting",
        summary="Report the outcome of a prediction: its true label, or the reward of the answer",
        description=(
            "Durable before it is acknowledged. Repeating an outcome is safe: it is counted once. A contradicting "
            "outcome is refused. Of a list, either all outcomes are accepted or none, unless `partial` is `true`. "
            "As text/csv: a header line with prediction_id or id, and actual or reward. With `correct`, of an item or "
            "of the whole call, an outcome replaces an earlier one: an administrative call, kept in the audit log."
        ),
        access="feedback",
        body="FeedbackRequest",
        text_bodies={"text/csv": EXAMPLE},
        parameters=(
            Parameter(
                "partial",
                "query",
                "`true`: accept each outcome of a list that can be, and answer what became of every one.",
                {"type": "string", "enum": ["true", "false"], "default": "false"},
            ),
            Parameter(
                "correct",
                "query",
                "`true`: every outcome of the call replaces an earlier one (administrative).",
                {"type": "string", "enum": ["true", "false"], "default": "false"},
            ),
            ACTOR,
        ),
        answer=Receipt,
        problems=(400, 404, 409, 413, 503),
    ),
)


def blueprint(services: Services) -> Blueprint:
    """The route of outcomes."""
    routes = Blueprint("feedback", __name__)
    limit = services.settings.max_batch_rows

    @routes.post("/feedback")
    def feedback() -> Response:
        """One outcome, or a list."""
        body = read_body(request.environ, services.settings.max_body_bytes)
        partial = _flag("partial")
        if request.mimetype == "text/csv":
            correcting = _correcting(services, (), all_of_it=_flag("correct"))
            return json_answer(_accepted_csv(services.feedback, body, (partial, limit), correcting))
        given = decoded_object(body)
        items = _items(given, limit)
        all_of_it = _flag("correct") or ("feedback" in given and given.get("correct", False))
        accept = services.feedback.accept_each if partial else services.feedback.accept
        return json_answer(accept(items, correcting=_correcting(services, items, all_of_it=all_of_it)))

    return routes


def _correcting(services: Services, items: Sequence[Any], *, all_of_it: bool) -> Correcting:
    """Who corrects, and what. Raises `AdminDisabled`, `Unauthorised` and `Forbidden` for all but administrators."""
    if not all_of_it and not any(type(item) is dict and item.get("correct") is True for item in items):
        return NOT_CORRECTING
    environ, settings = request.environ, services.settings
    services.wrong_tokens.check(lambda: require_admin_to("replacing an outcome (correct)", settings, environ), environ)
    return Correcting(actor_of(settings, environ), all_of_it)


def _flag(name: str) -> bool:
    text = one_text(request.args, name)
    if text not in (None, "true", "false"):
        raise InvalidRequest(f"{name} must be true or false", field=name)
    return text == "true"


def _items(body: dict[str, Any], limit: int) -> list[Any]:
    """The outcomes of `{"feedback": [...]}`, or the body itself as the only one."""
    if "feedback" not in body:
        return [body]
    items = body["feedback"]
    unknown = next((key for key in body if key not in ("feedback", "correct")), None)
    if unknown is not None:
        raise InvalidRequest(f"unknown key {unknown[:60]!r} beside feedback", field=unknown[:60])
    if type(body.get("correct", False)) is not bool:
        raise InvalidRequest(f"correct {MUST_BE_BOOLEAN}", field="correct")
    if type(items) is not list:
        raise InvalidRequest("feedback must be an array of outcomes", field="feedback")
    return _within(items, limit)


def _within(items: list[Any], limit: int) -> list[Any]:
    # One list is one transaction, which holds the store's write lock: hence a limit.
    if len(items) > limit:
        raise TooLarge(f"the list has {len(items)} outcomes; the limit is {limit}", field="feedback")
    return items


def _accepted_csv(receiver: OutcomeReceiver, body: bytes, how: tuple[bool, int], correcting: Correcting) -> Receipt:
    """The receipt for the outcomes of a CSV body; what is wrong is named by its line."""
    partial, limit = how
    given = csv_outcomes(body)
    items = _within(given.items, limit)
    if not partial:
        try:
            return receiver.accept(items, from_file=True, correcting=correcting)
        except BakeoffError as error:
            raise _by_line(error, given.lines) from None
    receipt = receiver.accept_each(items, from_file=True, correcting=correcting)
    if receipt.items is msgspec.UNSET:
        return receipt
    placed = zip(receipt.items, given.lines, strict=True)
    return msgspec.structs.replace(
        receipt, items=tuple(msgspec.structs.replace(item, line=line) for item, line in placed)
    )


def _by_line(error: BakeoffError, lines: Sequence[int]) -> BakeoffError:
    """The same error with the line of its item in place of the item's number."""
    if error.index is None:
        return error
    bare = type(error)(error.message.removeprefix(f"item {error.index}: "), field=error.field)
    placed = bare.within("line", lines[error.index])
    placed.index = error.index
    return placed
