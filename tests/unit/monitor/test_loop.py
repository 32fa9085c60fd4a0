"""The loop, and the command."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from app.cli.monitor import run
from app.errors import Contradiction, StoreUnavailable
from app.monitor.experiment.projection import ExperimentProjection
from app.monitor.loop import Loop
from app.monitor.projection import step
from app.store.kinds import kind_of
from app.store.locks import monitor_lock
from app.store.reports import MonitorReads
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[3]


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


class Arguments:
    def __init__(self, once=False, rebuild=False, json=False):
        self.once, self.rebuild, self.json = once, rebuild, json


@pytest.fixture
def environment(small_log, store_url, tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", store_url)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_once_prints_what_the_experiment_says(small_log, environment, capsys):
    small_log.begin()
    small_log.random_traffic(5)
    assert run(Arguments(once=True)) == 0
    assert "continue:" in capsys.readouterr().out
    assert run(Arguments(once=True, json=True)) == 0
    assert json.loads(capsys.readouterr().out)["experiment"]["id"] == "one"


def test_once_beside_a_running_monitor_ends_and_says_why(environment, tmp_path, store_url):
    with monitor_lock(tmp_path, kind_of(store_url)) as holder:
        assert holder.acquire()
        with pytest.raises(Contradiction, match="a monitor runs on this data already"):
            run(Arguments(once=True))


def test_once_on_an_empty_store_says_so(environment, capsys):
    assert run(Arguments(once=True)) == 0
    assert "no experiment yet" in capsys.readouterr().out


def test_a_rebuild_prints_the_evidence_before_and_after(small_log, environment, capsys):
    small_log.begin()
    small_log.random_traffic(5)
    small_log.publish()
    assert run(Arguments(rebuild=True, json=True)) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["equal"]
    assert answer["comparisons"][0]["before"] == answer["comparisons"][0]["after"]
    assert run(Arguments(rebuild=True)) == 0
    assert "equal to the last bit" in capsys.readouterr().out


def test_sigterm_stops_the_command_cleanly(small_log, store_url, tmp_path):
    small_log.begin()
    small_log.random_traffic(5)
    variables = {**os.environ, "DATA_DIR": str(tmp_path), "DATABASE_URL": store_url}
    monitor = subprocess.Popen([sys.executable, "-m", "app", "monitor"], cwd=ROOT, env=variables)
    reads = MonitorReads(small_log.database, lambda: time.time_ns() // 1000)
    try:
        eventually(lambda: monitor.poll() is not None or reads.age_s() is not None)
        assert monitor.poll() is None
        monitor.terminate()
        assert monitor.wait(20) == 0
    finally:
        monitor.kill()
        monitor.wait()
    assert reads.report().report.variants[0].requests > 0


def test_what_goes_by_the_clock_is_called_without_traffic_and_a_fault_in_it_stops_nothing(small_log):
    clock, calls = iter(range(100)), []
    ticks = {"broken": lambda: 1 / 0, "ramp": lambda: calls.append(1)}
    runner = loop(small_log, clock=lambda: next(clock), ticks=ticks)
    for _ in range(3):
        runner.tick()
    assert len(calls) == 3
