import inspect

import pytest

from app import errors
from app.errors import BakeoffError
from app.web.response import STATUS, problem_of

AT_START_ONLY = {
    errors.BackupRefused,
    errors.BakeoffError,
    errors.DataRefused,
    errors.GateFailed,
    errors.SettingError,
}


def statuses_in(mro):
    return [STATUS[kind] for kind in mro if kind in STATUS]


@pytest.mark.parametrize("name", [name for name, kind in vars(errors).items() if inspect.isclass(kind)])
def test_every_error_that_a_request_may_meet_has_a_status(name):
    kind = getattr(errors, name)
    if issubclass(kind, BakeoffError) and kind not in AT_START_ONLY:
        assert statuses_in(kind.__mro__)


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (errors.InvalidFeatures("x", field="a"), 400, ()),
        (errors.Unauthorised("x"), 401, (("WWW-Authenticate", "Bearer"),)),
        (errors.AdminDisabled("x"), 403, ()),
        (errors.Draining("x"), 404, ()),
        (errors.Contradiction("x"), 409, ()),
        (errors.StoreUnavailable("x", retry_after_s=7), 503, (("Retry-After", "7"),)),
        (errors.ModelFailed("v1", "RuntimeError"), 503, (("Retry-After", "1"),)),
        (errors.DataRefused("x"), 500, ()),
        (ValueError("secret"), 500, ()),
    ],
)
def test_the_status_and_headers_follow_from_the_type(error, status, headers):
    problem = problem_of(error, {})
    assert (problem.status, problem.headers) == (status, headers)
    assert "secret" not in problem.detail.message
