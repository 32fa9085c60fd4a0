"""The lock that lets one monitor run at a time, of a file and of a server."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from app.errors import SettingError, StoreUnavailable
from app.monitor.loop import wait_for
from app.store.engine import kind_of
from app.store.kinds import REBUILD, monitor_lock
from tests.unit.store.stored_rows import SQLITE_ONLY
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def lock(store_url, tmp_path):
    """Makes a lock as a process of its own would."""
    return lambda *name: monitor_lock(tmp_path, kind_of(store_url), *name)


def test_a_second_monitor_follows_says_so_once_and_takes_over(lock, caplog):
    caplog.set_level("INFO", "app.monitor.loop")
    with lock() as first, lock() as second:
        assert wait_for(first, threading.Event())
        taken = threading.Event()
        waiter = threading.Thread(target=lambda: wait_for(second, threading.Event(), 0.01) and taken.set())
        waiter.start()
        eventually(lambda: len(caplog.records) == 2)
        assert not taken.is_set()
        first.release()
        waiter.join(10)
        assert taken.is_set()
    assert [record.message for record in caplog.records] == ["monitor_leads", "monitor_follows", "monitor_leads"]


def test_a_monitor_that_lost_the_lock_says_so_once_and_that_it_leads_again(lock, caplog):
    caplog.set_level("INFO", "app.monitor.loop")
    with lock() as first, lock() as second:
        assert second.acquire()
        stop, ends = threading.Event(), iter((False, False, True))

        class Stop:
            def wait(self, _s):
                return next(ends)

        assert not wait_for(first, Stop(), lost=True)
        second.release()
        assert wait_for(first, stop, lost=True)
    follows = "monitor_follows"
    assert [record.message for record in caplog.records] == [follows, follows, "monitor_leads"]


class Flaky:
    """A lock whose store answers as it is told, and then gives it."""

    def __init__(self, *answers):
        self._answers = iter(answers)

    def acquire(self):
        answer = next(self._answers, True)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_monitor_that_waits_says_that_the_store_is_back_and_each_outage(caplog):
    caplog.set_level("INFO", "app.monitor.loop")
    away = StoreUnavailable("the server is starting")
    flaky = Flaky(False, away, away, False, False, away)
    assert wait_for(flaky, threading.Event(), 0.0)
    outage, back, follows = "monitor_store_unavailable", "monitor_store_back", "monitor_follows"
    assert caplog.messages == [follows, outage, back, follows, outage, back, "monitor_leads"]
    assert {each.levelname for each in caplog.records if each.message != outage} == {"INFO"}


def test_waiting_ends_when_the_process_is_to_stop(lock):
    stop = threading.Event()
    stop.set()
    with lock() as holder, lock() as waiter:
        assert holder.acquire()
        assert not wait_for(waiter, stop)


def test_a_rebuild_has_a_lock_of_its_own(lock):
    with lock() as monitor, lock(REBUILD) as rebuild:
        assert monitor.acquire()
        assert rebuild.acquire()


def test_whoever_has_it_holds_it_until_it_is_released(lock):
    with lock() as holder:
        assert holder.acquire()
        assert holder.held()
        holder.release()
        holder.release()
        assert not holder.held()


def test_the_lock_dies_with_its_holder(lock, store_url, tmp_path):
    code = "import sys; from pathlib import Path; from app.store.kinds import monitor_lock; "
    code += "from app.store.engine import kind_of\nwith monitor_lock(Path(sys.argv[1]), kind_of(sys.argv[2])) as lock: "
    code += "print(lock.acquire(), flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", code, str(tmp_path), store_url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, cwd=ROOT, text=True, **pipes) as holder, lock() as ours:
        assert holder.stdout.readline() == "True\n"
        assert not ours.acquire()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert wait_for(ours, threading.Event(), 0.01)


@SQLITE_ONLY
def test_a_folder_that_cannot_be_made_names_the_variable(store_url, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SettingError, match="DATA_DIR"), monitor_lock(tmp_path / "file", kind_of(store_url)):
        pass
