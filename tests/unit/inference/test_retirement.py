"""Retiring: what is not loaded any more, what stays, and what a damaged table does."""

from __future__ import annotations

import shutil

import pytest
from msgspec.structs import replace

from app.errors import ArtefactRefused, RegistryConflict, StoreUnavailable, Unavailable, UnknownVersion
from app.inference import storage
from app.inference.loader import load_models
from app.inference.publication import publish
from app.inference.registry import ModelRegistry
from app.inference.retirement import (
    RetiredTable,
    as_candidate,
    candidate_of,
    retired_models,
    retired_versions,
    served_names,
)
from app.inference.storage import ALIASES, RETIRED, registry_files
from app.services.ports import RetirementRecord, VersionRecord
from tests.unit.inference.published import (
    KEY,
    VARIANTS,
    data,
    draft,
    manifest,
    numeric_contract,
    restore,
    retire,
)

FILES = {"model.joblib": b"weights", "reference.json": b"{}"}
AT = "2026-11-27T00:00:00Z"


@pytest.fixture
def registry(tmp_path):
    made = ModelRegistry(tmp_path / "models", KEY)
    for _ in range(3):
        made.publish(manifest(), FILES)
    made.point("champion", "v1")
    made.point("challenger", "v2")
    return made


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    made = ModelRegistry(tmp_path_factory.mktemp("three"), KEY)
    rows, classes = data("iris")
    fitted = VARIANTS["logistic_regression"]().fit(rows, classes)
    for _ in range(3):
        publish(made, fitted, draft(rows, numeric_contract(rows, 3)), random=10)
    made.point("champion", "v1")
    return made.root


@pytest.fixture
def loadable(three, tmp_path):
    return ModelRegistry(shutil.copytree(three, tmp_path / "loadable"), KEY)


def test_a_retired_version_is_not_served_and_stays_as_it_was(registry):
    before = registry.verified("v3").manifest
    retire(registry, ["v3"], "ann", "old", AT)
    assert served_names(registry) == ("v1", "v2")
    assert registry.names() == ("v1", "v2", "v3")
    assert registry.verified("v3").manifest == before
    assert (retired_versions(registry)["v3"].by, retired_versions(registry)["v3"].note) == ("ann", "old")


def test_a_restored_version_is_served_again(registry):
    retire(registry, ["v2", "v3"], "ann", None, AT)
    restore(registry, ["v3"])
    assert served_names(registry) == ("v1", "v3")


def test_retiring_twice_keeps_who_was_first(registry):
    retire(registry, ["v3"], "ann", None, AT)
    retire(registry, ["v3"], "bob", None, AT)
    assert retired_versions(registry)["v3"].by == "ann"


def test_an_alias_of_a_retired_version_is_free_again(registry):
    retire(registry, ["v2"], "ann", None, AT)
    assert registry.aliases() == {"champion": "v1"}


@pytest.mark.parametrize(
    ("versions", "error"),
    [(["v1", "v3"], RegistryConflict), (["v3", "v9"], UnknownVersion), (["../v3"], UnknownVersion)],
)
def test_all_are_retired_or_none(registry, versions, error):
    with pytest.raises(error):
        retire(registry, versions, "ann", None, AT)
    assert not (registry.root / RETIRED).exists()


def test_one_version_stays_in_service(registry):
    (registry.root / ALIASES).unlink()
    with pytest.raises(RegistryConflict, match="no version would be left"):
        retire(registry, ["v1", "v2", "v3"], "ann", None, AT)


def test_neither_name_nor_ordinal_of_a_retired_version_is_given_again(registry):
    retire(registry, ["v3"], "ann", None, AT)
    assert (published := registry.publish(manifest(), FILES)).version == "v4"
    assert published.ordinal == 4


def test_a_version_that_got_the_name_of_a_removed_one_is_not_retired(registry):
    retire(registry, ["v3"], "ann", None, AT)
    shutil.rmtree(registry.root / "v3")
    registry.publish(manifest(), FILES, "v3")
    assert retired_versions(registry) == {}


def test_a_version_whose_manifest_is_damaged_can_be_retired(registry):
    (registry.root / "v3" / "manifest.json").write_text("{")
    retire(registry, ["v3"], "ann", None, AT)
    assert served_names(registry) == ("v1", "v2")


def test_a_version_that_became_champion_afterwards_is_served(registry):
    retire(registry, ["v3"], "ann", None, AT)
    registry.point("champion", "v3")
    assert "v3" in served_names(registry)


def test_a_damaged_table_is_named_and_changed_by_nobody(registry):
    (registry.root / RETIRED).write_text("[")
    with pytest.raises(ArtefactRefused, match="not a table of retired versions"):
        retire(registry, ["v3"], "ann", None, AT)
    assert served_names(registry) == registry.names()
    assert (registry.root / RETIRED).read_text() == "["


def test_a_crash_while_the_table_is_written_leaves_the_old_one(registry, monkeypatch):
    retire(registry, ["v3"], "ann", None, AT)
    monkeypatch.setattr("app.files.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        retire(registry, ["v2"], "ann", None, AT)
    monkeypatch.undo()
    assert served_names(registry) == ("v1", "v2")
    retire(registry, ["v2"], "ann", None, AT)
    assert served_names(registry) == ("v1",)


def test_a_backup_has_the_table(registry):
    retire(registry, ["v3"], "ann", None, AT)
    assert RETIRED in registry_files(registry.root)


def test_a_reload_drops_a_retired_version_and_keeps_what_its_past_needs(loadable):
    before = load_models(loadable)
    retire(loadable, ["v2"], "ann", None, AT)
    after = load_models(loadable, before)
    assert tuple(after.versions) == after.compatible == ("v1", "v3")
    assert after.versions["v1"] is before.versions["v1"]
    assert after.retired["v2"].ordinal == 2
    assert after.retired["v2"].contract == before.versions["v2"].contract
    assert after.led_by("v3").retired == after.retired


def test_a_damaged_table_at_a_reload_changes_nothing_and_is_reported(loadable):
    retire(loadable, ["v2"], "ann", None, AT)
    before = load_models(loadable)
    (loadable.root / RETIRED).write_text("[")
    after = load_models(loadable, before)
    assert tuple(after.versions) == ("v1", "v3")
    assert [refused.name for refused in after.refused] == [RETIRED]


def test_a_damaged_table_at_a_start_serves_everything(loadable):
    (loadable.root / RETIRED).write_text("[")
    assert tuple(load_models(loadable).versions) == ("v1", "v2", "v3")


def test_a_retired_version_with_a_damaged_manifest_stops_nobody(loadable):
    retire(loadable, ["v2"], "ann", None, AT)
    (loadable.root / "v2" / "manifest.sig").write_bytes(b"")
    assert load_models(loadable).retired["v2"].contract.names == ()


def publish_candidate(registry):
    return registry.publish(manifest(), FILES, before=as_candidate(registry, "pipeline", AT)).version


def test_a_candidate_is_published_and_not_served_until_it_is_let_in(registry):
    assert publish_candidate(registry) == "v4"
    assert served_names(registry) == ("v1", "v2", "v3")
    assert candidate_of(registry) == "v4"
    restore(registry, ["v4"])
    assert served_names(registry) == ("v1", "v2", "v3", "v4")
    assert candidate_of(registry) is None


def test_no_reader_sees_a_candidate_before_the_table_has_it(registry, monkeypatch):
    seen = []
    place = storage.place_folder
    monkeypatch.setattr(storage, "place_folder", lambda *given: (seen.append(registry.names()), place(*given)))
    publish_candidate(registry)
    assert seen == [("v1", "v2", "v3")]
    assert (registry.root / RETIRED).exists()


def test_at_most_one_candidate_waits(registry):
    first, second = publish_candidate(registry), publish_candidate(registry)
    assert candidate_of(registry) == second
    assert retired_versions(registry)[first].note == f"{second} took its place before it was let in"


def test_a_publisher_that_dies_leaves_no_candidate_and_its_number_is_not_given_again(registry, monkeypatch):
    monkeypatch.setattr(storage, "place_folder", lambda *_: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        publish_candidate(registry)
    monkeypatch.undo()
    assert candidate_of(registry) is None
    assert registry.publish(manifest(), FILES).ordinal == 5
    assert served_names(registry) == ("v1", "v2", "v3", "v4")


def test_a_candidate_can_be_retired(registry):
    candidate = publish_candidate(registry)
    retire(registry, [candidate], "ann", "no use", AT)
    assert candidate_of(registry) is None
    assert retired_versions(registry)[candidate].by == "ann"


def test_the_first_versions_have_nothing_to_wait_for(tmp_path):
    with pytest.raises(RegistryConflict, match="train without --candidate first"):
        publish_candidate(ModelRegistry(tmp_path / "models", KEY))


def test_a_reload_leaves_a_candidate_out(loadable):
    before = load_models(loadable)
    publish_candidate(loadable)
    after = load_models(loadable, before)
    assert after.versions.keys() == before.versions.keys()
    assert after.retired["v4"].candidate


class Rows:
    """What the store says; nothing while it is `away`."""

    shared = True

    def __init__(self):
        self.decided, self.others, self.found, self.published, self.away = {}, {}, [], [], False

    def decide(self, version, retired, at, used=False, since=()):
        self.decided[version] = RetirementRecord(retired=retired, at=at, by="ann", note="old", used=used, since=since)

    def publish(self, published):
        self._reach()
        self.published.append(published)

    def compare(self, found):
        self._reach()
        self.found = found
        return self.others

    def known(self):
        self._reach()
        return self.published

    def retirements(self):
        self._reach()
        return self.decided

    def _reach(self):
        if self.away:
            raise StoreUnavailable("gone")


def away():
    raise OSError(5, "cannot be read")


EARLIER, LATER = "2026-11-26T00:00:00Z", "2099-11-28T00:00:00Z"


def of_the_store(registry):
    registry.rows = Rows()
    return registry


@pytest.mark.parametrize(
    ("decided", "served"),
    [
        ((True, LATER), ("v1", "v2")),  # the table is older: a backup was put back, or another host retired it
        ((True, LATER, True), ("v1", "v2", "v3")),  # it has got traffic since
        ((True, "2026-11-19T00:00:00Z"), ("v1", "v2", "v3")),  # another one of that name, which was removed
        ((False, LATER), ("v1", "v2", "v3")),
    ],
)
def test_a_version_that_only_the_store_calls_retired(registry, decided, served):
    of_the_store(registry).rows.decide("v3", *decided)
    assert served_names(registry) == served


def test_of_table_and_store_the_newer_entry_counts(registry):
    retire(of_the_store(registry), ["v2", "v3"], "bob", None, AT)
    registry.rows.decide("v2", False, EARLIER)
    registry.rows.decide("v3", False, LATER)
    assert served_names(registry) == ("v1", "v3")
    registry.rows.decide("v2", True, LATER)
    assert retired_versions(registry)["v2"].by == "bob"


def test_a_change_of_the_table_brings_it_in_line_with_the_store(registry):
    of_the_store(registry).rows.decide("v2", True, LATER)
    retire(registry, ["v3"], "bob", None, AT)
    registry.rows = None
    assert served_names(registry) == ("v1",)


def test_what_only_the_store_calls_retired_can_be_brought_back(registry):
    of_the_store(registry).rows.decide("v3", True, LATER)
    with registry.storage.writing():
        assert RetiredTable(registry).restore(["v3"]).changed == ("v3",)


def test_a_version_that_only_other_hosts_have_can_be_retired_and_is_known_as_retired(registry):
    rows = of_the_store(registry).rows
    rows.published = [replace(registry.record("v3"), version="v6")]
    assert RetiredTable(registry).retire(lambda _: ["v6"]).changed == ("v6",)
    retire(registry, ["v6"], "bob", None, AT)
    assert not (registry.root / "retired.json").exists() or "v6" not in (registry.root / "retired.json").read_text()
    rows.decide("v6", True, LATER)
    assert "v6" in retired_models(registry, None, [], rows.decided)
    assert RetiredTable(registry).retire(lambda _: ["v6"]).changed == ()
    assert RetiredTable(registry).restore(["v6"]).changed == ("v6",)
    with pytest.raises(UnknownVersion, match="v7"):
        retire(registry, ["v7"], "bob", None, AT)
    rows.shared = False  # on one host its folder says what there is
    assert "v6" not in retired_models(registry, None, [], rows.decided)


def test_a_version_built_before_a_retirement_and_published_after_it_is_served(registry):
    retired = of_the_store(registry).record("v3")
    registry.rows.decide("v3", True, LATER, since=("f" * 64,))
    assert served_names(registry) == ("v1", "v2")
    registry.rows.decide("v3", True, LATER, since=(retired.manifest,))
    assert served_names(registry) == ("v1", "v2", "v3")


def test_a_candidate_that_the_store_calls_retired_later_waits_no_more(registry):
    candidate = publish_candidate(of_the_store(registry))
    registry.rows.decide(candidate, True, EARLIER)  # another one of that name
    assert candidate_of(registry) == candidate
    registry.rows.decide(candidate, True, LATER)
    assert candidate_of(registry) is None
    with registry.storage.writing():
        assert RetiredTable(registry).retire(lambda _retired: [candidate]).changed == ()


def test_with_a_damaged_table_what_the_store_calls_retired_is_not_loaded(loadable):
    of_the_store(loadable).rows.decide("v3", True, LATER)
    (loadable.root / RETIRED).write_text("[")
    at_start = load_models(loadable)
    assert (tuple(at_start.versions), tuple(at_start.retired)) == (("v1", "v2"), ("v3",))
    assert served_names(loadable) == ("v1", "v2")
    loadable.rows.decide("v2", True, LATER)
    assert tuple(load_models(loadable, at_start).versions) == ("v1",)


def test_while_the_store_is_away_the_table_counts(registry):
    retire(registry, ["v3"], "ann", None, AT)
    of_the_store(registry).rows.away = True
    assert served_names(registry) == ("v1", "v2")


def test_a_version_whose_folder_came_back_is_not_loaded_and_new_ones_are_recorded(loadable):
    of_the_store(loadable).rows.decide("v3", True, LATER)
    models = load_models(loadable)
    assert (tuple(models.versions), tuple(models.retired), models.unrecorded) == (("v1", "v2"), ("v3",), False)
    assert [(each.version, each.ordinal) for each in loadable.rows.found] == [("v1", 1), ("v2", 2), ("v3", 3)]
    assert len({each.manifest for each in loadable.rows.found}) == 3


def test_a_store_that_is_away_leaves_what_it_said_before(loadable):
    of_the_store(loadable).rows.decide("v3", True, LATER)
    before = load_models(loadable)
    loadable.rows.away = True
    after = load_models(loadable, before)
    assert (tuple(after.versions), after.unrecorded) == (("v1", "v2"), True)


def test_versions_that_were_loaded_without_the_store_are_loaded_again_from_the_copy_of_a_registry_that_is_away(
    loadable, monkeypatch
):
    of_the_store(loadable).rows.away = True
    before = load_models(loadable)
    monkeypatch.setattr(loadable.storage, "fetch", away)
    loadable.rows.away = False
    after = load_models(loadable, before)
    assert (tuple(after.versions), after.unrecorded) == (("v1", "v2", "v3"), False)
    assert [each.name for each in after.refused] == [loadable.storage.place]
    with pytest.raises(Unavailable, match="go on serving"):
        load_models(loadable, after)


def test_a_version_that_another_host_has_otherwise_is_refused_with_what_to_do(loadable):
    other = VersionRecord(version="v2", ordinal=9, manifest="f" * 64, created_at=LATER, host="first", actor="ann")
    of_the_store(loadable).rows.others = {"v2": other}
    models = load_models(loadable)
    [refused] = models.refused
    assert (tuple(models.versions), refused.name, refused.elsewhere) == (("v1", "v3"), "v2", True)
    assert "the deployment's v2 is a different one: first recorded it, created 2099-11-28" in refused.reason
    assert "Copy the folder from first into this host's model registry" in refused.reason
    assert "bakeoff publish FOLDER" in refused.reason


def test_the_right_version_stays_loaded_when_its_folder_was_replaced_and_the_wrong_one_does_not(loadable):
    before = load_models(of_the_store(loadable))
    right = loadable.record("v2")
    loadable.rows.others = {"v2": right}
    assert load_models(loadable, before).versions["v2"] is before.versions["v2"]
    loadable.rows.others = {"v2": VersionRecord(version="v2", ordinal=9, manifest="f", created_at=LATER)}
    assert "v2" not in load_models(loadable, before).versions


def test_a_publication_is_recorded_and_does_not_need_the_store(registry, caplog):
    of_the_store(registry).publish(manifest(), FILES)
    [published] = registry.rows.published
    assert published == registry.record("v4")
    registry.rows.away = True
    assert registry.publish(manifest(), FILES).version == "v5"
    assert "the store has no row of it: gone" in caplog.text


def elsewhere(registry, version, ordinal):
    """Another host has published a version into a folder of its own."""
    made = VersionRecord(version=version, ordinal=ordinal, manifest="f" * 64, created_at=AT, host="first", actor="ann")
    of_the_store(registry).rows.published.append(made)


def test_a_new_version_takes_neither_name_nor_ordinal_of_one_on_another_host(registry):
    elsewhere(registry, "v7", 9)
    assert registry.next_name() == "v8"
    published = registry.publish(manifest(), FILES)
    assert (published.version, published.ordinal) == ("v8", 10)
    registry.rows.away = True
    assert registry.publish(manifest(), FILES).ordinal == 11


def test_a_name_that_another_host_has_taken_is_refused_with_what_to_do(registry):
    elsewhere(registry, "risk", 9)
    for refused in (registry.reserve, lambda name: registry.publish(manifest(), FILES, name)):
        with pytest.raises(RegistryConflict, match=r"'risk' .*: ann published another on first.* choose another name"):
            refused("risk")
    assert "risk" not in registry.names()
