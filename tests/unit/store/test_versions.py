import threading

import pytest

from app.domain.decision import AuditNote
from app.errors import StoreUnavailable
from app.inference.artefact import read_artefact
from app.inference.registry import ModelRegistry
from app.services.ports import VersionRecord
from app.store.configurations import ConfigurationLog, DecisionTable
from app.store.deployment import DeploymentKey
from app.store.engine import Database
from app.store.versions import StoredVersions
from tests import builders
from tests.unit.inference import published

OURS, THEIRS = "a1" * 16, "b2" * 16


def record(version, ordinal, manifest="a"):
    return VersionRecord(version=version, ordinal=ordinal, manifest=manifest, created_at="2026-11-20T12:00:00Z")


def test_a_version_is_recorded_once_by_who_published_it_or_else_as_found(database, rows):
    database.probe()
    StoredVersions(database, actor="ann", clock_us=lambda: 7).publish(record("v1", 1))
    for _ in range(2):
        assert StoredVersions(database).compare([record("v1", 1), record("v2", 2)]) == {}
    query = "SELECT version, ordinal, manifest, created_at, actor FROM versions ORDER BY number"
    created = "2026-11-20T12:00:00Z"
    assert rows(query) == [("v1", 1, "a", created, "ann"), ("v2", 2, "a", created, "")]


def test_versions_of_another_deployment_are_not_recorded(database, rows):
    database.probe()
    other = StoredVersions(database, DeploymentKey(database, THEIRS).recognise)
    other.publish(record("v1", 1))  # the store has no key yet, and gets none
    assert rows("SELECT fingerprint FROM deployment_keys") == []
    DeploymentKey(database, OURS).require()
    for use in (other.retirements, lambda: other.publish(record("v2", 2)), lambda: other.compare([record("v3", 3)])):
        with pytest.raises(StoreUnavailable, match="bakeoff accept-key"):
            use()
    assert rows("SELECT version FROM versions") == [("v1",)]


@pytest.fixture
def shared(database):
    """`StoredVersions` of a store that has v1 and is a server's."""
    if database.kind.server is None:
        pytest.skip("a file has one host")
    database.probe()
    versions = StoredVersions(database, actor="ann")
    versions.publish(record("v1", 1))
    return versions


@pytest.mark.parametrize("found", [record("v1", 1, "b"), record("v1", 2, "b"), record("other", 1)])
def test_another_host_has_another_version_of_the_name_or_the_ordinal(shared, found):
    other = shared.compare([found])[found.version]
    assert (other.version, other.manifest, other.actor) == ("v1", "a", "ann")


def test_what_was_published_last_is_meant_and_the_one_before_no_more(shared):
    shared.publish(record("v1", 2, "b"))
    assert shared.compare([record("v1", 2, "b")]) == {}
    assert shared.compare([record("v1", 1)])["v1"].manifest == "b"
    assert shared.compare([record("v2", 2)])["v2"].version == "v1"


def test_on_one_host_its_folder_says_which_version_is_meant(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'one.sqlite'}")
    versions = StoredVersions(database)
    assert versions.compare([record("v1", 1)]) == versions.retirements() == {}
    assert not (tmp_path / "one.sqlite").exists()  # commands make no store
    database.probe()
    for manifest in ("a", "b", "a"):
        assert versions.compare([record("v1", 1, manifest)]) == {}
    database.close()


def test_hosts_that_find_different_versions_at_once_agree_on_one(store_url, shared):
    found = {manifest: record("v7", 7, manifest) for manifest in "bc"}
    threads, answers = [], {}
    for manifest, each in found.items():
        own = StoredVersions(Database(store_url))
        compare = threading.Thread(target=lambda m=manifest, o=own, e=each: answers.update({m: o.compare([e])}))
        threads.append(compare)
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(len(each) for each in answers.values()) == [0, 1]


def test_the_newest_entry_of_the_audit_log_says_whether_a_version_is_retired(database):
    ConfigurationLog(database).settle(lambda _: builders.configuration({"v1": 1.0, "v2": 0.0}, champion="v1"))
    table = DecisionTable(database)
    for at_us, action, version in ((1, "retire", "v1"), (2, "retire", "v2"), (3, "restore", "v3"), (4, "retire", "v3")):
        note = AuditNote(actor="ann", action=action, version=version, note="why")
        table.record(lambda _, note=note: [note], at_us)
    table.record(lambda _: [AuditNote(actor="bob", action="restore", version="v2", note=None)], 5)
    found = StoredVersions(database).retirements()
    assert {name: (each.retired, each.by, each.used) for name, each in found.items()} == {
        "v1": (True, "ann", True),
        "v2": (False, "bob", False),
        "v3": (True, "ann", False),
    }
    assert found["v3"].at == "1970-01-01T00:00:00.000004Z"


def test_versions_of_one_number_in_one_registry_are_left_to_its_own_rule(database, rows):
    database.probe()
    versions = StoredVersions(database)
    versions.compare([record("v1", 1), record("ours", 2)])
    for _ in range(3):
        found = [record("v1", 1), record("ours", 2), record("theirs", 2, "b")]
        assert list(versions.compare(found)) == ([] if database.kind.server is None else ["theirs"])
        assert rows("SELECT version FROM versions ORDER BY number") == [("v1",), ("ours",)]
    assert versions.compare([record("new", 3), record("newer", 3, "b")]) == {}
    assert len(rows("SELECT version FROM versions")) == 2


def test_what_other_hosts_have_published_is_known_where_there_can_be_others(shared):
    shared.publish(record("v7", 9))
    assert [(each.version, each.ordinal) for each in shared.known()] == [("v1", 1), ("v7", 9)]


def test_a_refused_version_that_is_published_again_as_told_leaves_the_right_one_its_name(shared, tmp_path):
    right, other = (ModelRegistry(tmp_path / name, published.KEY) for name in ("right", "other"))
    files = {"model.joblib": b"weights", "reference.json": b"{}"}
    for registry in (right, other):
        registry.publish(published.manifest(), files)  # where the store cannot be reached
        registry.rows = shared
    found = right.publish(published.manifest(), files)
    other.rows = None
    built = other.publish(published.manifest(), {**files, "model.joblib": b"others"})
    other.rows = shared
    assert built.version == found.version == "v2"
    assert shared.compare([other.record("v2")])["v2"].manifest == right.record("v2").manifest
    (other.root / "v2").rename(tmp_path / "moved")
    artefact = read_artefact(tmp_path / "moved", published.KEY, None)
    assert other.publish(artefact.manifest, artefact.files).version == "v3"
    assert shared.compare([right.record("v2")]) == {}
    assert shared.compare([other.record("v3")]) == {}


def test_one_host_has_no_others(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'one.sqlite'}")
    database.probe()
    StoredVersions(database).publish(record("v1", 1))
    assert StoredVersions(database).known() == []
    database.close()


def test_a_retirement_says_what_was_published_under_the_name_since(database):
    database.probe()
    for at_us, actor, manifest in ((1, "ann", "a"), (3, "ann", "b"), (4, "", "c")):
        StoredVersions(database, actor=actor, clock_us=lambda at=at_us: at).publish(record("v1", at_us, manifest))
    note = AuditNote(actor="ann", action="retire", version="v1", note=None)
    DecisionTable(database).record(lambda _: [note], 2)
    assert StoredVersions(database).retirements()["v1"].since == ("b",)  # found is not published
