"""Later references: published whole, bound to their version, refused by name when damaged; the version stays."""

from __future__ import annotations

import json
import shutil
import threading

import numpy as np
import pytest
from msgspec.structs import replace

from app.domain.contract import Feature, FeatureContract
from app.domain.manifest import Source
from app.drift.reference import build_reference
from app.errors import ArtefactRefused, UnknownVersion
from app.inference import storage as storage_module
from app.inference.artefact import file_sum
from app.inference.references import (
    LEAD_US,
    ReferenceDraft,
    encoded_reference,
    reference_folders,
)
from app.inference.registry import ModelRegistry
from app.inference.storage import registry_files
from tests import builders
from tests.unit.inference.published import KEY

CONTRACT = FeatureContract(task="regression", target="y", features=(Feature("a"), Feature("b")))
NOW_US = 1_700_000_000_000_000


def draft(seed=1, contract=CONTRACT):
    rows = np.random.default_rng(seed).normal(size=(50, len(contract.features)))
    return ReferenceDraft(
        reference=build_reference(contract, rows, seed=seed),
        reference_is="unknown",
        source=Source(dataset="rows.csv", target="y", rows=50, sha256="d" * 64),
        libraries={"python": "3"},
    )


@pytest.fixture
def registry(tmp_path):
    registry = ModelRegistry(tmp_path / "models", KEY)
    registry.publish(builders.manifest(contract=CONTRACT), {"model.joblib": b"weights", "reference.json": b"{}"}, "v1")
    return registry


def refresh(registry, seed=1, at_us=NOW_US, version="v1"):
    return registry.publish_reference(version, draft(seed), lambda: at_us)


def numbers(registry, version="v1"):
    return [each.manifest.number for each in registry.references(version).valid]


def test_a_version_without_later_references_has_none(registry):
    assert registry.references("v1").valid == ()
    assert registry.reference_history("v1").newest is None


def test_a_reference_reads_back_as_it_was_published(registry):
    published = refresh(registry)
    [found] = registry.references("v1").valid
    assert found.manifest == published
    assert found.reference == draft().reference
    assert (published.number, published.rows, published.version, published.ordinal) == (1, 50, "v1", 1)
    assert published.model == registry.manifest("v1").files["model.joblib"].sha256
    assert (published.created_at, published.counts_from_us) == ("2023-11-14T22:13:20Z", NOW_US + LEAD_US)


def test_references_are_numbered_and_none_counts_before_the_one_before_it(registry):
    refresh(registry)
    second = refresh(registry, at_us=NOW_US - 3_600_000_000)  # the clock was set back
    assert numbers(registry) == [1, 2]
    assert second.counts_from_us == NOW_US + LEAD_US
    assert registry.reference_history("v1").newest == second


def test_the_version_its_aliases_and_the_list_of_versions_stay_as_they_are(registry):
    registry.point("champion", "v1")
    before = registry.verified("v1"), registry.aliases(), registry.names(), registry.next_name()
    files = {path: path.read_bytes() for path in (registry.root / "v1").iterdir()}
    refresh(registry)
    assert (registry.verified("v1"), registry.aliases(), registry.names(), registry.next_name()) == before
    assert {path: path.read_bytes() for path in (registry.root / "v1").iterdir()} == files
    assert registry.publish(builders.manifest(contract=CONTRACT), {"model.joblib": b"2"}).ordinal == 2


def test_the_references_of_one_version_are_not_those_of_another(registry):
    registry.publish(builders.manifest(contract=CONTRACT), {"model.joblib": b"2"}, "v1_1")
    refresh(registry, version="v1_1")
    assert (numbers(registry), numbers(registry, "v1_1")) == ([], [1])


def test_a_version_that_is_not_there_gets_no_reference(registry):
    with pytest.raises(UnknownVersion):
        refresh(registry, version="v9")
    assert not (registry.root / ".references").exists()


def test_a_version_that_is_refused_gets_no_reference(registry):
    (registry.root / "v1" / "manifest.sig").write_bytes(b"0")
    with pytest.raises(ArtefactRefused):
        refresh(registry)


def changed(path, old, new):
    path.write_bytes(path.read_bytes().replace(old, new, 1))


DAMAGES = {
    "one byte of the reference": lambda folder: changed(folder / "reference.json", b"1", b"2"),
    "a longer reference": lambda folder: (folder / "reference.json").open("ab").write(b" "),
    "no reference": lambda folder: (folder / "reference.json").unlink(),
    "another time": lambda folder: changed(folder / "manifest.json", b"1700000020000000", b"1600000020000000"),
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "no signature": lambda folder: (folder / "manifest.sig").unlink(),
    "half a manifest": lambda folder: (folder / "manifest.json").write_bytes(b'{"format": 1, "ver'),
    "an empty folder": lambda folder: [path.unlink() for path in folder.iterdir()],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_reference_is_refused_by_name_and_the_one_before_counts(registry, damage):
    refresh(registry)
    first = registry.reference_history("v1").newest
    refresh(registry, seed=2)
    damage(registry.root / ".references" / "v1.2")
    found = registry.references("v1")
    assert found.history.newest == first
    assert list(found.refused) == ["v1.2"]
    assert found.refused["v1.2"].startswith(str(registry.root / ".references" / "v1.2"))


def test_a_link_to_a_reference_is_refused(registry, tmp_path):
    refresh(registry)
    folder = registry.root / ".references" / "v1.1"
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert "cannot be opened as a folder" in registry.references("v1").refused["v1.1"]


@pytest.mark.parametrize("other", ["v1.7", "v2.1"])
def test_a_reference_in_the_folder_of_another_is_refused(registry, other):
    registry.publish(builders.manifest(contract=CONTRACT), {"model.joblib": b"2"}, "v2")
    refresh(registry)
    (registry.root / ".references" / "v1.1").rename(registry.root / ".references" / other)
    refused = registry.references(other.partition(".")[0]).refused
    assert f"it is the manifest of reference v1.1, in the folder of {other}" in refused[other]


def test_a_reference_of_another_deployment_is_refused(registry):
    refresh(registry)
    other = ModelRegistry(registry.root.with_name("other"), b"another key")
    other.publish(builders.manifest(contract=CONTRACT), {"model.joblib": b"weights"}, "v1")
    shutil.copytree(registry.root / ".references", other.root / ".references")
    assert "its signature is wrong" in other.references("v1").refused["v1.1"]


def test_a_reference_of_a_version_that_had_the_same_name_is_refused(registry):
    refresh(registry)
    shutil.rmtree(registry.root / "v1")
    registry.publish(builders.manifest(contract=CONTRACT), {"model.joblib": b"weights"}, "v1")
    assert "it was made for another version that was called v1 before" in registry.references("v1").refused["v1.1"]
    assert refresh(registry).number == 2
    assert numbers(registry) == [2]


def placed(registry, manifest, document=None, key=KEY):
    """Write a signed reference into the folder v1.1, whatever is in it."""
    folder = registry.root / ".references" / "v1.1"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, data in encoded_reference(manifest, document or b"{}", key).items():
        (folder / name).write_bytes(data)
    return registry.references("v1").refused["v1.1"]


def test_a_reference_of_a_later_format_is_refused_by_its_number(registry):
    manifest = refresh(registry)
    assert "its format is 2, this release reads 1" in placed(registry, replace(manifest, format=2))


def test_a_reference_of_other_columns_is_refused(registry):
    other = FeatureContract(task="regression", target="y", features=(Feature("a"), Feature("c")))
    document = draft(contract=other).reference.to_json()
    manifest = replace(refresh(registry), files={"reference.json": file_sum(document)})
    assert "its columns are not those of v1" in placed(registry, manifest, document)


@pytest.mark.parametrize("document", [b"{}", b"\xff", b'{"format": 9}'])
def test_a_signed_file_that_is_no_reference_is_refused(registry, document):
    manifest = replace(refresh(registry), files={"reference.json": file_sum(document)})
    assert placed(registry, manifest, document).startswith(
        str(registry.root / ".references" / "v1.1" / "reference.json")
    )


def test_a_signed_manifest_without_a_reference_is_refused(registry):
    assert "it does not list reference.json" in placed(registry, replace(refresh(registry), files={}))


def test_the_manifest_of_a_version_passes_for_none_of_a_reference(registry):
    refresh(registry)
    folder = registry.root / ".references" / "v1.1"
    for name in ("manifest.json", "manifest.sig"):
        shutil.copy(registry.root / "v1" / name, folder / name)
    assert "its signature is wrong" in registry.references("v1").refused["v1.1"]


def test_what_a_killed_publisher_left_is_seen_by_nobody_and_removed_by_the_next(registry):
    left = registry.root / ".incoming-dead"
    left.mkdir()
    (left / "reference.json").write_bytes(b"{")
    assert numbers(registry) == []
    refresh(registry)
    assert (numbers(registry), left.exists()) == ([1], False)


def test_a_reference_that_cannot_be_written_leaves_nothing_behind(registry, monkeypatch):
    def full(_path, _data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage_module, "write_new", full)
    with pytest.raises(OSError, match="No space left"):
        refresh(registry)
    assert list((registry.root / ".references").iterdir()) == []
    assert not list(registry.root.glob(".incoming-*"))


def test_a_number_is_not_used_twice_while_a_damaged_reference_has_it(registry):
    refresh(registry)
    (registry.root / ".references" / "v1.1" / "manifest.json").unlink()
    assert refresh(registry).number == 2


def test_publishers_at_once_get_different_numbers(registry):
    threads = [threading.Thread(target=refresh, args=(registry, seed)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert numbers(registry) == [1, 2, 3, 4]


def test_the_registrys_files_have_those_of_its_references(registry):
    refresh(registry)
    found = {name for name in registry_files(registry.root) if name.startswith(".references")}
    assert found == {f".references/v1.1/{name}" for name in ("manifest.json", "manifest.sig", "reference.json")}


def test_other_names_among_the_references_are_none(registry):
    refresh(registry)
    for name in ("v1", "v1.0", "v1.x", "V1.1", ".v1.1"):
        (registry.root / ".references" / name).mkdir()
    assert [(version, number) for version, number, _ in reference_folders(registry.root)] == [("v1", 1)]


def test_references_of_versions_that_are_gone_are_known(registry):
    refresh(registry)
    (registry.root / "v1").rename(registry.root.parent / "gone")
    assert registry.stray_references() == (str(registry.root / ".references" / "v1.1"),)


def test_a_manifest_is_plain_json_for_people(registry):
    refresh(registry)
    stored = json.loads((registry.root / ".references" / "v1.1" / "manifest.json").read_text())
    assert (stored["version"], stored["number"], list(stored["files"])) == ("v1", 1, ["reference.json"])
