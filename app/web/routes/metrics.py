"""`GET /metrics`: for Prometheus."""

from __future__ import annotations

from flask import Blueprint, Response, request

from app.web.dependencies import Services
from app.web.operations import Operation

FLUSH_S = 0.25

OPERATIONS = (
    Operation(
        method="get",
        path="/metrics",
        tag="Operating",
        summary="Metrics over all workers",
        description="Prometheus text, or OpenMetrics where `Accept` asks for it.",
        access="open",
        answer=None,
        media_type="text/plain",
    ),
)


def blueprint(services: Services) -> Blueprint:
    """The route of the metrics."""
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    def metrics() -> Response:
        """All series; what was answered before the scrape is counted in it."""
        services.recorder.flush(FLUSH_S)
        text, content_type = services.metrics.exposition(request.headers.get("Accept", ""))
        return Response(text, content_type=content_type)

    return routes
