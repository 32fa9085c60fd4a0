from __future__ import annotations

import pytest

from app.services.serving.breaker import Breaker, BreakerWatch


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


class Gauges(dict):
    def breaker(self, version, is_open):
        self[version] = is_open


@pytest.fixture
def place(caplog):
    class Place:
        now = 0.0
        gauges = Gauges()
        breakers = {"v1": Breaker(1, 60.0, lambda: Place.now)}  # noqa: RUF012 - one a test
        watch = BreakerWatch(gauges)

        def check(self, times=1):
            for _ in range(times):
                self.watch.check(self.breakers)
            return [record.message for record in caplog.records]

    return Place()


def test_a_closed_breaker_is_shown_and_is_no_event(place):
    assert place.check(3) == []
    assert place.gauges == {"v1": False}


def test_opening_is_one_event_however_often_it_is_checked(place):
    place.check()
    place.breakers["v1"].failed()
    assert place.check(5) == ["circuit_opened"]
    assert place.gauges == {"v1": True}


def test_a_probe_that_fails_is_no_second_event_and_one_that_succeeds_is_one(place):
    place.breakers["v1"].failed()
    place.check()
    type(place).now = 60.0
    place.check(), place.breakers["v1"].failed(), place.check()
    type(place).now = 120.0
    place.check(), place.breakers["v1"].succeeded()
    assert place.check(3) == ["circuit_opened", "circuit_closed"]
    assert place.gauges == {"v1": False}


def test_a_version_that_is_gone_is_not_open(place):
    place.breakers["v1"].failed()
    place.check()
    place.breakers.clear()
    assert place.check(2) == ["circuit_opened", "circuit_closed"]
    assert place.gauges == {"v1": False}
