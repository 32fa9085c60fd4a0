"""`GET /`, `GET /openapi.json` and `GET /docs`: the API's description, for programs and for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec
from flask import Blueprint, Response, abort, request, send_file

from app import __version__
from app.domain.layouts import RequestColumns
from app.web.dependencies import Services
from app.web.documentation.openapi import document
from app.web.documentation.page import FILES, HEADERS, read_page
from app.web.operations import Operation, Parameter, is_offered, is_public_listener
from app.web.response import JSON, encode, json_answer


class Welcome(msgspec.Struct, frozen=True):
    """The service's name and version, and the paths of its calls by name. KServe's client reads `status`."""

    name: str
    version: str
    description: str
    links: Mapping[str, str]
    status: Literal["alive"] = "alive"


class OpenApi(msgspec.Struct, frozen=True):
    """An OpenAPI 3.1 document."""

    openapi: str
    info: dict[str, object]
    paths: dict[str, object]
    components: dict[str, object]


OPERATIONS = (
    Operation(
        method="get",
        path="/",
        tag="Operating",
        summary="The service's name and version, and links",
        access="open",
        answer=Welcome,
    ),
    Operation(
        method="get",
        path="/openapi.json",
        tag="Operating",
        summary="This document: the calls that the listener offers",
        access="open",
        answer=OpenApi,
    ),
    Operation(
        method="get",
        path="/docs",
        tag="Operating",
        summary="A page to read this document and try the calls",
        access="open",
        answer=None,
        media_type="text/html",
    ),
    Operation(
        method="get",
        path="/docs/{file}",
        tag="Operating",
        summary="A file of that page",
        access="open",
        answer=None,
        media_type="*/*",
        parameters=(Parameter("file", "path", "Its name.", {"type": "string", "enum": [*FILES]}, "page.js"),),
        problems=(404,),
    ),
)


_DESCRIPTION = "Serves versions of a model behind one URL and says which one is better."
_LINKS = {
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
}


def blueprint(services: Services, operations: tuple[Operation, ...]) -> Blueprint:
    """The routes that serve the description of `operations`."""
    routes = Blueprint("documentation", __name__)
    page, page_with_slash = read_page("docs/"), read_page("")
    described = _describer(services, operations)

    @routes.get("/")
    def start() -> Response:
        """Name, version, and links to what this listener offers."""
        settings, environ = services.settings, request.environ
        there = {each.path for each in operations if is_offered(each, settings, environ)}
        links = {name: path for name, path in _LINKS.items() if path in there}
        return json_answer(Welcome("bakeoff", __version__, _DESCRIPTION, links))

    @routes.get("/openapi.json")
    def openapi() -> Response:
        """The document for the reference version that is loaded, with the calls that this listener offers."""
        return Response(described(request.environ), content_type=JSON)

    @routes.get("/docs")
    def docs() -> Response:
        """The HTML page."""
        html = page_with_slash if request.path.endswith("/") else page
        return Response(html, headers=HEADERS, content_type="text/html; charset=utf-8")

    @routes.get("/docs/<file>")
    def file_of_docs(file: str) -> Response:
        """A file that the page loads; any other is 404."""
        if file not in FILES:
            abort(404)
        response = send_file(FILES[file])
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return routes


def _describer(services: Services, operations: tuple[Operation, ...]) -> Callable[[dict[str, Any]], bytes]:
    """Returns a function that makes a listener's document anew only after the columns of requests have changed."""
    # By whether it is the public listener. Compared by identity: columns are never changed, only replaced.
    made: dict[bool, tuple[RequestColumns | None, bytes]] = {}
    settings = services.settings

    def described(environ: dict[str, Any]) -> bytes:
        state = services.live.state
        columns = None if state.loaded_models.reference is None else state.columns()
        public = is_public_listener(settings, environ)
        known = made.get(public)
        if known is None or known[0] is not columns:
            contract, optional = (None, ()) if columns is None else (columns.contract, columns.optional)
            offered = [each for each in operations if is_offered(each, settings, environ)]
            whole = document(offered, contract, settings, optional, settings.model_name or state.model_name)
            known = made[public] = (columns, encode(whole))
        return known[1]

    return described
