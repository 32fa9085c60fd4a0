import logging

import pytest

from app.errors import StoreUnavailable
from app.services.boundaries import FaultBoundary, attempt

_LOG = logging.getLogger("app.tests")


def fail(error):
    raise error


def test_an_attempt_gives_what_the_call_returns():
    assert attempt(divmod, 7, 2) == (3, 1)


def test_an_attempt_gives_the_error_as_a_value():
    error = ValueError("no")
    assert attempt(fail, error) is error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_an_attempt_lets_what_ends_the_process_through(error):
    with pytest.raises(type(error)):
        attempt(fail, error)


def test_a_boundary_logs_and_counts_each_failure(caplog):
    failures = []
    boundary = FaultBoundary(_LOG, "part_failed", fields={"part": "x"}, on_failure=lambda: failures.append(1))
    for _ in range(2):
        with boundary:
            fail(ValueError("no"))
    assert [record.event_fields for record in caplog.records] == [
        {"part": "x", "failures": 1},
        {"part": "x", "failures": 2},
    ]
    assert (caplog.records[0].message, caplog.records[0].exc_info[1].args) == ("part_failed", ("no",))
    assert (boundary.failures, boundary.failing, len(failures)) == (2, True, 2)


def test_once_logs_the_first_of_several_failures_in_a_row(caplog):
    boundary = FaultBoundary(_LOG, "part_failed", once=True)
    for error in (ValueError(), ValueError(), None, ValueError()):
        with boundary:
            if error:
                raise error
    assert [record.event_fields["failures"] for record in caplog.records] == [1, 3]


def test_a_boundary_lets_its_callers_own_errors_through():
    boundary = FaultBoundary(_LOG, "part_failed", passing=(StoreUnavailable,))
    with pytest.raises(StoreUnavailable), boundary:
        fail(StoreUnavailable("locked"))
    assert boundary.failures == 0


def test_a_boundary_lets_what_ends_the_process_through():
    with pytest.raises(KeyboardInterrupt), FaultBoundary(_LOG, "part_failed"):
        fail(KeyboardInterrupt())
