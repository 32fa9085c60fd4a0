"""Records as JSON, for Flask's routes and for the paths that do without Flask."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from flask import Response

JSON = "application/json"
encode = msgspec.json.Encoder().encode


def json_answer(record: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response; NaN and infinity, which JSON does not have, become null."""
    return Response(encode(record), status, headers=headers, content_type=JSON)
