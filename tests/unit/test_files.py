import multiprocessing
import os
import signal

from app.files import ProcessLock


def hold(path, entered, release):
    with ProcessLock(path).taken():
        entered.set()
        release.wait(60)


def test_a_turn_is_had_by_one_process_at_a_time_and_freed_when_its_holder_is_killed(tmp_path):
    context = multiprocessing.get_context("spawn")
    entered, never = context.Event(), context.Event()
    holder = context.Process(target=hold, args=(tmp_path / "turn", entered, never))
    holder.start()
    assert entered.wait(30)
    waiter_entered, release = context.Event(), context.Event()
    release.set()
    waiter = context.Process(target=hold, args=(tmp_path / "turn", waiter_entered, release))
    waiter.start()
    assert not waiter_entered.wait(0.5)
    os.kill(holder.pid, signal.SIGKILL)
    assert waiter_entered.wait(30)
    waiter.join(30)
    holder.join(30)


def test_without_a_place_for_the_file_the_work_is_done_all_the_same(tmp_path):
    with ProcessLock(tmp_path / "nowhere" / "turn").taken():
        done = True
    assert done
