import pytest

from app.services.breaker import Breaker
from app.services.breaker_watch import BreakerWatch


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

        def look(self, times=1):
            for _ in range(times):
                self.watch.look(self.breakers)
            return [record.message for record in caplog.records]

    return Place()


def test_a_closed_breaker_is_shown_and_is_no_event(place):
    assert place.look(3) == []
    assert place.gauges == {"v1": False}


def test_opening_is_one_event_however_often_one_looks(place):
    place.look()
    place.breakers["v1"].failed()
    assert place.look(5) == ["circuit_opened"]
    assert place.gauges == {"v1": True}


def test_a_probe_that_fails_is_no_second_event_and_one_that_succeeds_is_one(place):
    place.breakers["v1"].failed()
    place.look()
    type(place).now = 60.0
    place.look(), place.breakers["v1"].failed(), place.look()
    type(place).now = 120.0
    place.look(), place.breakers["v1"].succeeded()
    assert place.look(3) == ["circuit_opened", "circuit_closed"]
    assert place.gauges == {"v1": False}


def test_a_version_that_is_gone_is_not_open(place):
    place.breakers["v1"].failed()
    place.look()
    place.breakers.clear()
    assert place.look(2) == ["circuit_opened", "circuit_closed"]
    assert place.gauges == {"v1": False}
