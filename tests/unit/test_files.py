import multiprocessing
import os
import signal
import time

from app.files import Turns


def hold(path, entered, seconds):
    with Turns(path).taken():
        entered.set()
        time.sleep(seconds)


def test_a_turn_is_had_by_one_process_at_a_time_and_freed_when_its_holder_is_killed(tmp_path):
    context = multiprocessing.get_context("spawn")
    entered = context.Event()
    holder = context.Process(target=hold, args=(tmp_path / "turn", entered, 60))
    holder.start()
    assert entered.wait(30)
    waiter_entered = context.Event()
    waiter = context.Process(target=hold, args=(tmp_path / "turn", waiter_entered, 0))
    waiter.start()
    assert not waiter_entered.wait(0.5)
    os.kill(holder.pid, signal.SIGKILL)
    assert waiter_entered.wait(30)
    waiter.join(30)
    holder.join(30)


def test_without_a_place_for_the_file_the_work_is_done_all_the_same(tmp_path):
    with Turns(tmp_path / "nowhere" / "turn").taken():
        done = True
    assert done
