import threading

import pytest

from app.errors import StoreUnavailable
from app.services.snapshot import CachedSnapshot


class Source:
    """Returns 1, 2, 3, …; raises `error` where one is set."""

    def __init__(self):
        self.reads = 0
        self.error = None

    def __call__(self):
        self.reads += 1
        if self.error is not None:
            raise self.error
        return self.reads


@pytest.fixture
def now():
    return [100.0]


@pytest.fixture
def source():
    return Source()


def test_many_readers_read_once_in_the_time_to_live(now, source):
    snapshot = CachedSnapshot(lambda: now[0], 1.0)
    read = []
    for now[0] in (100.0, 100.5, 100.9, 101.0, 101.5):
        read.append(snapshot.get(source))
    assert read == [1, 1, 1, 2, 2]


def test_another_key_never_gets_the_value(now, source):
    snapshot = CachedSnapshot(lambda: now[0], 1.0)
    assert [snapshot.get(source, key) for key in ("a", "a", "b", "a")] == [1, 1, 2, 3]


def test_an_error_is_raised_and_not_cached(now, source):
    snapshot = CachedSnapshot(lambda: now[0], 1.0)
    source.error = OSError("gone")
    with pytest.raises(OSError, match="gone"):
        snapshot.get(source)
    source.error = None
    assert (snapshot.get(source), snapshot.last()) == (2, 2)


def test_an_outage_keeps_the_last_value_and_the_next_call_reads_again(now, source):
    snapshot = CachedSnapshot(lambda: now[0], 1.0, keep_on=(StoreUnavailable,))
    snapshot.get(source)
    now[0], source.error = 109.0, StoreUnavailable("locked")
    assert [snapshot.get(source), snapshot.get(source)] == [1, 1]
    source.error = None
    assert snapshot.get(source) == 4


def test_an_outage_never_gives_the_value_of_another_key(now, source):
    snapshot = CachedSnapshot(lambda: now[0], 1.0, keep_on=(StoreUnavailable,))
    snapshot.get(source, "a")
    source.error = StoreUnavailable("locked")
    with pytest.raises(StoreUnavailable):
        snapshot.get(source, "b")


def test_nothing_read_yet_has_no_last_value(now):
    assert CachedSnapshot(lambda: now[0], 1.0).last() is None


def test_while_one_thread_reads_the_others_get_the_previous_value(now, source):
    snapshot = CachedSnapshot(lambda: now[0], 1.0)
    snapshot.get(source)
    now[0] += 5
    reading, finish = threading.Event(), threading.Event()

    def slow():
        reading.set()
        finish.wait(10)
        return "slow"

    thread = threading.Thread(target=snapshot.get, args=(slow,))
    thread.start()
    assert reading.wait(10)
    assert snapshot.get(source) == 1
    finish.set()
    thread.join(10)
    assert snapshot.get(source) == "slow"


def test_the_first_readers_share_one_read(now, source):
    snapshot, started = CachedSnapshot(lambda: now[0], 1.0), threading.Barrier(4)
    read = []

    def ask():
        started.wait(10)
        read.append(snapshot.get(source))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert read == [1, 1, 1, 1]
