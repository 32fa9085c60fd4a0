import pytest

from app.services.breaker import Breaker


@pytest.fixture
def clock():
    class Clock:
        now = 100.0

        def __call__(self):
            return self.now

    return Clock()


@pytest.fixture
def breaker(clock):
    return Breaker(failures=3, open_s=60.0, clock=clock)


def test_two_failures_in_a_row_do_not_open(breaker):
    assert [breaker.failed(), breaker.failed()] == [False, False]
    assert breaker.allows()


def test_the_third_in_a_row_opens_and_says_so_once(breaker):
    assert [breaker.failed() for _ in range(4)] == [False, False, True, False]
    assert breaker.state == "open"
    assert not breaker.allows()


def test_a_success_between_failures_starts_the_count_anew(breaker):
    breaker.failed(), breaker.failed(), breaker.succeeded(), breaker.failed(), breaker.failed()
    assert breaker.state == "closed"


def test_after_its_time_one_probe_goes_and_no_second(breaker, clock):
    [breaker.failed() for _ in range(3)]
    clock.now += 60
    assert [breaker.allows(), breaker.allows()] == [True, False]


def test_a_probe_that_succeeds_closes(breaker, clock):
    [breaker.failed() for _ in range(3)]
    clock.now += 60
    assert breaker.allows()
    breaker.succeeded()
    assert breaker.state == "closed"


def test_a_probe_that_fails_opens_for_another_term(breaker, clock):
    [breaker.failed() for _ in range(3)]
    clock.now += 60
    assert breaker.allows()
    breaker.failed()
    clock.now += 59
    assert not breaker.allows()


def test_a_probe_that_never_comes_back_does_not_block_for_ever(breaker, clock):
    [breaker.failed() for _ in range(3)]
    clock.now += 60
    assert breaker.allows()
    clock.now += 60
    assert breaker.allows()
