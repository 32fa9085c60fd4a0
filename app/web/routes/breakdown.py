"""`GET /experiment/{id}/breakdown`: a comparison by true class or by feature."""

from __future__ import annotations

from flask import Blueprint, Response, request

from app.services.breakdown.report import Breakdown
from app.web.dependencies import Services
from app.web.operations import Operation, Parameter
from app.web.request import one_text
from app.web.response import json_answer

OPERATIONS = (
    Operation(
        method="get",
        path="/experiment/{id}/breakdown",
        tag="Experiment",
        summary="A comparison by true class or by feature",
        description="Exploratory: of many parts one may differ by chance, and nothing is decided on them.",
        answer=Breakdown,
        parameters=(
            Parameter("id", "path", "An experiment's id, as the list gives it."),
            Parameter("challenger", "query", "The version to compare with the baseline; needed if there are several."),
            Parameter("by", "query", "`class` (default for a classification), or `feature:NAME`."),
            Parameter("metric", "query", "The metric that decides (default), or a secondary one of the experiment."),
        ),
        problems=(400, 404, 503),
    ),
)


def blueprint(services: Services) -> Blueprint:
    """The route of breakdowns."""
    routes = Blueprint("breakdown", __name__)

    @routes.get("/experiment/<id>/breakdown")
    def breakdown(id: str) -> Response:
        """A comparison in parts."""
        query = request.args
        asked = (one_text(query, name) for name in ("challenger", "by", "metric"))
        return json_answer(services.breakdowns.of(id, *asked))

    return routes
