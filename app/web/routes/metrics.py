"""`GET /metrics`: the exposition that Prometheus scrapes."""

from __future__ import annotations

from flask import Blueprint, Response, request

from app.web.dependencies import Services
from app.web.operations import Operation

# Recorders tick every 10 ms; this bounds the wait while one of them is busy.
FLUSH_S = 0.25

OPERATIONS = (
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
    ),
)


def blueprint(services: Services) -> Blueprint:
    """The route of the metrics, which any worker answers for all."""
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    def metrics() -> Response:
        """All series."""
        services.recorder.flush(FLUSH_S)  # so that a scrape counts everything that was answered before it
        text, content_type = services.metrics.exposition(request.headers.get("Accept", ""))
        return Response(text, content_type=content_type)

    return routes
