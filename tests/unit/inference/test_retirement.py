"""Retiring: what is not loaded any more, what stays, and what a damaged table does."""

from __future__ import annotations

import shutil

import pytest

from app.errors import ArtefactRefused, RegistryConflict, UnknownVersion
from app.inference import storage
from app.inference.loader import load_models
from app.inference.publication import publish
from app.inference.registry import ModelRegistry
from app.inference.retirement import as_candidate, candidate_of, retired_versions, served_names
from app.inference.storage import ALIASES, RETIRED, registry_files
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
