"""bakeoff monitor: runs until it is stopped, or once, or as a rebuild."""

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from app.bootstrap.monitor import Monitor
from app.cli.monitor import run
from app.clock import now_us
from app.domain.monitor_state import STATE_LAYOUT
from app.domain.outcome import Outcome
from app.errors import Contradiction, StoreUnavailable
from app.monitor.rebuild import is_outdated
from app.settings import Settings
from app.store.deployment import DeploymentKey
from app.store.engine import Database, kind_of
from app.store.kinds import MONITORING, monitor_lock
from app.store.outcomes import FeedbackLog
from app.store.reports import MonitorReads
from tests.unit.monitor.small_log import SmallLog
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def small_log(store_url):
    database = Database(store_url)
    yield SmallLog(database)
    database.close()


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
    shown = capsys.readouterr().out
    assert "continue:" in shown
    assert "v2 against v1: undecided, " in shown
    assert "; improvement +0.0" in shown
    assert "both right" in shown
    assert "mean of all labelled rows" in shown
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


@pytest.fixture
def traffic(small_log):
    """Five requests are in the log."""
    small_log.begin()
    small_log.random_traffic(5)


@pytest.fixture
def outdated(small_log, traffic):
    """The monitor's state is that of the release before, and it is not what this one finds."""
    small_log.publish()
    with small_log.database.begin(MONITORING) as connection:
        present = f'"layout":{STATE_LAYOUT}'
        connection.exec_driver_sql(f"UPDATE monitor_state SET body = replace(body, '{present}', '\"layout\":0')")
        connection.exec_driver_sql("UPDATE monitor_state SET body = replace(body, '\"requests\":', '\"requests\":9')")


def requests(report):
    return sum(variant["requests"] for variant in report["variants"])


def test_once_computes_anew_what_another_release_wrote(outdated, environment, capsys):
    assert run(Arguments(once=True, json=True)) == 0
    done = json.loads(capsys.readouterr().out)
    assert requests(done["experiment"]) == 5


def test_once_does_not_go_on_with_what_another_release_wrote_while_a_rebuild_runs(
    outdated, environment, tmp_path, store_url
):
    with monitor_lock(tmp_path, kind_of(store_url), "rebuild.lock") as holder:
        assert holder.acquire()
        with pytest.raises(Contradiction, match="another rebuild runs"):
            run(Arguments(once=True))


def test_a_rebuild_of_what_another_release_wrote_says_so_and_is_no_failure(outdated, environment, capsys):
    assert run(Arguments(rebuild=True)) == 0
    captured = capsys.readouterr()
    assert "DIFFERENT" in captured.out
    assert "written by another release" in captured.err


def test_a_rebuild_that_differs_otherwise_fails(small_log, environment, capsys):
    small_log.begin()
    small_log.random_traffic(5)
    small_log.publish()
    with small_log.database.begin(MONITORING) as connection:
        connection.exec_driver_sql("UPDATE monitor_state SET body = replace(body, '\"requests\":', '\"requests\":9')")
    assert run(Arguments(rebuild=True)) == 1
    assert "error: the rebuilt state" in capsys.readouterr().err


@pytest.fixture
def running(environment):
    """The command in a process of its own; what is in the log before it is asked for first."""
    monitor = subprocess.Popen([sys.executable, "-m", "app", "monitor"], cwd=ROOT)
    try:
        yield monitor
    finally:
        monitor.kill()
        monitor.wait()


def test_sigterm_stops_the_command_cleanly(traffic, small_log, running):
    reads = MonitorReads(small_log.database, now_us)
    eventually(lambda: running.poll() is not None or reads.age_s() is not None)
    assert running.poll() is None
    running.terminate()
    assert running.wait(20) == 0
    assert reads.report().report.variants[0].requests > 0


def test_the_running_monitor_computes_anew_what_another_release_wrote(outdated, small_log, running):
    reads = MonitorReads(small_log.database, now_us)
    eventually(lambda: running.poll() is not None or reads.age_s() is not None)
    assert not is_outdated(small_log.stored_states)
    assert sum(variant.requests for variant in reads.report().report.variants) == 5


def test_a_rebuild_of_a_log_that_is_not_there_makes_none(environment, small_log):
    if small_log.database.kind.file is None:
        pytest.skip("a server makes no file")
    with pytest.raises(StoreUnavailable, match="does not exist, so nothing has been logged yet: is DATA_DIR right"):
        run(Arguments(rebuild=True))
    assert not small_log.database.kind.file.exists()


def test_a_rebuild_beside_another_one_ends_and_says_why(small_log, environment, tmp_path, store_url):
    small_log.begin()
    with monitor_lock(tmp_path, kind_of(store_url), "rebuild.lock") as holder:
        assert holder.acquire()
        with pytest.raises(Contradiction, match="another rebuild runs"):
            run(Arguments(rebuild=True))


def test_a_rebuild_after_corrections_says_so_and_is_no_failure(small_log, environment, capsys):
    small_log.begin()
    row = small_log.served({"v1": 1, "v2": 0})
    small_log.log(row)
    small_log.give(row, 0)
    small_log.publish()
    fact = small_log.signer.verify(row.prediction_id)
    correction = Outcome(row.prediction_id, "actual", 1, fact, corrected_by="ann")
    FeedbackLog(small_log.database, small_log.clock).commit([[correction]])
    small_log.publish()
    assert run(Arguments(rebuild=True)) == 0
    assert "outcomes were corrected" in capsys.readouterr().err


def test_a_monitor_whose_key_is_no_longer_the_deployments_stops_to_process_and_says_why(
    small_log, environment, monkeypatch, caplog
):
    monkeypatch.setattr("app.store.deployment._ASK_AGAIN_S", 0.0)
    monitor, stop = Monitor(Settings.from_environ()), threading.Event()
    thread = threading.Thread(target=monitor.run, args=(stop,))
    thread.start()
    try:
        eventually(lambda: MonitorReads(small_log.database, now_us).age_s() is not None)
        DeploymentKey(small_log.database, "b2" * 16).accept()
        eventually(lambda: "monitor_store_unavailable" in caplog.messages)
    finally:
        stop.set()
        thread.join()
        monitor.close()
    [told] = [record for record in caplog.records if record.message == "monitor_store_unavailable"]
    assert "b2b2b2b2…" in told.event_fields["reason"]
