"""`GET /experiment`, its timeline, decisions about it with their audit log, and all experiments."""

from __future__ import annotations

from typing import Annotated

import msgspec
from flask import Blueprint, Response, request

from app.domain.decision import AuditEntry, DecisionAction
from app.domain.report import ExperimentReport
from app.services.control.config_watcher import available_versions
from app.services.control.decisions import AuditPage, Decision
from app.services.pages import LARGEST_PAGE
from app.services.queries.experiments import MOST_POINTS, ExperimentListing, Timeline
from app.web.dependencies import Services
from app.web.operations import ACTOR, Operation, Parameter, actor_of, number_parameter
from app.web.request import body_as, one_text, whole_number
from app.web.response import json_answer
from app.web.routes.configuration import ConfigurationView, view
from app.web.short_ids import audit_for

_POINTS, _LISTED = 200, 100


class DecisionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A decision. `promote` needs a `version`; the others take it only as a check: it must be the version that leads
    afterwards."""

    action: DecisionAction
    version: str | None = None
    note: Annotated[str, msgspec.Meta(max_length=2000)] | None = None


class DecisionAnswer(msgspec.Struct, frozen=True):
    """The entry in the audit log, and the configuration that is now in force."""

    decision: AuditEntry
    config: ConfigurationView


_ID = Parameter("id", "path", "An experiment's id, as the list gives it.")
_DECIDING = """`promote` makes the given version champion, `rollback` the previous champion, `keep` the baseline. The
new champion answers every request and is the baseline of a new experiment; the others continue in shadow. Every worker
applies the decision within a second, and the audit log keeps it with the evidence at that moment."""

_DEFAULT = 100
# Larger than any entry's number, and small enough for a 64-bit column.
_LARGEST_SEQ = (1 << 62) - 1

OPERATIONS = (
    Operation(
        method="get",
        path="/experiment",
        tag="Experiment",
        summary="Which version is better, how sure that is, and what to do",
        description="Valid at every moment, however often it is read. What cannot be estimated yet is null.",
        answer=ExperimentReport,
        problems=(503,),
    ),
    Operation(
        method="get",
        path="/experiment/timeline",
        tag="Experiment",
        summary="Each comparison over its votes, and the splits over time",
        answer=Timeline,
        parameters=(
            number_parameter("points", "The number of points of each comparison, at most.", _POINTS, MOST_POINTS),
            Parameter("id", "query", "An experiment's id; without it, the running one."),
        ),
        problems=(400, 404, 503),
    ),
    Operation(
        method="post",
        path="/experiment/decision",
        tag="Experiment",
        summary="Promote, roll back or keep",
        description=_DECIDING,
        access="administrative",
        body=DecisionRequest,
        answer=DecisionAnswer,
        parameters=(ACTOR,),
        problems=(400, 404, 409, 413, 503),
        always=True,
    ),
    Operation(
        method="get",
        path="/experiments",
        tag="Experiment",
        summary="All experiments, newest first",
        answer=ExperimentListing,
        parameters=(number_parameter("limit", "The number of experiments, at most.", _LISTED, LARGEST_PAGE),),
        problems=(400, 503),
    ),
    Operation(
        method="get",
        path="/experiments/{id}",
        tag="Experiment",
        summary="One experiment; a finished one with its final report",
        description="Labels that arrive after the end still count for the experiment that served the prediction.",
        answer=ExperimentReport,
        parameters=(_ID,),
        problems=(404, 503),
    ),
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
            Parameter("experiment", "query", "An experiment's id: only decisions on that one."),
        ),
        problems=(400, 503),
    ),
)


def blueprint(services: Services) -> Blueprint:
    """The routes about experiments and decisions."""
    routes = Blueprint("experiment", __name__)

    experiments = services.experiments

    @routes.get("/experiment")
    def current() -> Response:
        """The running experiment."""
        return json_answer(experiments.current())

    @routes.get("/experiment/timeline")
    def timeline() -> Response:
        """The running experiment's timeline, or another one's."""
        points = whole_number(request.args, "points", _POINTS, MOST_POINTS)
        return json_answer(experiments.timeline(points, one_text(request.args, "id")))

    @routes.post("/experiment/decision")
    def decide() -> Response:
        """A person's decision."""
        body = body_as(DecisionRequest, request.environ, services.settings.max_body_bytes)
        decision = Decision(body.action, body.version, actor_of(services.settings, request.environ), body.note)
        decided = services.decisions.decide(decision, available_versions(services.live.loaded_models))
        assert decided.entry is not None  # a person's decision changes something, or it raises
        return json_answer(DecisionAnswer(decided.entry, view(decided.configuration)))

    @routes.get("/experiments")
    def listing() -> Response:
        """The newest experiments."""
        return json_answer(experiments.listing(whole_number(request.args, "limit", _LISTED, LARGEST_PAGE)))

    @routes.get("/experiments/<id>")
    def one(id: str) -> Response:
        """One experiment."""
        return json_answer(experiments.report(id))

    @routes.get("/audit")
    def audit() -> Response:
        """A page of the audit log."""
        limit = whole_number(request.args, "limit", _DEFAULT, LARGEST_PAGE)
        before = whole_number(request.args, "before", _LARGEST_SEQ, _LARGEST_SEQ)
        page = services.decisions.audit(limit, before, one_text(request.args, "experiment"))
        return json_answer(audit_for(page, services.settings, request.environ))

    return routes
