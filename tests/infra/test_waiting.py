"""Waiting for a state in tests."""

from __future__ import annotations

import pytest

from tests.waiting import consistently, eventually


def test_the_first_true_value_is_returned() -> None:
    values = iter([0, None, "found", "later"])
    assert eventually(lambda: next(values), pause=lambda: None) == "found"


def test_after_the_timeout_it_fails_with_the_explanation() -> None:
    with pytest.raises(AssertionError, match=r"not within 0 s: the log"):
        eventually(lambda: False, timeout_s=0, explain=lambda: "the log")


def test_an_ignored_exception_means_not_yet() -> None:
    answers = iter([OSError(), True])

    def check() -> bool:
        if isinstance(answer := next(answers), OSError):
            raise answer
        return answer

    assert eventually(check, ignoring=OSError, pause=lambda: None)


def test_any_other_exception_ends_the_wait() -> None:
    with pytest.raises(ZeroDivisionError):
        eventually(lambda: 1 / 0, ignoring=OSError)


def test_a_state_that_changes_does_not_hold_consistently() -> None:
    values = iter([True, True, False])
    with pytest.raises(AssertionError, match="did not stay so"):
        consistently(lambda: next(values), for_s=5, pause=lambda: None)


def test_a_state_that_stays_holds_consistently() -> None:
    consistently(lambda: True, for_s=0.01)
