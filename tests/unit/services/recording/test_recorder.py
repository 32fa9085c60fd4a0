import sqlite3
import subprocess
import sys
import threading

import pytest

from app.domain.prediction import Failure
from app.errors import StoreUnavailable
from app.services.recording.recorder import Recorder
from app.store.engine import Database
from app.store.host_files import SharedProgress
from app.store.predictions import PredictionLog
from tests.unit.services.recording.recorders import LOADED, CountingMetrics, MemoryLog, exposure, reported
from tests.unit.store.stored_rows import full_disk, log_at
from tests.waiting import eventually

PATIENCE_S = 20.0


class Scene:
    def __init__(self, log, limit_rows=10_000, progress=None):
        self.log = log
        self.metrics = CountingMetrics()
        self.recorder = Recorder(log, self.metrics, lambda: LOADED, limit_rows, progress)


@pytest.fixture
def scene():
    scene = Scene(MemoryLog())
    yield scene
    scene.log.error = None  # its end waits for what is not written
    scene.recorder.stop(PATIENCE_S)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.sqlite"


@pytest.fixture
def on_disk(path):
    scene = Scene(PredictionLog(Database(f"sqlite:///{path}")))
    scene.recorder.start()
    yield scene
    scene.recorder.stop(PATIENCE_S)


def ids(path):
    return [row.prediction_id for row in log_at(f"sqlite:///{path}")]


def record(scene, count, **changes):
    """The ids of `count` new exposures that were handed over."""
    exposures = [exposure(**changes) for _ in range(count)]
    for each in exposures:
        scene.recorder.record(each)
    return [each.prediction_ids[0] for each in exposures]


def test_reported_exposures_are_logged_and_counted_apart_from_requests(scene):
    for each in (reported("v1"), exposure("v1"), reported("v2"), reported("v2")):
        scene.recorder.record(each)
    scene.recorder.start()
    assert scene.recorder.flush(PATIENCE_S)
    assert sorted(row.assignment for row in scene.log.rows.values()) == ["exposure"] * 3 + ["weighted"]
    assert (scene.metrics.requests, scene.metrics.latencies) == ({"v1": 1}, {"v1": 1})
    assert (scene.metrics.counts["exposed", "v1"], scene.metrics.counts["exposed", "v2"]) == (1, 2)


def test_making_one_starts_no_thread(scene):
    before = threading.active_count()
    record(scene, 3)
    assert threading.active_count() == before
    assert scene.log.rows == {}


def test_what_was_recorded_before_the_start_is_written_after_it(scene):
    recorded = record(scene, 3)
    scene.recorder.start()
    assert scene.recorder.flush(PATIENCE_S)
    assert list(scene.log.rows) == recorded


def test_a_reader_that_flushes_sees_what_was_answered_before(on_disk, path):
    recorded = record(on_disk, 100)
    assert on_disk.recorder.flush(PATIENCE_S)
    assert ids(path) == recorded


def test_own_keys_and_failures_reach_the_log(on_disk, path):
    raised = (Failure("v1", "RuntimeError"),)
    fallback = {"version": "v2", "chosen": "v1", "assignment": "fallback", "failures": raised}
    record(on_disk, 1, keys=("order-1",))
    record(on_disk, 1, **fallback)
    assert on_disk.recorder.stop(PATIENCE_S) == 0
    logged = [(row.own_key, row.failed) for row in log_at(f"sqlite:///{path}")]
    assert logged == [("order-1", None), (None, '["v1"]')]


def test_an_outage_of_the_store_costs_no_own_key_and_no_failure(scene):
    scene.log.error = StoreUnavailable("locked")
    record(scene, 1, keys=("order-1",), failures=(Failure("v2", "RuntimeError"),))
    scene.recorder.start()
    eventually(lambda: scene.recorder.outage)
    scene.log.error = None
    assert scene.recorder.stop(PATIENCE_S) == 0
    assert [(row.own_key, row.failed) for row in scene.log.rows.values()] == [("order-1", '["v2"]')]


def test_a_stop_loses_nothing(on_disk, path):
    recorded = record(on_disk, 3000)
    assert on_disk.recorder.stop(PATIENCE_S) == 0
    assert ids(path) == recorded


def test_many_threads_may_record_at_once(on_disk, path):
    threads = [threading.Thread(target=record, args=(on_disk, 200)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert on_disk.recorder.stop(PATIENCE_S) == 0
    assert len(set(ids(path))) == 1000


def test_requests_are_counted_by_the_version_that_answered(scene):
    scene.recorder.start()
    record(scene, 3, version="v1")
    record(scene, 2, version="v2")
    scene.recorder.flush(PATIENCE_S)
    assert scene.metrics.requests == {"v1": 3, "v2": 2}


def test_a_full_queue_drops_and_counts_and_the_requests_still_count():
    scene = Scene(MemoryLog(), limit_rows=5)
    record(scene, 8)
    scene.recorder.start()
    assert scene.recorder.stop(PATIENCE_S) == 0
    assert len(scene.log.rows) == 5
    assert scene.metrics.counts["dropped"] == 3
    assert scene.metrics.requests == {"v1": 8}


def test_a_locked_store_keeps_nobody_waiting_and_costs_no_row(on_disk, path):
    first = record(on_disk, 1)
    on_disk.recorder.flush(PATIENCE_S)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    later = record(on_disk, 500)
    assert on_disk.recorder.flush(PATIENCE_S)  # settled: counted, and nobody need wait for the store
    assert "locked" in on_disk.recorder.outage
    assert on_disk.metrics.requests == {"v1": 501}
    other.close()
    assert on_disk.recorder.stop(PATIENCE_S) == 0
    assert ids(path) == first + later


def test_a_write_that_meets_a_busy_store_is_waited_for(scene):
    scene.log.error = StoreUnavailable("locked")
    scene.recorder.start()
    recorded = record(scene, 3)
    eventually(lambda: scene.metrics.counts["store_failed"])
    scene.log.error = None
    assert scene.recorder.logged(PATIENCE_S)
    assert list(scene.log.rows) == recorded


def test_in_an_outage_it_is_not_known_whether_the_log_has_everything(scene):
    scene.log.error = StoreUnavailable("the disk is full")
    scene.recorder.start()
    record(scene, 1)
    assert not scene.recorder.logged(PATIENCE_S)


def test_a_full_disk_is_counted_and_recording_resumes_when_there_is_room(path):
    database = Database(f"sqlite:///{path}")
    database.probe()
    scene = Scene(PredictionLog(database))
    scene.recorder.start()
    with full_disk(database):
        recorded = record(scene, 500)
        assert scene.recorder.flush(PATIENCE_S)
        assert "full" in scene.recorder.outage
        assert scene.metrics.counts["store_failed"] >= 1
    assert scene.recorder.stop(PATIENCE_S) == 0
    assert ids(path) == recorded


def test_an_unusable_store_is_counted_and_recording_resumes_on_its_own(scene):
    scene.log.error = StoreUnavailable("the disk is full")
    scene.recorder.start()
    recorded = record(scene, 10)
    assert scene.recorder.flush(PATIENCE_S)
    assert scene.recorder.outage == "the disk is full"
    assert scene.metrics.counts["store_failed"] >= 1
    scene.log.error = None
    assert scene.recorder.stop(PATIENCE_S) == 0
    assert list(scene.log.rows) == recorded


def test_shadows_are_asked_once_however_often_the_store_is_tried(scene):
    scene.log.error = StoreUnavailable("locked")
    scene.recorder.start()
    shadow = LOADED.versions["v2"].runtime
    shadow.calls.clear()
    record(scene, 4, version="v1")
    scene.recorder.flush(PATIENCE_S)
    scene.log.error = None
    scene.recorder.stop(PATIENCE_S)
    assert sum(shadow.calls) == 4


def test_a_stop_with_an_unusable_store_ends_in_time_and_says_how_much_is_left(scene):
    scene.log.error = StoreUnavailable("locked")
    scene.recorder.start()
    record(scene, 7)
    assert scene.recorder.stop(0.1) == 7


def test_metrics_that_raise_do_not_stop_the_recording(scene):
    scene.metrics.served = lambda *arguments: 1 / 0
    scene.recorder.start()
    record(scene, 2)
    assert scene.recorder.stop(PATIENCE_S) == 0
    assert len(scene.log.rows) == 2


def test_failures_of_the_response_path_are_counted_by_version(scene):
    scene.recorder.start()
    for _ in range(3):
        scene.recorder.failed("v2", "RuntimeError: no luck")
    scene.recorder.stop(PATIENCE_S)
    assert scene.metrics.counts["failed", "v2", "model_failed"] == 3


def test_an_exposure_that_has_no_form_in_the_log_is_dropped_alone(scene):
    scene.recorder.start()
    record(scene, 2)
    record(scene, 1, version="v1", outputs=None)
    record(scene, 2)
    assert scene.recorder.stop(PATIENCE_S) == 0
    assert len(scene.log.rows) == 4
    assert scene.metrics.counts["dropped"] == 1


def test_progress_that_cannot_be_shared_is_no_reason_not_to_record(tmp_path):
    (tmp_path / "file").write_text("in the way")
    scene = Scene(MemoryLog(), progress=SharedProgress(tmp_path / "file"))
    scene.recorder.start()
    record(scene, 1)
    assert scene.recorder.flush(PATIENCE_S)
    assert scene.recorder.stop(PATIENCE_S) == 0


KILLED = """
import os, pathlib, signal, sys
from app.store.engine import Database
from app.store.predictions import PredictionLog
from tests.unit.services.recording.recorders import exposure
from tests.unit.services.recording.test_recorder import Scene
scene = Scene(PredictionLog(Database(f"sqlite:///{sys.argv[1]}")))
scene.recorder.start()
for batch in range(5):
    for _ in range(10):
        scene.recorder.record(exposure())
    assert scene.recorder.flush(20)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_settled_outlives_the_process(path):
    process = subprocess.run([sys.executable, "-c", KILLED, path], check=False)
    assert process.returncode == -9
    assert len(ids(path)) == 50
