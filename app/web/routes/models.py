"""`GET /models`, `/models/{version}`, `/model/info`, and `POST /models/reload` (also `/model/reload`)."""

from __future__ import annotations

from flask import Blueprint, Response, request
from werkzeug.exceptions import MethodNotAllowed

from app.services.queries.models import ModelEntry, ModelListing
from app.services.serving.reload import ReloadReport
from app.web.dependencies import Services
from app.web.operations import Operation, Parameter
from app.web.request import read_body
from app.web.response import json_answer

_PATHS = ("/models/reload", "/model/reload")
_DESCRIPTION = """Verifies, loads and warms up each version in the model registry, then replaces the loaded models as a
whole; requests in progress finish on the models that they began with. Unchanged versions stay loaded. A version that
is refused is named with the reason; if it was loaded before, that one keeps serving. Another set of versions begins a
new experiment. Every worker follows within a second, plus the time that loading takes."""

OPERATIONS = (
    Operation(
        method="get",
        path="/models",
        tag="Models",
        summary="The versions in the model registry",
        answer=ModelListing,
    ),
    Operation(
        method="get",
        path="/models/{version}",
        tag="Models",
        summary="One version: metrics, feature contract, checksum and origin",
        answer=ModelEntry,
        parameters=(Parameter("version", "path", "The version's name.", example="v1"),),
        problems=(404,),
    ),
    Operation(
        method="get",
        path="/model/info",
        tag="Models",
        summary="The loaded versions",
        answer=ModelListing,
    ),
    *tuple(
        Operation(
            method="post",
            path=path,
            tag="Models",
            summary="Load what has changed in the model registry",
            description=_DESCRIPTION,
            access="administrative",
            answer=ReloadReport,
            problems=(409, 413),
            always=True,
        )
        for path in _PATHS
    ),
)


def blueprint(services: Services) -> Blueprint:
    """The routes about models."""
    routes = Blueprint("models", __name__)

    @routes.get("/models")
    def models() -> Response:
        """Every version in the registry, loaded or not."""
        return json_answer(services.catalogue.listing())

    @routes.get("/models/<version>")
    def model(version: str) -> Response:
        """One version."""
        if version == "reload":  # POST /models/reload is a call: a GET of it is not an unknown version
            raise MethodNotAllowed(valid_methods=["OPTIONS", "POST"])
        return json_answer(services.catalogue.entry(version))

    @routes.get("/model/info")
    def info() -> Response:
        """The loaded versions."""
        return json_answer(services.catalogue.loaded())

    @routes.post(_PATHS[0], provide_automatic_options=False)
    @routes.post(_PATHS[1], provide_automatic_options=False)
    def reload() -> Response:
        """Reload in every worker of this host."""
        read_body(request.environ, services.settings.max_body_bytes)  # clients may send `{}`; the call has no options
        return json_answer(services.reload.now())

    @routes.route(_PATHS[0], methods=["OPTIONS"], provide_automatic_options=False)
    @routes.route(_PATHS[1], methods=["OPTIONS"], provide_automatic_options=False)
    def methods() -> Response:
        """The methods of this path. Flask's own answer would add GET, from the rule `/models/<version>`."""
        return Response(status=204, headers={"Allow": "OPTIONS, POST"})

    return routes
