"""`GET /experiment/{id}/disagreements`, as JSON or as a table for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from urllib.parse import urlencode

from flask import Blueprint, Response, request
from msgspec import UNSET

from app.domain.disagreement import WON
from app.services.pages import LARGEST_PAGE
from app.services.queries.disagreements import Disagreement, DisagreementPage, Wanted
from app.web.dependencies import Services
from app.web.operations import Operation, Parameter, number_parameter
from app.web.request import one_text, whole_number
from app.web.response import json_answer
from app.web.short_ids import page_for

_LISTED = 100
_CSV = "text/csv"
# A spreadsheet takes a cell that begins so for a formula, and carries it out.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

OPERATIONS = (
    Operation(
        method="get",
        path="/experiment/{id}/disagreements",
        tag="Experiment",
        summary="The requests that two versions answered differently, newest first",
        description="With `Accept: text/csv` a table; its header `Link` has the address of the next page.",
        answer=DisagreementPage,
        parameters=(
            Parameter("id", "path", "An experiment's id, as the list gives it."),
            Parameter("challenger", "query", "The version to compare with the baseline; needed if there are several."),
            Parameter(
                "won",
                "query",
                "Only rows where this version was right, neither was, none is known to be, or one gave no answer.",
                {"type": "string", "enum": list(WON)},
            ),
            Parameter("class", "query", "Only rows with this true class."),
            Parameter("by", "query", "Of what `level` is a part: `feature:NAME` or `class`, as for a breakdown."),
            Parameter("level", "query", "Only rows in this part: a `level` of the breakdown by `by`."),
            number_parameter("limit", "The number of rows, at most.", _LISTED, LARGEST_PAGE, 20),
            Parameter("before", "query", "Rows older than this id: the `next` of the previous page."),
        ),
        problems=(400, 404, 503),
    ),
)


def blueprint(services: Services) -> Blueprint:
    """The route of disagreements."""
    routes = Blueprint("disagreements", __name__)

    @routes.get("/experiment/<id>/disagreements")
    def listing(id: str) -> Response:
        """A page of disagreements."""
        query = request.args
        wanted = Wanted(
            challenger=one_text(query, "challenger"),
            won=one_text(query, "won"),
            true_class=one_text(query, "class"),
            by=one_text(query, "by"),
            level=one_text(query, "level"),
            limit=whole_number(query, "limit", _LISTED, LARGEST_PAGE),
            before=one_text(query, "before"),
        )
        page = page_for(services.disagreements.page(id, wanted), services.settings, request.environ)
        as_csv = request.accept_mimetypes.best_match(["application/json", _CSV], "application/json") == _CSV
        return _csv_answer(page) if as_csv else json_answer(page)

    return routes


def _csv_answer(page: DisagreementPage) -> Response:
    text = io.StringIO()
    rows = [dict(_cells(each, page)) for each in page.disagreements]
    columns = {name: None for row in rows for name in row} or dict.fromkeys(_ALWAYS)
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([_safe(name) for name in columns])
    writer.writerows([[_safe(row.get(name)) for name in columns] for row in rows])
    headers = {"Content-Disposition": 'attachment; filename="disagreements.csv"', "Vary": "Accept"}
    if page.next is not None:
        following = urlencode({**request.args.to_dict(), "before": page.next})
        headers["Link"] = f'<{request.path}?{following}>; rel="next"'
    return Response(text.getvalue(), 200, headers, content_type=f"{_CSV}; charset=utf-8")


_ALWAYS = ("prediction_id", "id", "timestamp", "model_version", "won", "actual", "came")


def _cells(row: Disagreement, page: DisagreementPage) -> Iterator[tuple[str, object]]:
    """The cells of a row by column. Columns of versions and features have prefixes, so that no two are alike."""
    for name in _ALWAYS:
        value = getattr(row, name)
        yield name, None if value is UNSET else value
    for version in (page.baseline, page.challenger):
        answer = row.answers.get(version)
        yield f"{version}.prediction", None if answer is None else answer.prediction
        probabilities: Mapping[str, float] = {}
        if answer is not None and answer.probabilities is not UNSET:
            probabilities = answer.probabilities
        for name, share in probabilities.items():
            yield f"{version}.probability.{name}", share
    for name, value in row.features.items():
        yield f"feature.{name}", value


def _safe(value: object) -> object:
    """The cell; a text that a spreadsheet would carry out as a formula gets a quotation mark in front."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
