"""While windows are open and nothing else comes, the monitor notes that time passes."""

import pytest

from app.monitor.heartbeats import HeartbeatControl


class Store:
    def __init__(self):
        self.open, self.newest_us, self.now_us, self.beats = True, 0, 0, []

    def any_window(self):
        return self.open

    def newest_event_us(self):
        return self.newest_us

    def append(self):
        self.newest_us = self.now_us
        self.beats.append(self.now_us)


@pytest.fixture
def store():
    return Store()


def beats(store, until_s):
    """The heartbeats, in seconds, where the monitor looks each second."""
    control = HeartbeatControl([store], store, lambda: store.now_us)
    for second in range(until_s + 1):
        store.now_us = second * 1_000_000
        control()
    return [at_us // 1_000_000 for at_us in store.beats]


def test_one_a_minute_while_windows_are_open(store):
    assert beats(store, 190) == [60, 120, 180]


def test_none_without_open_windows(store):
    store.open = False
    assert beats(store, 190) == []


def test_none_within_a_minute_of_other_events(store):
    store.newest_us = 50_000_000
    assert beats(store, 120) == [110]


def test_a_clock_behind_the_log_waits_until_it_has_caught_up(store):
    store.newest_us = 100_000_000
    assert beats(store, 159) == []
