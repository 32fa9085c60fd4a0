"""`GET /audit`: who decided what, when, why, and what was known at that moment."""

from __future__ import annotations

from flask import Blueprint, Response, request

from app.services.control.decisions import AuditPage
from app.services.pages import LARGEST_PAGE
from app.web.dependencies import Services
from app.web.operations import Operation, Parameter
from app.web.request import whole_number
from app.web.response import json_answer

_DEFAULT = 100
_LARGEST_SEQ = (1 << 62) - 1

OPERATIONS = (
    Operation(
        method="get",
        path="/audit",
        tag="Experiment",
        summary="Every decision, newest first",
        answer=AuditPage,
        parameters=(
            Parameter(
                "limit",
                "query",
                "At most so many.",
                {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": _DEFAULT},
            ),
            Parameter(
                "before",
                "query",
                "Entries older than this number: the `next` of an earlier page.",
                {"type": "integer", "minimum": 1, "maximum": _LARGEST_SEQ},
            ),
        ),
        problems=(400, 503),
    ),
)


def blueprint(services: Services) -> Blueprint:
    """The route of the audit log."""
    routes = Blueprint("audit", __name__)

    @routes.get("/audit")
    def audit() -> Response:
        """A page of it."""
        limit = whole_number(request.args, "limit", _DEFAULT, LARGEST_PAGE)
        before = whole_number(request.args, "before", _LARGEST_SEQ, _LARGEST_SEQ)
        return json_answer(services.decisions.audit(limit, before))

    return routes
