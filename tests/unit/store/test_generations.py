import os
import shutil
import subprocess
import sys
import time

import pytest

from app.store.generations import SharedGenerations

WORKER = """
import os, pathlib, sys
from app.store.generations import SharedGenerations
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
    """Starts processes that have confirmed "old", and confirm what they are told; gives (process, its own pid)."""
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


def tell(process, generation):
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
    tell(other, "new")
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
def test_two_containers_whose_workers_have_the_same_process_id_are_told_apart(generations, worker):
    (one, pid), (other, same) = worker(*OWN_PIDS), worker(*OWN_PIDS)
    assert pid == same
    tell(one, "new")
    assert generations.behind("new") == 1
    other.kill()  # and with it, a moment later, its child, which is the worker
    deadline = time.monotonic() + 10
    while generations.behind("new"):
        assert time.monotonic() < deadline, "the killed worker is still waited for"


def test_whose_file_was_taken_away_is_counted_again_from_the_next_reload_on(worker, generations, folder):
    process, _ = worker()
    [path.unlink() for path in folder.glob("*.worker")]
    wanted = generations.advance()
    assert generations.behind(wanted) == 0
    tell(process, "older")
    assert generations.behind(wanted) == 1
    tell(process, wanted)
    assert generations.behind(wanted) == 0
