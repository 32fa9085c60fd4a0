"""`GET /`: the service's name and version, and links."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from flask import Blueprint, Response

from app import __version__
from app.web.dependencies import Services
from app.web.operations import Operation
from app.web.response import json_answer


class Welcome(msgspec.Struct, frozen=True):
    """The service's name and version, and the paths of its calls by name."""

    name: str
    version: str
    description: str
    links: Mapping[str, str]


OPERATIONS = (
    Operation(
        method="get",
        path="/",
        tag="Operating",
        summary="The service's name and version, and links",
        access="open",
        answer=Welcome,
    ),
)
_WELCOME = Welcome(
    name="bakeoff",
    version=__version__,
    description="Serves versions of a model behind one URL and says which one is better.",
    links={
        "docs": "/docs",
        "openapi": "/openapi.json",
        "predict": "/predict",
        "predict_batch": "/predict/batch",
        "feedback": "/feedback",
        "experiment": "/experiment",
        "timeline": "/experiment/timeline",
        "experiments": "/experiments",
        "audit": "/audit",
        "health": "/health",
        "models": "/models",
        "config": "/config",
        "drift": "/drift",
        "history": "/predictions/history",
        "metrics": "/metrics",
    },
)


def blueprint(_services: Services) -> Blueprint:
    """The route of the start page."""
    routes = Blueprint("start", __name__)

    @routes.get("/")
    def start() -> Response:
        """Name, version and links."""
        return json_answer(_WELCOME)

    return routes
