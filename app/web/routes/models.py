"""`GET /models`, `/models/{version}` and `/model/info`: the model registry and the loaded models."""

from __future__ import annotations

from flask import Blueprint, Response
from werkzeug.exceptions import MethodNotAllowed

from app.services.queries.models import ModelEntry, ModelListing
from app.web.dependencies import Services
from app.web.operations import Operation, Parameter
from app.web.response import json_answer

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

    return routes
