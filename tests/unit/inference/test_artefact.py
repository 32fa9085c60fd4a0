"""No file of an artefact is used before its signature and its checksum are verified."""

from __future__ import annotations

import os
import shutil

import msgspec
import pytest

from app.domain.experiment import CaseFacts, CovariateColumn
from app.domain.manifest import FileSum
from app.errors import ArtefactRefused, RegistryConflict
from app.inference.artefact import encoded, signature
from app.inference.registry import ModelRegistry
from tests.unit.inference.published import KEY, manifest

FILES = {"model.joblib": b"weights", "reference.json": b"{}"}


@pytest.fixture
def registry(tmp_path):
    registry = ModelRegistry(tmp_path / "models", KEY)
    registry.publish(manifest(), FILES, "v1")
    registry.publish(manifest(), {**FILES, "model.joblib": b"WEIGHTS"}, "v2")
    return registry


def truncated(v1, v2):
    (v1 / "model.joblib").write_bytes(b"wei")


def lengthened(v1, v2):
    (v1 / "model.joblib").write_bytes(b"weights and more")


def tampered(v1, v2):
    (v1 / "model.joblib").write_bytes(b"Weights")


def swapped_file(v1, v2):
    shutil.copy(v2 / "model.joblib", v1 / "model.joblib")


def missing_file(v1, v2):
    (v1 / "model.joblib").unlink()


def linked_file(v1, v2):
    shutil.move(v1 / "model.joblib", v1.parent / "elsewhere")
    (v1 / "model.joblib").symlink_to(v1.parent / "elsewhere")


def pipe_for_file(v1, v2):
    (v1 / "model.joblib").unlink()
    os.mkfifo(v1 / "model.joblib")


def folder_for_file(v1, v2):
    (v1 / "model.joblib").unlink()
    (v1 / "model.joblib").mkdir()


def unsigned(v1, v2):
    (v1 / "manifest.sig").unlink()


def other_signature(v1, v2):
    shutil.copy(v2 / "manifest.sig", v1 / "manifest.sig")


def no_manifest(v1, v2):
    (v1 / "manifest.json").unlink()


def edited_manifest(v1, v2):
    path = v1 / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b"Nothing", b"Anything"))


def pipe_for_manifest(v1, v2):
    (v1 / "manifest.json").unlink()
    os.mkfifo(v1 / "manifest.json")


def whole_folder_swapped(v1, v2):
    shutil.rmtree(v1)
    shutil.copytree(v2, v1)


def linked_folder(v1, v2):
    v1.rename(v1.parent / "Moved")
    v1.symlink_to(v1.parent / "Moved")


@pytest.mark.parametrize(
    ("damage", "culprit"),
    [
        (truncated, "model.joblib: has 3 bytes"),
        (lengthened, "model.joblib: has 16 bytes"),
        (tampered, "model.joblib: its SHA-256"),
        (swapped_file, "model.joblib: its SHA-256"),
        (missing_file, "model.joblib: is missing"),
        (linked_file, "model.joblib: cannot be opened as a plain file"),
        (pipe_for_file, "model.joblib: is not a plain file"),
        (folder_for_file, "model.joblib: is not a plain file"),
        (unsigned, "manifest.sig: is missing"),
        (other_signature, "manifest.json: its signature is wrong"),
        (no_manifest, "manifest.json: is missing"),
        (edited_manifest, "manifest.json: its signature is wrong"),
        (pipe_for_manifest, "manifest.json: is not a plain file"),
        (whole_folder_swapped, "manifest.json: it is the manifest of 'v2'"),
        (linked_folder, "v1: cannot be opened as a folder"),
    ],
)
def test_a_damaged_version_is_refused_by_file_and_reason_and_the_other_is_not(registry, damage, culprit):
    damage(registry.root / "v1", registry.root / "v2")
    with pytest.raises(ArtefactRefused, match=culprit):
        registry.verified("v1")
    assert registry.verified("v2").read("model.joblib") == b"WEIGHTS"
    assert set(registry.names()) == {"v1", "v2"}


def test_another_key_reads_nothing(registry):
    with pytest.raises(ArtefactRefused, match="signature"):
        ModelRegistry(registry.root, b"another key").manifest("v1")


def test_files_that_the_manifest_does_not_list_are_not_read(registry):
    (registry.root / "v1" / "extra.py").write_text("raise SystemExit")
    artefact = registry.verified("v1")
    with pytest.raises(ArtefactRefused, match=r"extra\.py"):
        artefact.read("extra.py")


@pytest.mark.parametrize("name", ["../v2/model.joblib", "/etc/hostname", "", ".", "a/b", ".hidden"])
def test_a_signed_manifest_cannot_name_files_outside_its_folder(registry, name):
    evil = msgspec.structs.replace(registry.manifest("v1"), files={name: FileSum(sha256="0" * 64, bytes=7)})
    for file, content in encoded(evil, KEY).items():
        (registry.root / "v1" / file).write_bytes(content)
    with pytest.raises(ArtefactRefused, match="not a file name"):
        registry.verified("v1")


def test_a_manifest_of_another_format_is_refused_as_such(registry):
    newer = msgspec.structs.replace(registry.manifest("v1"), format=3)
    for file, content in encoded(newer, KEY).items():
        (registry.root / "v1" / file).write_bytes(content)
    with pytest.raises(ArtefactRefused, match="format is 3"):
        registry.manifest("v1")


def test_a_manifest_that_says_nothing_of_cases_stays_valid(registry):
    """As releases before units have signed it."""
    plain = msgspec.to_builtins(registry.manifest("v1"))
    del plain["cases"]
    text = msgspec.json.encode(plain)
    (registry.root / "v1" / "manifest.json").write_bytes(text)
    (registry.root / "v1" / "manifest.sig").write_bytes(signature(KEY, text))
    assert registry.verified("v1").manifest.cases == CaseFacts()


def test_cases_come_back_as_they_were_signed(registry):
    covariates = (CovariateColumn(feature=0, mean=1.5, scale=0.25), CovariateColumn(feature=1, level="red"))
    facts = CaseFacts(repeated_share=0.031, covariates=covariates)
    registry.publish(msgspec.structs.replace(manifest(), cases=facts), FILES, "v9")
    assert registry.verified("v9").manifest.cases == facts


def test_a_version_of_another_builder_is_adopted_under_our_key(tmp_path, registry):
    builder = ModelRegistry(tmp_path / "builder", b"builder's key")
    builder.publish(manifest(), FILES, "v5")
    adopted = registry.adopt(builder.root / "v5", b"builder's key")
    assert (adopted.version, adopted.ordinal) == ("v5", 3)
    assert registry.verified("v5").read("model.joblib") == b"weights"


def test_a_version_that_its_builder_did_not_sign_is_not_adopted(tmp_path, registry):
    builder = ModelRegistry(tmp_path / "builder", b"builder's key")
    builder.publish(manifest(), FILES, "v5")
    with pytest.raises(ArtefactRefused, match="signature"):
        registry.adopt(builder.root / "v5", b"somebody's key")
    assert "v5" not in registry.names()


def test_a_version_whose_name_is_taken_is_not_adopted(tmp_path, registry):
    builder = ModelRegistry(tmp_path / "builder", b"builder's key")
    builder.publish(manifest(), FILES, "v2")
    with pytest.raises(RegistryConflict):
        registry.adopt(builder.root / "v2", b"builder's key")
