"""Commands whose MODEL_DIR is on S3 (a server that imitates it)."""

from __future__ import annotations

import json
import tarfile

import pytest

from app.cli import main
from app.inference.registry import ModelRegistry
from app.inference.storage import storage_of
from app.settings import Settings
from app.store.keys import load_or_create
from tests.unit.inference.published import manifest
from tests.unit.store.archive import conftest as archives

s3, s3_server = archives.s3, archives.s3_server


@pytest.fixture
def published(s3, tmp_path, monkeypatch):
    """The registry, with a version of which this host has no copy yet."""
    monkeypatch.setenv("MODEL_DIR", f"s3://logs/{tmp_path.name}")
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "elsewhere"))
    key = load_or_create(tmp_path / "data").registry
    registry = ModelRegistry(storage_of(Settings.from_environ()), key)
    registry.publish(manifest(), {"model.joblib": b"weights", "reference.json": b"{}"})
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    return registry


def test_models_are_listed_and_backed_up_from_where_they_were_not_published(published, tmp_path, capsys):
    assert main(["models", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["versions"]
    assert (entry["version"], entry["refused"]) == ("v1", None)
    published.publish(manifest(), {"model.joblib": b"newer"})
    assert main(["backup", "--to", str(tmp_path / "b.tar.gz")]) == 0
    with tarfile.open(tmp_path / "b.tar.gz") as archive:
        names = set(archive.getnames())
    assert {"keys/deployment.key", "models/v1/manifest.json", "models/v2/model.joblib", "models/.last_ordinal"} <= names


def test_a_restore_says_that_it_does_not_write_to_a_bucket(published, tmp_path, capsys):
    main(["backup", "--to", str(tmp_path / "b.tar.gz")])
    assert main(["restore", str(tmp_path / "b.tar.gz"), "--force"]) == 1
    assert "set MODEL_DIR to a folder for this command, and then copy that folder" in capsys.readouterr().err


def test_a_bucket_that_cannot_be_reached_is_a_wrong_setting_with_the_reason(published, monkeypatch, capsys):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert main(["models"]) == 1
    error = capsys.readouterr().err
    assert "MODEL_DIR: s3://logs/" in error
    assert "cannot be reached (ConnectionError)" in error
    main(["doctor"])
    assert "BROKEN  model registry: MODEL_DIR: s3://logs/" in capsys.readouterr().out
