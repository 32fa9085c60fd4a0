"""`GET /drift`: whether the traffic still looks like the training data; and the acknowledgement of its alarm."""

from __future__ import annotations

from typing import Annotated

import msgspec
from flask import Blueprint, Request, Response, request

from app.services.queries.drift import MOST_POINTS, DriftTimeline, DriftView
from app.web.dependencies import Services
from app.web.operations import ACTOR, Operation, Parameter, actor_of
from app.web.request import body_as, one_text, whole_number
from app.web.response import json_answer

_POINTS = 200


class AcknowledgeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose alarm (default: the champion's), and what is to be remembered about it. The body may be left out."""

    version: str | None = None
    note: Annotated[str, msgspec.Meta(max_length=2000)] | None = None


_DESCRIPTION = """The traffic of all versions against the data that the champion, or `version`, was made from. `score`
is the share of the recent traffic that is displaced, at least; `evidence` says how near the proof of a change is, and
1 is the alarm. Valid at every moment, however often one looks. Where there is nothing to say, `note` says why, and the
score is null."""
_TIMELINE = """How `score` and `evidence` came to be what they are. Points lie evenly over the requests: one after every
20 at first, and the distance doubles whenever there would be more than 200. At `alarm_evidence` an alarm is raised, and
on clean traffic the chance that it ever is, within so many requests, is at most `false_alarm_probability`."""
_ACKNOWLEDGING = """The alarm falls silent, what comes from then on counts as known, and what is not part of it can
still alarm. An entry in the audit log. The answer is `GET /drift` after it; 409 where no alarm stands."""
OPERATIONS = (
    Operation(
        method="get",
        path="/drift",
        tag="Operating",
        summary="Whether the traffic still looks like the training data",
        description=_DESCRIPTION,
        answer=DriftView,
        parameters=(Parameter("version", "query", "Compare with what this version was made from."),),
        problems=(404, 503),
    ),
    Operation(
        method="get",
        path="/drift/timeline",
        tag="Operating",
        summary="The course of a version's drift over its requests",
        description=_TIMELINE,
        answer=DriftTimeline,
        parameters=(
            Parameter(
                "points",
                "query",
                "At most so many points, evenly.",
                {"type": "integer", "minimum": 1, "maximum": MOST_POINTS, "default": _POINTS},
            ),
            Parameter("version", "query", "Whose drift; without it, the champion's."),
        ),
        problems=(400, 404, 503),
    ),
    Operation(
        method="post",
        path="/drift/acknowledge",
        tag="Operating",
        summary="Say that somebody looks after the alarm",
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
        """The report."""
        return json_answer(services.drift.report(one_text(request.args, "version")))

    @routes.get("/drift/timeline")
    def timeline() -> Response:
        """Its course."""
        points = whole_number(request.args, "points", _POINTS, MOST_POINTS)
        return json_answer(services.drift.timeline(points, one_text(request.args, "version")))

    @routes.post("/drift/acknowledge")
    def acknowledge() -> Response:
        """Silence the alarm."""
        limit = services.settings.max_body_bytes
        body = body_as(AcknowledgeRequest, request.environ, limit) if _has_body(request) else AcknowledgeRequest()
        return json_answer(services.drift.acknowledge(body.version, actor_of(request.environ), body.note))

    return routes


def _has_body(asked: Request) -> bool:
    return bool(asked.content_length or asked.headers.get("Transfer-Encoding"))
