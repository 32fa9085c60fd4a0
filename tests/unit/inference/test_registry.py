"""The shelf: names, ordinals, publication whole or not at all, aliases."""

from __future__ import annotations

import threading

import pytest

from app.errors import ArtefactRefused, InvalidRequest, ShelfConflict, UnknownVersion
from app.inference.registry import Shelf
from tests.unit.inference.published import KEY, manifest

FILES = {"model.joblib": b"weights", "reference.json": b"{}"}


@pytest.fixture
def shelf(tmp_path):
    return Shelf(tmp_path / "models", KEY)


def test_an_empty_shelf_names_its_first_version_v1(shelf):
    assert shelf.names() == ()
    assert shelf.next_name() == "v1"


def test_a_published_version_reads_back_as_it_was_returned(shelf):
    published = shelf.publish(manifest(), FILES)
    artefact = shelf.verified("v1")
    assert artefact.manifest == published == shelf.manifest("v1")
    assert {name: artefact.read(name) for name in published.files} == FILES


def test_a_new_version_gets_the_number_after_the_highest(shelf):
    shelf.publish(manifest(), FILES, "v7")
    shelf.publish(manifest(), FILES, "other")
    assert shelf.publish(manifest(), FILES).version == "v8"


def test_names_come_in_order_of_publication(shelf):
    for name in ("v9", "a", "v1"):
        shelf.publish(manifest(), FILES, name)
    assert shelf.names() == ("v9", "a", "v1")


def test_a_name_that_is_taken_is_refused_and_nothing_changes(shelf):
    before = shelf.publish(manifest(), FILES, "v1")
    with pytest.raises(ShelfConflict, match="v1"):
        shelf.publish(manifest(), {"model.joblib": b"other"}, "v1")
    assert shelf.verified("v1").manifest == before


@pytest.mark.parametrize("name", ["V1", "", "../v1", "v-1", "a" * 65, "é"])
def test_a_name_that_is_none_is_refused(shelf, name):
    with pytest.raises(InvalidRequest):
        shelf.publish(manifest(), FILES, name)


@pytest.mark.parametrize("name", ["v2", "../models/v1", "", "aliases.json"])
def test_an_unknown_version_is_said_to_be_unknown(shelf, name):
    shelf.publish(manifest(), FILES, "v1")
    with pytest.raises(UnknownVersion):
        shelf.verified(name)


def test_the_ordinal_of_a_version_that_vanished_is_never_used_again(shelf):
    shelf.publish(manifest(), FILES)
    shelf.publish(manifest(), FILES)
    (shelf.root / "v2").rename(shelf.root.parent / "gone")
    assert shelf.publish(manifest(), FILES).ordinal == 3


def test_ordinals_go_on_where_their_counter_was_lost(shelf):
    shelf.publish(manifest(), FILES)
    (shelf.root / ".last_ordinal").unlink()
    assert shelf.publish(manifest(), FILES).ordinal == 2


def test_a_full_shelf_says_so(shelf):
    shelf.publish(manifest(), FILES)
    (shelf.root / ".last_ordinal").write_text("65535")
    with pytest.raises(ShelfConflict, match="full"):
        shelf.publish(manifest(), FILES)


def test_publishers_at_the_same_time_get_names_and_ordinals_of_their_own(shelf):
    threads = [threading.Thread(target=shelf.publish, args=(manifest(), FILES)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ordinals = [shelf.manifest(name).ordinal for name in shelf.names()]
    assert ordinals == list(range(1, 9))


def test_a_publication_that_fails_leaves_nothing_behind(shelf):
    with pytest.raises(TypeError):
        shelf.publish(manifest(), {"model.joblib": "text"})
    assert shelf.names() == ()
    assert not list(shelf.root.glob(".incoming-*"))


def test_what_a_killed_publisher_left_is_swept_by_the_next(shelf):
    shelf.publish(manifest(), FILES)
    (shelf.root / ".incoming-dead").mkdir()
    assert shelf.names() == ("v1",)
    shelf.publish(manifest(), FILES)
    assert not (shelf.root / ".incoming-dead").exists()


def test_an_alias_points_and_is_moved(shelf):
    for _ in range(2):
        shelf.publish(manifest(), FILES)
    shelf.point("champion", "v1")
    shelf.point("challenger", "v2")
    shelf.point("champion", "v2")
    assert shelf.aliases() == {"champion": "v2", "challenger": "v2"}


def test_an_alias_cannot_point_at_nothing(shelf):
    with pytest.raises(UnknownVersion):
        shelf.point("champion", "v1")


def test_a_shelf_without_aliases_has_none(shelf):
    assert shelf.aliases() == {}


def test_a_broken_table_of_aliases_is_named_and_can_be_written_anew(shelf):
    shelf.publish(manifest(), FILES)
    (shelf.root / "aliases.json").write_text("{")
    with pytest.raises(ArtefactRefused, match=r"aliases\.json"):
        shelf.aliases()
    shelf.point("champion", "v1")
    assert shelf.aliases() == {"champion": "v1"}
