"""`GET /drift` and its timeline: whether the traffic still resembles the training data; acknowledging an alarm."""

from __future__ import annotations

from typing import Annotated

import msgspec
from flask import Blueprint, Request, Response, request

from app.services.queries.drift import MOST_POINTS, DriftTimeline, DriftView
from app.web.dependencies import Services
from app.web.operations import ACTOR, Operation, Parameter, actor_of, number_parameter
from app.web.request import body_as, one_text, whole_number
from app.web.response import json_answer

_POINTS = 200


class AcknowledgeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The version whose alarm is acknowledged (default: the champion), and a note for the audit log.

    The body may be left out.
    """

    version: str | None = None
    note: Annotated[str, msgspec.Meta(max_length=2000)] | None = None


_DESCRIPTION = """Compares the traffic of all versions with the data that the champion, or `version`, was trained on.
`score` is a lower bound for the share of recent traffic that has shifted. `evidence` rises to 1, where the alarm is
raised. Valid at every moment, however often it is read. Without a report the score is null and `note` gives the
reason."""
_TIMELINE = """`score` and `evidence` over the requests, at even distances: at first a point after every 20 requests;
the distance doubles whenever there would be more than 200 points. The alarm is raised at `alarm_evidence`. Without
drift, the probability of ever raising it within the given number of requests is at most `false_alarm_probability`."""
_ACKNOWLEDGING = """Silences the alarm: the acknowledged change counts as known from then on, and a change that is not
part of it can still raise an alarm. Adds an entry to the audit log. Answers with `GET /drift` after it; 409 if there is
no alarm."""
OPERATIONS = (
    Operation(
        method="get",
        path="/drift",
        tag="Operating",
        summary="Whether the traffic still resembles the training data",
        description=_DESCRIPTION,
        answer=DriftView,
        parameters=(
            Parameter("version", "query", "Compare with the training data of this version; default: the champion."),
        ),
        problems=(404, 503),
    ),
    Operation(
        method="get",
        path="/drift/timeline",
        tag="Operating",
        summary="A version's drift over its requests",
        description=_TIMELINE,
        answer=DriftTimeline,
        parameters=(
            number_parameter("points", "The number of points, at most.", _POINTS, MOST_POINTS),
            Parameter("version", "query", "The version; default: the champion."),
        ),
        problems=(400, 404, 503),
    ),
    Operation(
        method="post",
        path="/drift/acknowledge",
        tag="Operating",
        summary="Acknowledge the alarm of a version",
        description=_ACKNOWLEDGING,
        access="administrative",
        body=AcknowledgeRequest,
        answer=DriftView,
        parameters=(ACTOR,),
        problems=(400, 404, 409, 413, 503),
    ),
)


def blueprint(services: Services) -> Blueprint:
    """The routes about drift."""
    routes = Blueprint("drift", __name__)

    @routes.get("/drift")
    def drift() -> Response:
        """The drift report of a version."""
        return json_answer(services.drift.report(one_text(request.args, "version")))

    @routes.get("/drift/timeline")
    def timeline() -> Response:
        """The drift of a version over its requests."""
        points = whole_number(request.args, "points", _POINTS, MOST_POINTS)
        return json_answer(services.drift.timeline(points, one_text(request.args, "version")))

    @routes.post("/drift/acknowledge")
    def acknowledge() -> Response:
        """Acknowledge the alarm of a version."""
        # Without a body: the champion's alarm, and no note.
        limit = services.settings.max_body_bytes
        body = body_as(AcknowledgeRequest, request.environ, limit) if _has_body(request) else AcknowledgeRequest()
        actor = actor_of(services.settings, request.environ)
        return json_answer(services.drift.acknowledge(body.version, actor, body.note))

    return routes


def _has_body(asked: Request) -> bool:
    # A chunked body has no Content-Length.
    return bool(asked.content_length or asked.headers.get("Transfer-Encoding"))
