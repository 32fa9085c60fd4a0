"""Wrong tokens are counted and logged by address, and their answers are held back once there are many."""

import logging

import pytest

from app.errors import AdminDisabled, Forbidden, Unauthorised
from app.web.wrong_tokens import HOLD, HOLD_S, MANY, WINDOW_S, WrongTokens


class Counted:
    count = 0

    def wrong_token(self):
        self.count += 1


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def metrics():
    return Counted()


@pytest.fixture
def tokens(metrics, clock):
    return WrongTokens(metrics, clock, forwarded=False)


def refused(error):
    def guard():
        raise error

    return guard


def wrong(tokens, address="10.0.0.1", **more):
    """How long the answer to a wrong token from that address is held back."""
    environ = {"REMOTE_ADDR": address, "PATH_INFO": "/config", **more}
    with pytest.raises(Forbidden):
        tokens.check(refused(Forbidden("the token is wrong")), environ)
    return environ.get(HOLD, 0.0)


def test_the_first_ones_are_answered_at_once_and_later_ones_held_back(tokens, metrics):
    assert [wrong(tokens) for _ in range(MANY + 2)] == [0.0] * MANY + [HOLD_S] * 2
    assert metrics.count == MANY + 2


def test_other_addresses_and_later_minutes_are_not_held_back(tokens, clock):
    assert [wrong(tokens) for _ in range(MANY + 1)][-1] == HOLD_S
    assert wrong(tokens, "10.0.0.2") == 0.0
    clock.now_s += WINDOW_S - 1
    assert wrong(tokens) == HOLD_S
    clock.now_s += 1
    assert wrong(tokens) == 0.0


@pytest.mark.parametrize("error", [Unauthorised("none"), AdminDisabled("off"), ValueError("other")])
def test_what_is_no_wrong_token_is_passed_on_and_not_counted(tokens, metrics, error):
    for _ in range(MANY + 2):
        environ = {"REMOTE_ADDR": "10.0.0.1"}
        with pytest.raises(type(error)):
            tokens.check(refused(error), environ)
        assert HOLD not in environ
    assert metrics.count == 0


def test_a_right_token_is_never_held_back(tokens):
    for _ in range(MANY + 1):
        wrong(tokens)
    environ = {"REMOTE_ADDR": "10.0.0.1"}
    tokens.check(lambda: None, environ)
    assert HOLD not in environ


def test_an_address_is_logged_twice_a_minute_and_no_more(tokens, caplog):
    with caplog.at_level(logging.WARNING):
        for _ in range(5 * MANY):
            wrong(tokens)
    assert [record.event_fields["in_this_minute"] for record in caplog.records] == [1, MANY]
    assert {record.event_fields["address"] for record in caplog.records} == {"10.0.0.1"}


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [(True, "203.0.113.7"), (False, "10.0.0.1")],
)
def test_what_a_caller_says_of_its_address_counts_only_behind_a_proxy(metrics, clock, caplog, forwarded, address):
    tokens = WrongTokens(metrics, clock, forwarded=forwarded)
    with caplog.at_level(logging.WARNING):
        wrong(tokens, HTTP_X_FORWARDED_FOR="198.51.100.1, 203.0.113.7")
    assert caplog.records[0].event_fields["address"] == address


def test_the_memory_of_addresses_is_bounded(tokens):
    for _ in range(MANY):
        wrong(tokens)
    for number in range(10_000):
        wrong(tokens, f"10.1.{number // 256}.{number % 256}")
    assert wrong(tokens) == 0.0  # forgotten: the oldest of too many
