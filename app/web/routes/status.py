"""The service itself: `GET /health`, `/health/live` and `/health/ready`, `/metrics`."""

from __future__ import annotations

from typing import Literal

import msgspec
from flask import Blueprint, Response, request

from app.services.serving.health import HealthReport
from app.web.dependencies import Services, require_ready
from app.web.operations import Operation, Parameter
from app.web.response import json_answer


class Alive(msgspec.Struct, frozen=True):
    """The process responds."""

    status: Literal["alive"] = "alive"


class Ready(msgspec.Struct, frozen=True):
    """A version answers and, unless only predictions were asked about, the store accepts writes."""

    status: Literal["ready"] = "ready"


# Recorders tick every 10 ms; this bounds the wait while one of them is busy.
FLUSH_S = 0.25

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
        description="404 while draining: a load balancer then sends no more requests. It should ask with "
        "`of=predictions`: these go on while the store is away.",
        access="open",
        parameters=(
            Parameter("of", "query", "`predictions`: whether these are answered, even if the store cannot be written."),
        ),
        answer=Ready,
        problems=(404, 503),
        always=True,
    ),
    Operation(
        method="get",
        path="/metrics",
        tag="Operating",
        summary="Metrics over all workers",
        description="Prometheus text format, or OpenMetrics if the `Accept` header asks for it.",
        access="open",
        answer=None,
        media_type="text/plain",
        always=True,
        public=False,
    ),
)


def blueprint(services: Services) -> Blueprint:
    """The routes about the service itself."""
    routes = Blueprint("status", __name__)

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
        """200 if this process should get requests; with `of=predictions`, also while the store cannot be written."""
        require_ready(services, writable=request.args.get("of") != "predictions")
        return json_answer(Ready())

    @routes.get("/metrics")
    def metrics() -> Response:
        """All series."""
        services.recorder.flush(FLUSH_S)  # so that a scrape counts everything that was answered before it
        text, content_type = services.metrics.exposition(request.headers.get("Accept", ""))
        return Response(text, content_type=content_type)

    return routes
