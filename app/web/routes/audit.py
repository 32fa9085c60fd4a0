"""`GET /audit`: who decided what, when and why, with the evidence at that moment."""

from __future__ import annotations

from flask import Blueprint, Response, request

from app.services.control.decisions import AuditPage
from app.services.pages import LARGEST_PAGE
from app.web.dependencies import Services
from app.web.operations import Operation, Parameter, number_parameter
from app.web.request import whole_number
from app.web.response import json_answer

_DEFAULT = 100
# Larger than any entry's number, and small enough for a 64-bit column.
_LARGEST_SEQ = (1 << 62) - 1

OPERATIONS = (
    Operation(
        method="get",
        path="/audit",
        tag="Experiment",
        summary="Every decision, newest first",
        answer=AuditPage,
        parameters=(
            number_parameter("limit", "The number of entries, at most.", _DEFAULT, LARGEST_PAGE),
            Parameter(
                "before",
                "query",
                "Entries older than this number: the `next` of the previous page.",
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
        """A page of the audit log."""
        limit = whole_number(request.args, "limit", _DEFAULT, LARGEST_PAGE)
        before = whole_number(request.args, "before", _LARGEST_SEQ, _LARGEST_SEQ)
        return json_answer(services.decisions.audit(limit, before))

    return routes
