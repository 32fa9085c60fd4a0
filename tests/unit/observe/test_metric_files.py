"""No count is lost or doubled when workers die, while others read."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from app.observe import metric_files
from app.observe.metric_files import DeadWorkers
from app.observe.metrics import Metrics
from tests.unit.observe.workers import SHA256, Worker, samples, value

Start = Callable[[], Worker]


def total(directory: Path) -> float:
    """Answered requests over all workers, as a process that has counted nothing sees them."""
    answered = value(Metrics(directory=directory), "prediction_requests_total", protocol="bakeoff")
    assert answered is not None
    return answered


def test_workers_stopped_killed_and_replaced_leave_the_sum_exact(directory: Path, start: Start) -> None:
    dead = DeadWorkers(directory)
    workers = [start() for _ in range(4)]
    for worker in workers:
        worker.serve("v1", 250)
    for how, worker in zip(("terminate", "kill"), workers, strict=False):
        assert dead.merge(worker.end(how))
    replacements = [start(), start()]
    for worker in replacements + workers[2:]:
        worker.serve("v2", 250)
    seen = samples(Metrics(directory=directory).exposition()[0])
    assert seen["prediction_requests_total", frozenset({("protocol", "bakeoff")})] == 2000
    for version in ("v1", "v2"):
        assert seen["model_version_requests_total", frozenset({("version", version)})] == 1000
        assert seen["prediction_latency_seconds_count", frozenset({("version", version)})] == 1000


def test_every_worker_shows_the_same(directory: Path, start: Start) -> None:
    workers = [start(), start()]
    for worker in workers:
        worker.serve("v1", 10)
    first, second = (worker.do("exposition") for worker in workers)
    assert first == second


def test_merging_changes_no_count(directory: Path, start: Start) -> None:
    worker = start()
    worker.serve("v1", 100)
    worker.do("refused", "malformed_json")
    before = sums(directory)
    DeadWorkers(directory).merge(worker.end())
    assert sums(directory) == before


def sums(directory: Path) -> dict:
    """The samples that only ever grow."""
    seen = samples(Metrics(directory=directory).exposition()[0])
    return {key: v for key, v in seen.items() if key[0].endswith(("_total", "_bucket", "_count", "_sum"))}


def test_workers_are_counted_as_long_as_they_live(directory: Path, start: Start) -> None:
    first, second = start(), start()
    first.serve("v1", 1)
    second.serve("v1", 1)
    assert value(Metrics(directory=directory), "api_workers") == 2
    DeadWorkers(directory).merge(first.end())
    assert value(Metrics(directory=directory), "api_workers") == 1


def test_the_gauges_of_the_dead_are_gone(directory: Path, start: Start) -> None:
    worker = start()
    worker.do("queue_rows", 5)
    worker.do("breaker", "v1", True)
    DeadWorkers(directory).merge(worker.end())
    view = Metrics(directory=directory)
    assert value(view, "recorder_queue_rows") == 0
    assert value(view, "circuit_breaker_open", version="v1") is None


def test_two_hundred_dead_workers_leave_two_files(directory: Path) -> None:
    dead = DeadWorkers(directory)
    for _ in range(200):
        pid = os.fork()
        if pid == 0:
            Metrics(directory=directory).served("v1", [0.001], 1)
            os._exit(0)
        os.waitpid(pid, 0)
        assert dead.merge(pid)
    assert {path.name for path in directory.glob("*.db")} == {"counter_retired.db", "histogram_retired.db"}
    assert total(directory) == 200


def test_readers_never_see_a_fold_half_done_and_do_not_starve_it(directory: Path, start: Start) -> None:
    dead = DeadWorkers(directory, patience_s=10)
    workers, readers = [start() for _ in range(20)], [start(), start()]
    for worker in workers:
        worker.serve("v1", 10)
    watches = [reader.watch("model_version_requests_total", "v1") for reader in readers]
    assert all(dead.merge(worker.end()) for worker in workers)
    assert [stop() for stop in watches] == [{200}, {200}]


def test_a_reader_that_hangs_delays_the_fold_and_not_the_master(directory: Path, start: Start) -> None:
    dead = DeadWorkers(directory, patience_s=0.01)
    first, second = start(), start()
    first.serve("v1", 3)
    second.serve("v1", 4)
    with metric_files.reading(directory):
        assert dead.merge(first.end()) is False
    assert total(directory) == 7
    assert dead.merge(second.end()) is True
    assert total(directory) == 7
    assert not list(directory.glob(f"counter_{first.pid}.db"))


def test_a_full_disk_leaves_the_files_of_the_dead_to_be_read(
    directory: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = start()
    worker.serve("v1", 5)
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", _no_space)
        assert DeadWorkers(directory).merge(worker.end()) is False
    assert total(directory) == 5


def test_a_worker_that_starts_on_a_full_disk_serves_uncounted(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "posix_fallocate", _no_space)
    metrics = Metrics(directory=directory)
    metrics.served("v1", [0.001], 1)
    assert value(metrics, "prediction_requests_total", protocol="bakeoff") is None
    assert not list(directory.glob("*.db"))


@pytest.mark.parametrize("full", [False, True])
def test_a_worker_forked_from_a_preloaded_app_counts_for_itself(directory: Path, full: bool) -> None:
    metrics = Metrics(directory=directory)
    metrics.declare(SHA256)
    pid = os.fork()
    if pid == 0:
        if full:
            os.posix_fallocate = _no_space
        metrics.start()
        metrics.served("v1", [0.001], 1)
        os._exit(0 if len(list(directory.glob(f"*_{os.getpid()}.db"))) == (0 if full else 4) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert value(metrics, "model_version_requests_total", version="v1") == (0 if full else 1)


def _no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_missing_directory_does_not_end_the_master(tmp_path: Path) -> None:
    assert DeadWorkers(tmp_path / "gone").merge(1) is False


def test_a_worker_counts_again_once_there_is_room(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", _no_space)
        metrics = Metrics(directory=directory)
    metrics.start()
    metrics.served("v1", [0.001], 1)
    assert value(metrics, "prediction_requests_total", protocol="bakeoff") == 1


def test_a_server_may_wipe_after_its_app_was_preloaded(directory: Path) -> None:
    shared = directory / "made" / "later"
    metrics = Metrics(directory=shared)
    metrics.declare(SHA256)
    metric_files.wipe(shared)
    pid = os.fork()
    if pid == 0:
        metrics.start()
        metrics.served("v1", [0.001], 1)
        os._exit(0)
    os.waitpid(pid, 0)
    assert total(shared) == 1
    assert value(metrics, "model_info", version="v2", sha256=SHA256["v2"]) == 1


def test_wiping_forgets_earlier_runs(directory: Path, start: Start) -> None:
    worker = start()
    worker.serve("v1", 5)
    worker.end()
    metric_files.wipe(directory)
    assert total(directory) == 0


@pytest.mark.parametrize("environment", [None, ""])
def test_without_its_variable_nothing_is_shared(environment: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    if environment is not None:
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", environment)
    assert metric_files.shared_directory() is None
