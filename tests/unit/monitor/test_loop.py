"""The monitor's loop: what it runs, how often, and what it outlives."""

import threading
from functools import partial

from app.errors import StoreUnavailable
from app.monitor.experiment.projection import ExperimentProjection
from app.monitor.loop import Loop
from app.monitor.projection import step
from app.store.reports import MonitorReads


def loop(small_log, projections=None, states=None, **options):
    projections = projections or [ExperimentProjection()]
    states = states or small_log.stored_states
    steps = {each.name: partial(step, each, small_log.events, states) for each in projections}
    return Loop(steps, small_log.publisher().publish, small_log.space().reports.heartbeat, **options)


def test_a_tick_processes_and_publishes_and_rests_when_there_is_no_more(small_log, monkeypatch):
    small_log.begin()
    small_log.random_traffic(5)
    runner = loop(small_log)
    monkeypatch.setattr("app.monitor.loop.BATCH_ROWS", 5)
    assert runner.tick() == 0.0
    assert MonitorReads(small_log.database, small_log.clock).age_s() is None
    assert runner.tick() > 0.0
    stored = MonitorReads(small_log.database, small_log.clock).report()
    assert sum(variant.requests for variant in stored.report.variants) == 5
    assert stored.age_s is not None


def test_reports_are_made_once_a_second_at_most_and_handed_on(small_log):
    small_log.begin()
    now, made = [0.0], []
    runner = loop(small_log, clock=lambda: now[0], after_reports=[made.extend])
    for now[0] in (0.0, 0.5, 0.9, 1.0):
        small_log.random_traffic(1)
        runner.tick()
    assert len(made) == 2


class Broken:
    name = "broken"

    def apply(self, events, reads):
        raise ZeroDivisionError


def test_a_broken_part_stops_no_other_and_is_logged_once_and_lets_the_state_age(small_log, caplog):
    small_log.begin()
    small_log.random_traffic(5)
    runner = loop(small_log, [Broken(), ExperimentProjection()])
    for _ in range(3):
        runner.tick()
    assert [record.message for record in caplog.records] == ["monitor_part_failed"]
    stored = MonitorReads(small_log.database, small_log.clock).report()
    assert (sum(variant.requests for variant in stored.report.variants), stored.age_s) == (5, None)


class Absent:
    """A store that is unavailable for the first calls."""

    def __init__(self, store, times):
        self._store, self._times = store, times

    def cursor(self, projection):
        self._times -= 1
        if self._times >= 0:
            raise StoreUnavailable("the disk is gone")
        return self._store.cursor(projection)

    def __getattr__(self, name):
        return getattr(self._store, name)


def test_an_unavailable_store_is_waited_for_and_logged_once(small_log, caplog, monkeypatch):
    monkeypatch.setattr("app.monitor.loop._OUTAGE_S", 0.001)
    caplog.set_level("INFO", "app.monitor.loop")
    small_log.begin()
    small_log.random_traffic(5)
    stop = threading.Event()
    runner = loop(
        small_log,
        states=Absent(small_log.stored_states, 5),
        after_reports=[lambda made: stop.set() if made[0].comparisons[0].n else None],
        clock=iter(range(1000)).__next__,
    )
    runner.run(stop)
    assert [record.message for record in caplog.records] == ["monitor_store_unavailable", "monitor_store_back"]


def test_what_goes_by_the_clock_is_called_without_traffic_and_a_fault_in_it_stops_nothing(small_log):
    clock, calls = iter(range(100)), []
    ticks = {"broken": lambda: 1 / 0, "ramp": lambda: calls.append(1)}
    runner = loop(small_log, clock=lambda: next(clock), ticks=ticks)
    for _ in range(3):
        runner.tick()
    assert len(calls) == 3


def test_the_preparation_comes_first_and_is_tried_until_it_is_done(small_log, monkeypatch, caplog):
    monkeypatch.setattr("app.monitor.loop._OUTAGE_S", 0.001)
    caplog.set_level("INFO", "app.monitor.loop")
    stop, tried = threading.Event(), []

    def prepare(going_on):
        tried.append(going_on())
        if len(tried) == 1:
            raise StoreUnavailable("the disk is gone")
        if len(tried) == 2:
            raise ZeroDivisionError
        return len(tried) > 3

    def tick():
        tried.append("tick")
        stop.set()

    loop(small_log, ticks={"last": tick}, prepare=prepare).run(stop)
    assert tried == [True] * 4 + ["tick"]
    logged = ["monitor_store_unavailable", "monitor_part_failed", "monitor_store_back"]
    assert [record.message for record in caplog.records] == logged


def test_a_stop_ends_the_preparation(small_log):
    stop = threading.Event()

    def prepare(going_on):
        stop.set()
        return going_on()

    loop(small_log, ticks={"never": lambda: 1 / 0}, prepare=prepare).run(stop)
    assert MonitorReads(small_log.database, small_log.clock).age_s() is None
