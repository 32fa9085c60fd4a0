import signal
import subprocess
import sys

import pytest

from app.services.progress import wait_until_settled
from app.store.progress import SharedProgress

WORKER = """
import sys, pathlib, time
from app.store.progress import SharedProgress
numbers = SharedProgress(pathlib.Path(sys.argv[1])).open()
numbers[0], numbers[1] = 7, int(sys.argv[2])
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def worker(tmp_path):
    started = []

    def start(settled):
        process = subprocess.Popen([sys.executable, "-c", WORKER, tmp_path, str(settled)], stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout.readline() == b"ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_what_one_process_writes_another_reads(tmp_path, worker):
    worker(settled=3)
    own = SharedProgress(tmp_path)
    own.open()[0] = 2
    assert sorted(own.all().values()) == [(2, 0), (7, 3)]
    own.close()


def test_a_reader_waits_for_another_process_until_its_time_is_up(tmp_path, worker):
    worker(settled=3)
    assert not wait_until_settled(SharedProgress(tmp_path), 0.01)


def test_nobody_waits_for_the_dead(tmp_path, worker):
    process = worker(settled=3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert wait_until_settled(SharedProgress(tmp_path), 10)
    assert list(tmp_path.iterdir()) == []


def test_a_new_process_sweeps_up_what_dead_ones_left(tmp_path, worker):
    process = worker(settled=7)
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
