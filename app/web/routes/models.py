"""`GET /models`, `/models/{version}` and `/model/info`."""

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
        summary="The versions on the shelf",
        answer=ModelListing,
    ),
    Operation(
        method="get",
        path="/models/{version}",
        tag="Models",
        summary="One version: figures, feature contract, checksum, origin",
        answer=ModelEntry,
        parameters=(Parameter("version", "path", "The version's name.", example="v1"),),
        problems=(404,),
    ),
    Operation(
        method="get",
        path="/model/info",
        tag="Models",
        summary="The versions that serve now",
        answer=ModelListing,
    ),
)


def blueprint(services: Services) -> Blueprint:
    """The routes about models."""
    routes = Blueprint("models", __name__)

    @routes.get("/models")
    def models() -> Response:
        """All on the shelf."""
        return json_answer(services.catalogue.listing())

    @routes.get("/models/<version>")
    def model(version: str) -> Response:
        """One of them."""
        if version == "reload":  # a call of its own, by POST; no version can have the name of a call
            raise MethodNotAllowed(valid_methods=["OPTIONS", "POST"])
        return json_answer(services.catalogue.entry(version))

    @routes.get("/model/info")
    def info() -> Response:
        """Those that serve."""
        return json_answer(services.catalogue.serving())

    return routes
