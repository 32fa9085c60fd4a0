"""The model registry on S3 (a server that imitates it): what all hosts see, publishers at once, and damaged copies."""

from __future__ import annotations

import errno
import shutil

import pytest

from app.errors import ArtefactRefused, RegistryConflict, Unavailable
from app.files import folder_lock
from app.inference import bucket
from app.inference.bucket import BucketStorage
from app.inference.loader import load_models
from app.inference.registry import ModelRegistry
from app.inference.retirement import as_candidate, candidate_of, served_names
from app.inference.s3 import S3Client
from app.inference.storage import ALIASES, LAST_ORDINAL
from tests.builders import loaded_models, loaded_version
from tests.unit.inference.published import KEY, manifest, retire
from tests.unit.store.archive import conftest as archives

s3_server = archives.s3_server
FILES = {"model.joblib": b"weights", "reference.json": b"{}"}
AT = "2026-11-28T00:00:00Z"


class Bucket:
    """A registry in a bucket, and the hosts that use it, each with its own copy."""

    def __init__(self, folder, place, environ):
        self.folder, self.place, self.environ = folder, place, environ
        self.now_s = 0.0

    @property
    def client(self):
        return S3Client(self.place, self.environ)

    def host(self, name="a", key=KEY):
        return ModelRegistry(BucketStorage(self.client, self.folder / name, lambda: self.now_s), key)

    def names(self):
        return sorted(self.client.etags())

    def overwrite(self, name, data):
        assert self.client.put(name, data, self.client.get(name).etag)

    def later(self, seconds=61.0):
        """As if that much time had passed for all hosts."""
        self.now_s += seconds


@pytest.fixture
def shared(s3_server, tmp_path):
    environ = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": s3_server}
    return Bucket(tmp_path, f"s3://logs/{tmp_path.name}", environ)


class Interrupted:
    """A client that does something else before it writes an object."""

    def __init__(self, client, name, act):
        self._client, self._name, self._act = client, name, act
        self.place = client.place

    def __getattr__(self, name):
        return getattr(self._client, name)

    def put(self, name, data, etag=None):
        if name.endswith(self._name):
            self._name, act = "nothing any more", self._act
            act()
        return self._client.put(name, data, etag)


def interrupted(shared, registry, name, act):
    registry.storage._client = Interrupted(shared.client, name, act)
    return registry


class Away:
    """A client of a bucket that does not answer, which is noticed after a while."""

    def __init__(self, place):
        self.place, self.asked = place, 0

    def etags(self):
        self.asked += 1
        raise OSError(errno.EIO, "cannot be reached", self.place)


def killed():
    raise KeyboardInterrupt


def test_what_one_host_publishes_every_host_reads_and_verifies(shared):
    published = shared.host().publish(manifest(), FILES)
    artefact = shared.host("b").verified("v1")
    assert (artefact.manifest, artefact.files) == (published, FILES)
    assert shared.host("b").publish(manifest(), FILES).ordinal == 2
    shared.later()
    assert shared.host().names() == ("v1", "v2")


def test_the_bucket_has_what_a_folder_would_have_so_either_can_be_copied_to_the_other(shared, tmp_path):
    shared.host().publish(manifest(), FILES)
    shared.host().point("champion", "v1")
    names = ["manifest.json", "manifest.sig", *FILES]
    assert shared.names() == sorted([LAST_ORDINAL, ALIASES, *(f"v1/{name}" for name in names)])
    in_folder = ModelRegistry(shutil.copytree(shared.folder / "a", tmp_path / "models"), KEY)
    assert (in_folder.names(), in_folder.aliases()) == (("v1",), {"champion": "v1"})
    assert in_folder.publish(manifest(), FILES).ordinal == 2


@pytest.mark.parametrize("last", ["manifest.sig", "model.joblib", "manifest.json"])
def test_a_publisher_that_is_killed_leaves_nothing_that_a_host_sees(shared, last, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        interrupted(shared, shared.host(), f"v1/{last}", killed).publish(manifest(), FILES, "v1")
    assert shared.host("b").names() == ()
    claimed = last != "manifest.sig"
    if claimed:
        with pytest.raises(RegistryConflict, match="v1 is being published by another process"):
            shared.host("b").publish(manifest(), FILES, "v1")
    published = shared.host("b").publish(manifest(), FILES)
    assert published.version == ("v2" if claimed else "v1")
    assert published.ordinal > 1
    if claimed:
        monkeypatch.setattr(bucket, "_CLAIM_S", -1.0)  # as if an hour had passed
        assert shared.host("b").publish(manifest(), {"model.joblib": b"other"}, "v1")
        assert shared.host("c").verified("v1").files == {"model.joblib": b"other"}


def test_of_two_publishers_at_once_one_gets_the_next_name_and_ordinal(shared):
    other = []
    mine = interrupted(shared, shared.host(), "v1/manifest.sig", lambda: other.append(publish_elsewhere(shared)))
    published = mine.publish(manifest(), FILES)
    assert (other[0].version, other[0].ordinal) == ("v1", 2)
    assert (published.version, published.ordinal) == ("v2", 3)
    assert shared.host("c").names() == ("v1", "v2")


def publish_elsewhere(shared):
    return shared.host("b").publish(manifest(), FILES)


def test_of_two_publishers_of_one_name_the_other_is_told(shared):
    mine = interrupted(shared, shared.host(), "v1/manifest.sig", lambda: publish_elsewhere(shared))
    with pytest.raises(
        RegistryConflict, match="nothing was published: v1 has just been published by another process: choose"
    ):
        mine.publish(manifest(), {"model.joblib": b"mine"}, "v1")
    assert shared.host("c").verified("v1").files == FILES
    with pytest.raises(RegistryConflict, match="'v1' is already published"):
        shared.host().publish(manifest(), FILES, "v1")


def test_no_two_publishers_get_one_ordinal(shared):
    other = []
    mine = interrupted(shared, shared.host(), LAST_ORDINAL, lambda: other.append(publish_elsewhere(shared)))
    assert {mine.publish(manifest(), FILES, "mine").ordinal, other[0].ordinal} == {1, 2}


@pytest.mark.parametrize("file", ["manifest.json", "manifest.sig", "model.joblib"])
def test_a_file_of_the_copy_that_was_changed_is_fetched_again(shared, file):
    registry = shared.host()
    registry.publish(manifest(), FILES)
    (registry.root / "v1" / file).write_bytes(b"replaced")
    assert registry.verified("v1").files == FILES
    (registry.root / "v1" / file).unlink()
    assert registry.verified("v1").files == FILES


def test_a_damaged_table_of_the_copy_is_fetched_again(shared):
    registry = shared.host()
    registry.publish(manifest(), FILES)
    registry.point("champion", "v1")
    (registry.root / ALIASES).write_bytes(b"{")
    assert registry.aliases() == {"champion": "v1"}
    (registry.root / ALIASES).write_bytes(b"{}")  # can be read, and is not what the bucket has
    registry.storage.fetch()
    assert registry.aliases() == {"champion": "v1"}


def test_an_object_that_was_changed_is_refused_and_not_asked_for_at_each_read(shared, monkeypatch):
    shared.host().publish(manifest(), FILES)
    shared.overwrite("v1/model.joblib", b"other!!")
    registry = shared.host("b")
    with pytest.raises(ArtefactRefused, match="its SHA-256 is not the one in the manifest"):
        registry.verified("v1")
    monkeypatch.setattr(registry.storage, "_client", None)
    with pytest.raises(ArtefactRefused, match="its SHA-256"):
        registry.verified("v1")


def test_an_object_that_was_mended_is_fetched_by_the_next_reload(shared):
    shared.host().publish(manifest(), FILES)
    shared.overwrite("v1/model.joblib", b"other!!")
    registry = shared.host("b")
    with pytest.raises(ArtefactRefused):
        registry.verified("v1")
    shared.overwrite("v1/model.joblib", FILES["model.joblib"])
    registry.storage.fetch()
    assert registry.verified("v1").files == FILES


def test_a_version_that_was_signed_with_another_key_is_refused(shared):
    shared.host(key=b"another key").publish(manifest(), FILES)
    with pytest.raises(ArtefactRefused, match="its signature is wrong"):
        shared.host("b").manifest("v1")


def test_a_version_that_is_deleted_is_gone_everywhere_and_an_emptied_bucket_takes_nothing_away(shared):
    registry = shared.host()
    registry.publish(manifest(), FILES)
    registry.publish(manifest(), FILES)
    delete(shared, "v2/")
    shared.later()
    assert registry.names() == ("v1",)
    delete(shared, "v1/")
    with pytest.raises(OSError, match="has no version any more; the copy of what it had is in"):
        registry.storage.fetch()
    assert registry.manifest("v1")


def delete(shared, prefix):
    # The product deletes nothing, so its client has no call for it.
    for name in shared.names():
        if name.startswith(prefix):
            shared.client._sent("DELETE", name, {}, b"", {}).raise_for_status()


def test_decisions_of_two_hosts_about_the_tables_are_both_kept(shared):
    mine, theirs = shared.host(), shared.host("b")
    for _ in range(4):
        mine.publish(manifest(), FILES)
    mine.point("champion", "v1")
    interrupted(shared, mine, "retired.json", lambda: retire(theirs, ["v2"], "bob", None, AT))
    retire(mine, ["v3"], "ann", None, AT)
    assert served_names(shared.host("c")) == ("v1", "v4")
    interrupted(shared, mine, ALIASES, lambda: theirs.point("challenger", "v4"))
    mine.point("champion", "v4")
    assert shared.host("c").aliases() == {"champion": "v4", "challenger": "v4"}


def test_a_candidate_that_is_being_published_stays_one_while_another_host_retires(shared):
    mine, theirs = shared.host(), shared.host("b")
    for _ in range(2):
        mine.publish(manifest(), FILES)
    interrupted(shared, mine, "v3/manifest.json", lambda: retire(theirs, ["v2"], "bob", None, AT))
    mine.publish(manifest(), FILES, before=as_candidate(mine, "ann", AT))
    there = shared.host("c")
    assert (served_names(there), candidate_of(there)) == (("v1",), "v3")


def test_without_the_bucket_the_copy_is_served_and_the_reason_is_told(shared, caplog):
    shared.host().publish(manifest(), FILES)
    shared.environ = {**shared.environ, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    registry = shared.host()
    loaded = load_models(registry)
    assert registry.verified("v1").files == FILES
    assert loaded.refused[0].name == shared.place
    assert "cannot be reached (ConnectionError); the copy in" in loaded.refused[0].reason
    shared.later()
    assert registry.names() == ("v1",)
    assert "registry_unreachable" in caplog.text
    with pytest.raises(Unavailable, match=r"cannot be reached .*; the loaded versions go on serving"):
        load_models(registry, loaded_models(loaded_version("v1")))
    (first,) = (never := load_models(shared.host("b"))).refused
    assert (never.versions, first.registry, "has no copy of it yet" in first.reason) == ({}, True, True)
    with pytest.raises(Unavailable, match=r"cannot be reached \(ConnectionError\)$"):
        load_models(shared.host("b"), never)


def test_a_bucket_that_does_not_answer_is_waited_for_once_by_a_start_and_not_for_each_refused_version(shared):
    registry = shared.host()
    for _ in range(3):
        registry.publish(manifest(), FILES)
    for name in ("v1", "v2"):
        (registry.root / name / "model.joblib").write_bytes(b"damaged")
    working, away = registry.storage._client, Away(shared.place)
    registry.storage._client = away
    load_models(registry)
    assert away.asked == 1
    shared.later()
    for _ in range(2):
        with pytest.raises(ArtefactRefused):
            registry.verified("v1")
        assert away.asked == 2
    registry.storage._client = working
    shared.later()
    assert registry.verified("v1").files == FILES


def test_a_copy_that_a_stopped_process_has_locked_is_waited_for_with_a_limit(shared, monkeypatch):
    registry = shared.host()
    registry.publish(manifest(), FILES)
    monkeypatch.setattr(bucket, "_LOCK_S", 0.01)
    (registry.root / "v1" / "model.joblib").write_bytes(b"damaged")
    with folder_lock(registry.root):
        with pytest.raises(ArtefactRefused):
            registry.verified("v1")
        with pytest.raises(OSError, match=r"for 0.01 s another process has been changing the copy in .*/a") as told:
            registry.storage.fetch()
    assert told.value.filename == shared.place
    registry.storage.fetch()
    assert registry.verified("v1").files == FILES


def test_what_is_in_the_bucket_is_published_though_the_copy_cannot_be_fetched_then(shared, caplog):
    registry = shared.host()
    mine = interrupted(shared, registry, "v1/manifest.json", lambda: vanish(registry))
    assert mine.publish(manifest(), FILES).version == "v1"
    registry.point("champion", "v1")
    assert "registry_unreachable" in caplog.text
    for there in (registry, shared.host("b")):
        assert (there.verified("v1").files, there.aliases()) == (FILES, {"champion": "v1"})


def vanish(registry):
    registry.storage._client.etags = Away(registry.storage.place).etags


def test_a_copy_of_another_place_is_not_taken_for_this_one(shared):
    shared.host().publish(manifest(), FILES)
    shared.place += "-other"
    shared.host("b").publish(manifest(), {"model.joblib": b"other"})
    assert shared.host("a").verified("v1").files == {"model.joblib": b"other"}


@pytest.mark.parametrize(
    ("place", "reason"),
    [("s3://nowhere/x", "was refused by S3 with 404 NoSuchBucket: there is no such bucket")],
)
def test_a_place_that_cannot_be_used_is_named_with_the_reason(shared, place, reason):
    shared.place = place
    with pytest.raises(OSError, match=reason) as told:
        shared.host().storage.fetch()
    assert told.value.filename == place
