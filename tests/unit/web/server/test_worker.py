import json

import pytest
from gunicorn.http import errors

from app.web.server.worker import answer_to


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.LimitRequestLine(9000, 8190), 414, "uri_too_long"),
        (errors.LimitRequestHeaders("limit"), 431, "headers_too_large"),
        (errors.ExpectationFailed("tea"), 417, "expectation_failed"),
        (errors.InvalidHTTPVersion("0.9"), 400, "invalid_request"),
        (errors.UnsupportedTransferCoding("gzip"), 400, "invalid_request"),
        (errors.InvalidHeaderName("a b"), 400, "invalid_request"),
        (errors.InvalidRequestLine("<script>"), 400, "invalid_request"),
    ],
)
def test_what_is_no_request_is_answered_as_every_other_error(error, status, code):
    head, _, body = answer_to(error).partition(b"\r\n\r\n")
    detail = json.loads(body)["error"]
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nX-Request-Id: " in head
    assert b"\r\nConnection: close" in head
    assert detail["code"] == code
    assert "<script>" not in detail["message"]
