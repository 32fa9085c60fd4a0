import multiprocessing
import threading

import pytest

from app.errors import SettingError, StoreUnavailable
from app.store.configurations import DecisionTable
from app.store.deployment import DeploymentKey, StoredGenerations
from app.store.drift_reports import DriftTable
from app.store.engine import Database
from app.store.kinds import DURABLE
from app.store.outcomes import FeedbackLog
from app.store.predictions import PredictionLog
from tests.unit.store.stored_rows import logged

OURS, THEIRS = "a1" * 16, "b2" * 16


def test_the_first_key_is_written_once_and_another_one_is_refused(database, rows):
    for _ in range(2):
        DeploymentKey(database, OURS, lambda: 7).require()
    with pytest.raises(SettingError, match=r"key of this process \(b2b2b2b2…\) is not that of the store .*a1a1a1a1…"):
        DeploymentKey(database, THEIRS).require()
    assert rows("SELECT fingerprint, since_us FROM deployment_keys") == [(OURS, 7)]


def test_the_variable_that_names_the_key_is_the_one_to_correct(database):
    DeploymentKey(database, OURS).require()
    other = DeploymentKey(database, THEIRS, setting="DEPLOYMENT_KEY_FILE")
    with pytest.raises(SettingError) as refused:
        other.require()
    assert refused.value.variable == "DEPLOYMENT_KEY_FILE"
    with pytest.raises(StoreUnavailable, match=r"^DEPLOYMENT_KEY_FILE: the key"):
        other.admit()


def test_a_running_process_with_another_key_cannot_use_the_store(database):
    DeploymentKey(database, OURS).require()
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="bakeoff accept-key"):
            DeploymentKey(database, THEIRS).admit()


def test_a_key_that_was_accepted_takes_the_place_of_the_one_before(database):
    DeploymentKey(database, OURS).require()
    DeploymentKey(database, THEIRS).accept()
    DeploymentKey(database, THEIRS).require()
    with pytest.raises(SettingError):
        DeploymentKey(database, OURS).require()


def test_a_process_that_runs_learns_that_another_key_was_accepted(database):
    now_s = 0.0
    running = DeploymentKey(database, OURS, clock=lambda: now_s)
    running.require()
    DeploymentKey(database, THEIRS).accept()
    running.admit()  # known from a moment ago
    now_s = 6.0
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"key of this process \(a1a1a1a1…\) is not .*b2b2b2b2…"):
            running.admit()
        assert running.foreign
    DeploymentKey(database, OURS).accept()
    running.admit()
    assert not running.foreign


WRITES = {
    "labels": lambda database, admit: FeedbackLog(database, lambda: 1, admit=admit).commit([[]]),
    "predictions": lambda database, admit: PredictionLog(database, admit).append([logged(1)]),
    "decisions": lambda database, admit: DecisionTable(database, admit).commit(lambda _latest: pytest.fail("asked")),
    "acknowledgements": lambda database, admit: DriftTable(database, admit).acknowledge("v1", pytest.fail),
    "reloads": lambda database, admit: StoredGenerations(database, admit=admit).advance(),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_process_whose_key_is_no_longer_accepted_writes_nothing(database, write):
    now_s = 0.0
    running = DeploymentKey(database, OURS, clock=lambda: now_s)
    running.require()
    DeploymentKey(database, THEIRS).accept()
    now_s = 6.0
    with pytest.raises(StoreUnavailable, match=r"key of this process \(a1a1a1a1…\) is not"):
        write(database, running.admit)


def _start(url, fingerprint, refused):
    try:
        DeploymentKey(Database(url), fingerprint).require()
    except SettingError:
        refused.put(fingerprint)


def test_of_hosts_that_start_at_once_with_keys_of_their_own_one_is_the_first(store_url, rows):
    context = multiprocessing.get_context("fork")
    refused = context.Queue()
    hosts = [context.Process(target=_start, args=(store_url, each, refused)) for each in (OURS, THEIRS)]
    [host.start() for host in hosts]
    [host.join() for host in hosts]
    [(first,)] = rows("SELECT fingerprint FROM deployment_keys")
    assert {first, refused.get(timeout=10)} == {OURS, THEIRS}


class Hosts:
    """Workers on one store, and their clock (s)."""

    def __init__(self, database):
        self.now_s = 1000.0
        self.a, self.b = (StoredGenerations(database, lambda: self.now_s) for _ in range(2))


@pytest.fixture
def later(change):
    """As if so many seconds had passed by the clock of the database."""
    return lambda seconds: change(f"UPDATE workers SET seen_us = seen_us - {seconds * 1_000_000}")


def test_a_reload_of_one_host_is_news_for_all_and_known_who_has_not_followed(database):
    hosts = Hosts(database)
    assert hosts.a.current() == hosts.b.current() == ""
    hosts.a.confirm("")
    hosts.b.confirm("")
    generation = hosts.a.advance()
    hosts.a.confirm(generation)
    assert (hosts.b.current(), hosts.a.behind(generation)) == (generation, 1)
    hosts.b.confirm(generation)
    assert hosts.a.behind(generation) == 0
    assert hosts.b.advance() != generation


def test_a_worker_that_ended_is_not_waited_for_and_its_row_goes_after_a_day(database, rows, later):
    hosts = Hosts(database)
    hosts.a.confirm("")
    hosts.b.confirm("")
    later(14)
    hosts.now_s += 14
    hosts.a.current()  # shows that it lives
    later(14)
    assert hosts.a.behind("new") == 1
    later(86_400)
    hosts.b.confirm("new")
    assert rows("SELECT generation FROM workers") == [("new",)]


def test_hosts_whose_clocks_differ_wait_for_each_other(database, monkeypatch):
    hosts = Hosts(database)
    with monkeypatch.context() as patch:
        patch.setattr("app.clock.time.time_ns", lambda: 10**18)  # in 2001
        hosts.a.confirm("old")
    hosts.b.confirm("new")
    assert hosts.b.behind("new") == 1


def test_a_worker_that_leaves_is_not_waited_for_and_does_not_come_back(database, rows):
    hosts = Hosts(database)
    hosts.a.confirm("old")
    hosts.b.confirm("new")
    hosts.a.leave()
    hosts.now_s += 14
    hosts.a.current()
    hosts.a.confirm("old")
    assert (hosts.b.behind("new"), rows("SELECT generation FROM workers")) == (0, [("new",)])


def test_a_sign_of_life_does_not_overwrite_what_a_reload_confirms_meanwhile(database, rows, monkeypatch):
    hosts = Hosts(database)
    hosts.a.confirm("old")
    hosts.now_s += 14
    writes, reload, put = threading.Event(), threading.Thread(target=hosts.a.confirm, args=("new",)), hosts.a._put

    def interrupted(generation, *loaded):
        if not writes.is_set():
            writes.set()
            reload.start()
            reload.join(0.2)  # without the lock it ends here
        put(generation, *loaded)

    monkeypatch.setattr(hosts.a, "_put", interrupted)
    hosts.a.current()
    reload.join()
    assert rows("SELECT generation FROM workers") == [("new",)]


def test_what_a_worker_has_not_loaded_is_lacked_by_its_host(database, rows):
    hosts = Hosts(database)
    hosts.a.confirm("new", ["v1", "v2"])
    [(host,)] = rows("SELECT host FROM workers")
    assert hosts.a.lacking() == {}
    hosts.b.confirm("old", ["v1", "v3"])  # whether it can follow is not known
    assert hosts.a.lacking() == {host: ["v2", "v3"]}
    assert hosts.a.lacking("new") == {}
    hosts.b.leave()
    assert len(rows("SELECT worker FROM worker_versions")) == 1
    hosts.a.confirm("new", ["v1", "v2"])
    assert hosts.a.lacking() == {}


def test_a_worker_that_leaves_waits_for_the_lock_as_long_as_a_label_does(database, rows, monkeypatch):
    hosts, begin, waits_s = Hosts(database), database.begin, []
    hosts.a.confirm("new", ["v1"])
    monkeypatch.setattr(database, "begin", lambda access: waits_s.append(access.busy_s) or begin(access))
    hosts.a.leave()
    assert waits_s == [DURABLE.busy_s]
    assert rows("SELECT worker FROM workers") == rows("SELECT worker FROM worker_versions") == []
