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
    """The process responds."""

    status: Literal["alive"] = "alive"


class Ready(msgspec.Struct, frozen=True):
    """A version answers and the store accepts writes."""

    status: Literal["ready"] = "ready"


OPERATIONS = (
    Operation(
        method="get",
        path="/health",
        tag="Health",
        summary="The state of each version, of the store and of the monitor",
        description="Each version is probed with a real prediction, at most once a second. 503 if none can answer.",
        access="open",
        answer=HealthReport,
        other_answers={503: HealthReport},
        always=True,
    ),
    Operation(
        method="get",
        path="/health/live",
        tag="Health",
        summary="Whether the process responds",
        access="open",
        answer=Alive,
        always=True,
    ),
    Operation(
        method="get",
        path="/health/ready",
        tag="Health",
        summary="Whether this process accepts requests",
        description="404 while draining: a load balancer then sends no more requests.",
        access="open",
        answer=Ready,
        problems=(404, 503),
        always=True,
    ),
)


def blueprint(services: Services) -> Blueprint:
    """The routes about health."""
    routes = Blueprint("health", __name__)

    @routes.get("/health")
    def health() -> Response:
        """The whole report."""
        report = services.health.report()
        # "degraded" is a 200: the service still answers, and a restart by an orchestrator would not help.
        if report.status == "unhealthy":
            return json_answer(report, 503, {"Retry-After": "5"})
        return json_answer(report)

    @routes.get("/health/live")
    def live() -> Response:
        """Always 200: it depends on nothing, so that an orchestrator does not restart a process whose store is away."""
        return json_answer(Alive())

    @routes.get("/health/ready")
    def ready() -> Response:
        """200 if this process should get requests."""
        # Before readiness: a draining process is healthy, and load balancers must skip it all the same.
        if services.draining():
            raise Draining("this process is shutting down: it finishes the requests that it has and accepts no more")
        services.health.require_ready()
        return json_answer(Ready())

    return routes
