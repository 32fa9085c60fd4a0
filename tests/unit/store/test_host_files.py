"""Files by which the workers of a host share what each has recorded and reloaded."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import pytest

from app.services.recording.recorder import wait_until_settled
from app.store.host_files import SharedGenerations, SharedProgress
from tests.waiting import eventually

WORKER = """
import os, pathlib, sys
from app.store.host_files import SharedGenerations
own = SharedGenerations(pathlib.Path(sys.argv[1]))
own.confirm("old")
print(os.getpid(), flush=True)
for line in sys.stdin:
    own.confirm(line.strip())
    print("done", flush=True)
"""
OWN_PIDS = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "reload"


@pytest.fixture
def generations(folder):
    return SharedGenerations(folder)


@pytest.fixture
def worker(folder):
    """Starts processes that have confirmed "old", and confirm what is written to them; gives (process, its own pid)."""
    started = []

    def start(*prefix):
        process = subprocess.Popen(
            [*prefix, sys.executable, "-c", WORKER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process, int(process.stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.communicate()


def confirm(process, generation):
    process.stdin.write(f"{generation}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"


def test_before_the_first_reload_there_is_no_generation(generations):
    assert generations.current() == ""


def test_each_reload_wants_another_generation_that_all_see(generations, folder):
    first, second = generations.advance(), generations.advance()
    assert first != second
    assert SharedGenerations(folder).current() == second


def test_a_live_process_with_another_generation_is_behind_until_it_confirms(generations, worker):
    generations.confirm("old")
    other, _ = worker()
    generations.confirm("new")
    assert generations.behind("new") == 1
    confirm(other, "new")
    assert generations.behind("new") == 0


def test_nobody_waits_for_the_dead_and_their_file_is_removed(generations, folder, worker):
    generations.confirm("new")
    process, _ = worker()
    assert len([*folder.iterdir()]) == 2
    process.kill()
    process.wait()
    assert generations.behind("new") == 0
    assert len([*folder.iterdir()]) == 1


def test_a_new_process_sweeps_up_what_dead_ones_left(generations, folder, worker):
    process, _ = worker()
    process.kill()
    process.wait()
    generations.confirm("old")
    assert len([*folder.iterdir()]) == 1


@pytest.mark.skipif(
    os.getuid() != 0 or not shutil.which("unshare") or subprocess.run([*OWN_PIDS, "true"], check=False).returncode != 0,
    reason="no process id namespaces here: two workers with one process id were not tried",
)
def test_two_containers_whose_workers_have_the_same_process_id_are_distinguished(generations, worker):
    (one, pid), (other, same) = worker(*OWN_PIDS), worker(*OWN_PIDS)
    assert pid == same
    confirm(one, "new")
    assert generations.behind("new") == 1
    other.kill()  # and with it, a moment later, its child, which is the worker
    eventually(lambda: not generations.behind("new"), 10, lambda: "the killed worker is still waited for")


def test_a_worker_whose_file_was_removed_is_counted_again_from_the_next_reload_on(worker, generations, folder):
    process, _ = worker()
    [path.unlink() for path in folder.glob("*.worker")]
    wanted = generations.advance()
    assert generations.behind(wanted) == 0
    confirm(process, "older")
    assert generations.behind(wanted) == 1
    confirm(process, wanted)
    assert generations.behind(wanted) == 0


PROGRESS_WORKER = """
import sys, pathlib
from app.store.host_files import SharedProgress
numbers = SharedProgress(pathlib.Path(sys.argv[1])).open()
numbers[0], numbers[1] = 7, int(sys.argv[2])
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def progress_worker(tmp_path):
    started = []

    def start(settled):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRESS_WORKER, tmp_path, str(settled)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        assert process.stdout.readline() == b"ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_what_one_process_writes_another_reads(tmp_path, progress_worker):
    progress_worker(settled=3)
    own = SharedProgress(tmp_path)
    own.open()[0] = 2
    assert sorted(own.all().values()) == [(2, 0), (7, 3)]
    own.close()


def test_a_reader_waits_for_another_process_until_its_time_is_up(tmp_path, progress_worker):
    progress_worker(settled=3)
    assert not wait_until_settled(SharedProgress(tmp_path), 0.01)


def test_nobody_waits_for_the_dead(tmp_path, progress_worker):
    process = progress_worker(settled=3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert wait_until_settled(SharedProgress(tmp_path), 10)
    assert list(tmp_path.iterdir()) == []


def test_a_new_process_removes_the_progress_files_of_dead_ones(tmp_path, progress_worker):
    process = progress_worker(settled=7)
    process.kill()
    process.wait()
    own = SharedProgress(tmp_path)
    own.open()
    assert list(own.all().values()) == [(0, 0)]
    own.close()


def test_closing_withdraws_the_numbers(tmp_path):
    own = SharedProgress(tmp_path)
    own.open()
    own.close()
    assert own.all() == {}
