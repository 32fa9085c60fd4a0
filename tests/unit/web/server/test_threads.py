import threading

import pytest

from app.web.server.threads import MOST_EXTRA, WorkerThreads


@pytest.fixture
def threads():
    threads = WorkerThreads(2)
    yield threads
    threads.shutdown()


class Slow:
    """Work that ends when its gate is opened."""

    def __init__(self):
        self.begun = threading.Semaphore(0)
        self.gate = threading.Event()

    def __call__(self, subject):
        self.begun.release()
        assert self.gate.wait(10)
        return subject


def test_work_is_done_and_its_result_returned(threads):
    assert threads.submit(lambda subject: subject + 1, 41).result(5) == 42


def test_an_error_in_work_is_raised_by_its_future_and_the_thread_lives_on(threads):
    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda subject: 1 / subject, 0).result(5)
    assert [threads.submit(str, number).result(5) for number in range(5)] == list("01234")


def test_more_than_there_are_threads_waits_and_is_counted(threads):
    slow = Slow()
    futures = [threads.submit(slow, number) for number in range(5)]
    [slow.begun.acquire(timeout=5) for _ in range(2)]
    assert threads.waiting() == 3
    assert sorted(running.subject for running in threads.begun_before(float("inf"))) == [0, 1]
    slow.gate.set()
    assert [future.result(5) for future in futures] == [0, 1, 2, 3, 4]


def test_for_each_that_is_stuck_another_works(threads):
    slow = Slow()
    stuck = [threads.submit(slow, number) for number in range(2)]
    late = threads.submit(str, 7)
    threads.compensate(1)
    assert late.result(5) == "7"
    slow.gate.set()
    assert [future.result(5) for future in stuck] == [0, 1]


def test_there_is_a_bound_to_that(threads):
    threads.compensate(10 * MOST_EXTRA)
    assert threads._alive == 2 + MOST_EXTRA
    threads.compensate(0)


def test_nothing_runs_after_the_end_of_what_was_begun():
    threads = WorkerThreads(3)
    futures = [threads.submit(str, number) for number in range(20)]
    threads.shutdown()
    assert [future.result(5) for future in futures] == [str(number) for number in range(20)]
