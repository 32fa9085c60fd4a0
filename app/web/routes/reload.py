"""`POST /models/reload`, also as `/model/reload`: load what has changed in the model registry."""

from __future__ import annotations

from flask import Blueprint, Response, request

from app.services.serving.reload import ReloadReport
from app.web.dependencies import Services
from app.web.operations import Operation
from app.web.request import read_body
from app.web.response import json_answer

_PATHS = ("/models/reload", "/model/reload")
_DESCRIPTION = """Verifies, loads and warms up each version in the model registry, then replaces the loaded models as a
whole; requests in progress finish on the models that they began with. Unchanged versions stay loaded. A version that
is refused is named with the reason; if it was loaded before, that one keeps serving. Another set of versions begins a
new experiment. Every worker follows within a second, plus the time that loading takes."""

OPERATIONS = tuple(
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
)


def blueprint(services: Services) -> Blueprint:
    """The routes of reloading."""
    routes = Blueprint("reload", __name__)

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
