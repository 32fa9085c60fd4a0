"""`GET /health` for people and dashboards, `/health/live` and `/health/ready` for orchestrators."""

from __future__ import annotations

from typing import Literal

import msgspec
from flask import Blueprint, Response

from app.errors import Draining
from app.services.serving.health import HealthReport
from app.web.dependencies import Services
from app.web.operations import Operation
from app.web.response import json_answer


class Alive(msgspec.Struct, frozen=True):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Ready(msgspec.Struct, frozen=True):
    """A version answers and the store can be written."""

    status: Literal["ready"] = "ready"


OPERATIONS = (
    Operation(
        method="get",
        path="/health",
        tag="Health",
        summary="The state of each version, of the store and of the monitor",
        description="Proven by a real prediction of each version (at most once a second). 503 when none can answer.",
        access="open",
        answer=HealthReport,
        other_answers={503: HealthReport},
    ),
    Operation(
        method="get",
        path="/health/live",
        tag="Health",
        summary="Whether the process answers",
        access="open",
        answer=Alive,
    ),
    Operation(
        method="get",
        path="/health/ready",
        tag="Health",
        summary="Whether to send requests here",
        description="404 while draining: an edge proxy takes it as “send no more”.",
        access="open",
        answer=Ready,
        problems=(404, 503),
    ),
)


def blueprint(services: Services) -> Blueprint:
    """The routes about health."""
    routes = Blueprint("health", __name__)

    @routes.get("/health")
    def health() -> Response:
        """The whole report."""
        report = services.health.report()
        if report.status == "unhealthy":
            return json_answer(report, 503, {"Retry-After": "5"})
        return json_answer(report)

    @routes.get("/health/live")
    def live() -> Response:
        """Always 200: that it is sent is the news."""
        return json_answer(Alive())

    @routes.get("/health/ready")
    def ready() -> Response:
        """200, or why not."""
        if services.draining():
            raise Draining("this process is finishing its last requests")
        services.health.require_ready()
        return json_answer(Ready())

    return routes
