import os

import pytest

from app.web.server.load_shedding import FRESH_S, ConnectionShares


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
