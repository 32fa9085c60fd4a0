"""`POST /exposures`: a caller acted on a user's version without asking for a prediction."""

from __future__ import annotations

from typing import Annotated

import msgspec
from flask import Blueprint, Response, request

from app.domain.contract import VERSION_NAME
from app.web.dependencies import Services
from app.web.operations import Operation, Parameter
from app.web.predict_body import LONGEST_USER_ID
from app.web.prediction import is_synthetic
from app.web.request import body_as, request_id_of
from app.web.response import json_answer

_Version = Annotated[str, msgspec.Meta(pattern=f"^{VERSION_NAME.pattern}$")]


class ExposureRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The user, and the version that the user met; without it, the user's version now."""

    user_id: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_USER_ID)]
    version: _Version | None = None


class ExposureAnswer(msgspec.Struct, frozen=True):
    """The id by which rewards are given, and the version. `counts`: whether it enters the experiment."""

    prediction_id: str
    model_version: str
    counts: bool


OPERATIONS = (
    Operation(
        method="post",
        path="/exposures",
        tag="Predicting",
        summary="Report that a user met a version without a prediction",
        description=(
            "For a front end, or a model that runs in the caller's app: ask for the user's version (OFREP), act on it, "
            "report the exposure, and give the outcome as a reward by its id. A version that is not the user's at this "
            "moment, such as that of a cached flag after the weights have changed, is logged and does not count."
        ),
        access="predict",
        body=ExposureRequest,
        answer=ExposureAnswer,
        parameters=(
            Parameter(
                "X-Traffic-Kind",
                "header",
                "`synthetic` marks test traffic: neither the exposure nor its rewards count.",
            ),
        ),
        problems=(400, 404, 413, 503),
    ),
)


def blueprint(services: Services) -> Blueprint:
    """The route of exposures."""
    routes = Blueprint("exposures", __name__)

    @routes.post("/exposures")
    def exposures() -> Response:
        """One exposure."""
        given = body_as(ExposureRequest, request.environ, services.settings.max_body_bytes)
        synthetic, request_id = is_synthetic(request.environ), request_id_of(request.environ)
        exposure = services.assignments.expose(given.user_id, given.version, request_id, synthetic=synthetic)
        return json_answer(ExposureAnswer(exposure.prediction_id, exposure.version, exposure.counts))

    return routes
