import multiprocessing
import os
import signal

import pytest

from app.files import FileLock, lock, lock_if_possible


def hold(path, entered, release):
    with lock_if_possible(path):
        entered.set()
        release.wait(60)


def test_one_process_at_a_time_holds_a_lock_and_it_is_freed_when_its_holder_is_killed(tmp_path):
    context = multiprocessing.get_context("spawn")
    entered, never = context.Event(), context.Event()
    holder = context.Process(target=hold, args=(tmp_path / "lock", entered, never))
    holder.start()
    assert entered.wait(30)
    waiter_entered, release = context.Event(), context.Event()
    release.set()
    waiter = context.Process(target=hold, args=(tmp_path / "lock", waiter_entered, release))
    waiter.start()
    assert not waiter_entered.wait(0.5)
    os.kill(holder.pid, signal.SIGKILL)
    assert waiter_entered.wait(30)
    waiter.join(30)
    holder.join(30)


def test_without_a_place_for_the_file_the_work_is_done_all_the_same(tmp_path):
    with lock_if_possible(tmp_path / "nowhere" / "lock"):
        done = True
    assert done


def test_shared_holders_keep_out_an_exclusive_one_until_its_wait_is_over(tmp_path):
    path = tmp_path / "lock"
    with lock(path, shared=True), lock(path, shared=True), pytest.raises(BlockingIOError):
        lock(path, wait_s=0.01)
    with lock(path, wait_s=0):
        assert not FileLock(path).acquire()
