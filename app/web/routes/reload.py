"""`POST /models/reload`, also as `/model/reload`: look at the shelf again."""

from __future__ import annotations

from flask import Blueprint, Response, request

from app.services.serving.reload import ReloadReport
from app.web.dependencies import Services
from app.web.operations import Operation
from app.web.request import read_body
from app.web.response import json_answer

_PATHS = ("/models/reload", "/model/reload")
_DESCRIPTION = """Each version on the shelf is verified, loaded and warmed up before it takes the place of what served
until then; requests under way end with what they began with. What is unchanged stays as it is. A version that is
refused is named with the reason, and where it served before it goes on as it was. Other versions than before begin a
new experiment. Every worker follows within a second of loading time."""

OPERATIONS = tuple(
    Operation(
        method="post",
        path=path,
        tag="Models",
        summary="Look at the shelf again",
        description=_DESCRIPTION,
        access="administrative",
        answer=ReloadReport,
        problems=(409, 413),
    )
    for path in _PATHS
)


def blueprint(services: Services) -> Blueprint:
    """The routes of reloading."""
    routes = Blueprint("reload", __name__)

    @routes.post(_PATHS[0], provide_automatic_options=False)
    @routes.post(_PATHS[1], provide_automatic_options=False)
    def reload() -> Response:
        """What is served now, and what was refused."""
        read_body(request.environ, services.settings.max_body_bytes)  # whatever is in it: there is nothing to say
        return json_answer(services.reload.now())

    @routes.route(_PATHS[0], methods=["OPTIONS"], provide_automatic_options=False)
    @routes.route(_PATHS[1], methods=["OPTIONS"], provide_automatic_options=False)
    def methods() -> Response:
        """What may be called here; Flask would add the GET of `/models/<version>`, which has another name."""
        return Response(status=204, headers={"Allow": "OPTIONS, POST"})

    return routes
