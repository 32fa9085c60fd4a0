"""The model registry: names, ordinals, publication completely or not at all, aliases."""

from __future__ import annotations

import threading

import pytest

from app.errors import ArtefactRefused, InvalidRequest, RegistryConflict, UnknownVersion
from app.inference.registry import ModelRegistry
from tests.unit.inference.published import KEY, manifest

FILES = {"model.joblib": b"weights", "reference.json": b"{}"}


@pytest.fixture
def registry(tmp_path):
    return ModelRegistry(tmp_path / "models", KEY)


def test_an_empty_shelf_names_its_first_version_v1(registry):
    assert registry.names() == ()
    assert registry.next_name() == "v1"


def test_a_published_version_reads_back_as_it_was_returned(registry):
    published = registry.publish(manifest(), FILES)
    artefact = registry.verified("v1")
    assert artefact.manifest == published == registry.manifest("v1")
    assert {name: artefact.read(name) for name in published.files} == FILES


def test_a_new_version_gets_the_number_after_the_highest(registry):
    registry.publish(manifest(), FILES, "v7")
    registry.publish(manifest(), FILES, "other")
    assert registry.publish(manifest(), FILES).version == "v8"


def test_names_come_in_order_of_publication(registry):
    for name in ("v9", "a", "v1"):
        registry.publish(manifest(), FILES, name)
    assert registry.names() == ("v9", "a", "v1")


def test_a_name_that_is_taken_is_refused_and_nothing_changes(registry):
    before = registry.publish(manifest(), FILES, "v1")
    with pytest.raises(RegistryConflict, match="v1"):
        registry.publish(manifest(), {"model.joblib": b"other"}, "v1")
    assert registry.verified("v1").manifest == before


@pytest.mark.parametrize("name", ["V1", "", "../v1", "v-1", "a" * 65, "é"])
def test_a_name_that_is_none_is_refused(registry, name):
    with pytest.raises(InvalidRequest):
        registry.publish(manifest(), FILES, name)


@pytest.mark.parametrize("name", ["v2", "../models/v1", "", "aliases.json"])
def test_an_unknown_version_is_said_to_be_unknown(registry, name):
    registry.publish(manifest(), FILES, "v1")
    with pytest.raises(UnknownVersion):
        registry.verified(name)


def test_the_ordinal_of_a_version_that_vanished_is_never_used_again(registry):
    registry.publish(manifest(), FILES)
    registry.publish(manifest(), FILES)
    (registry.root / "v2").rename(registry.root.parent / "gone")
    assert registry.publish(manifest(), FILES).ordinal == 3


def test_ordinals_go_on_where_their_counter_was_lost(registry):
    registry.publish(manifest(), FILES)
    (registry.root / ".last_ordinal").unlink()
    assert registry.publish(manifest(), FILES).ordinal == 2


def test_a_full_shelf_says_so(registry):
    registry.publish(manifest(), FILES)
    (registry.root / ".last_ordinal").write_text("65535")
    with pytest.raises(RegistryConflict, match="full"):
        registry.publish(manifest(), FILES)


def test_publishers_at_the_same_time_get_names_and_ordinals_of_their_own(registry):
    threads = [threading.Thread(target=registry.publish, args=(manifest(), FILES)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ordinals = [registry.manifest(name).ordinal for name in registry.names()]
    assert ordinals == list(range(1, 9))


def test_a_publication_that_fails_leaves_nothing_behind(registry):
    with pytest.raises(TypeError):
        registry.publish(manifest(), {"model.joblib": "text"})
    assert registry.names() == ()
    assert not list(registry.root.glob(".incoming-*"))


def test_what_a_killed_publisher_left_is_swept_by_the_next(registry):
    registry.publish(manifest(), FILES)
    (registry.root / ".incoming-dead").mkdir()
    assert registry.names() == ("v1",)
    registry.publish(manifest(), FILES)
    assert not (registry.root / ".incoming-dead").exists()


def test_an_alias_points_and_is_moved(registry):
    for _ in range(2):
        registry.publish(manifest(), FILES)
    registry.point("champion", "v1")
    registry.point("challenger", "v2")
    registry.point("champion", "v2")
    assert registry.aliases() == {"champion": "v2", "challenger": "v2"}


def test_an_alias_cannot_point_at_nothing(registry):
    with pytest.raises(UnknownVersion):
        registry.point("champion", "v1")


def test_a_shelf_without_aliases_has_none(registry):
    assert registry.aliases() == {}


def test_a_broken_table_of_aliases_is_named_and_can_be_written_anew(registry):
    registry.publish(manifest(), FILES)
    (registry.root / "aliases.json").write_text("{")
    with pytest.raises(ArtefactRefused, match=r"aliases\.json"):
        registry.aliases()
    registry.point("champion", "v1")
    assert registry.aliases() == {"champion": "v1"}
