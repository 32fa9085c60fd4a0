import errno
import os
import socket

import pytest

from app.web.server.accepting import FRESH_S, LEAD, Acceptor, ConnectionShares


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def shares(clock):
    return ConnectionShares(4, clock)


def test_a_worker_alone_need_not_wait_for_anybody(shares):
    shares.report(1, 50)
    assert shares.fewest_of_others(1) is None


def test_each_sees_the_fewest_of_the_others(shares):
    for worker, connections in ((1, 5), (2, 9), (3, 7)):
        shares.report(worker, connections)
    assert [shares.fewest_of_others(worker) for worker in (1, 2, 3)] == [7, 5, 5]


def test_who_has_left_or_not_been_heard_of_does_not_count(shares, clock):
    shares.report(1, 5)
    shares.report(2, 0)
    shares.leave(2)
    assert shares.fewest_of_others(3) == 5
    clock.now_s += 2 * FRESH_S
    assert shares.fewest_of_others(3) is None


def test_one_in_the_place_of_a_dead_one_takes_it_over(shares):
    shares.report(1, 80)
    shares.report(5, 0)
    assert shares.fewest_of_others(2) == 0


def test_the_figures_cross_a_fork(shares):
    child = os.fork()
    if child == 0:
        shares.report(2, 33)
        os._exit(0)
    os.waitpid(child, 0)
    assert shares.fewest_of_others(1) == 33


class Loop:
    """Keeps what it was asked to do."""

    def __init__(self):
        self.readers, self.later, self.tasks = {}, [], []

    def add_reader(self, fileno, call, *arguments):
        self.readers[fileno] = lambda: call(*arguments)

    def remove_reader(self, fileno):
        self.readers.pop(fileno, None)

    def call_later(self, seconds, call, *arguments):
        self.later.append((seconds, lambda: call(*arguments)))

    def create_task(self, coroutine):
        coroutine.close()
        self.tasks.append(coroutine)
        return self

    def add_done_callback(self, call):
        """As a task would."""


class Listening:
    """A socket that many clients wait at, or that cannot accept."""

    def __init__(self, error=None):
        self.error = error

    def accept(self):
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        return socket.socket(), ("127.0.0.1", 1)

    def fileno(self):
        return 7

    def setblocking(self, _blocking):
        """It never blocks."""

    def close(self):
        """Nothing to do."""


def accepting(shares, error=None):
    loop = Loop()
    acceptor = Acceptor(loop, [Listening(error)], lambda *_: None, shares, 1)
    acceptor.start()
    return acceptor, loop


def test_a_worker_takes_a_few_more_than_the_others_and_waits_for_them(shares):
    shares.report(2, 3)
    _, loop = accepting(shares)
    while 7 in loop.readers:
        loop.readers[7]()
    assert len(loop.tasks) == 3 + LEAD
    shares.report(2, 4)
    loop.later[0][1]()
    loop.readers[7]()
    assert len(loop.tasks) == 4 + LEAD


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_without_file_descriptors_it_waits_and_says_so_once(shares, error, caplog):
    _, loop = accepting(shares, error)
    for _ in range(3):
        loop.readers[7]()
        assert 7 not in loop.readers  # the loop does not wake up for clients that nobody can accept
        loop.later.pop()[1]()
    assert [record.message for record in caplog.records] == ["cannot_accept"]


@pytest.mark.parametrize("error", [errno.EAGAIN, errno.ECONNABORTED])
def test_a_client_that_another_worker_took_or_that_has_gone_is_nothing_to_wait_for(shares, error):
    _, loop = accepting(shares, error)
    loop.readers[7]()
    assert 7 in loop.readers


def test_a_stopped_worker_accepts_no_more_and_the_others_do_not_wait_for_it(shares):
    acceptor, loop = accepting(shares)
    assert shares.fewest_of_others(2) == 0
    acceptor.stop()
    acceptor.report()
    assert loop.readers == {}
    assert shares.fewest_of_others(2) is None
