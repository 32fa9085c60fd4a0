"""Commands whose MODEL_DIR is on S3 (a server that imitates it)."""

from __future__ import annotations

import json
import tarfile
from contextlib import closing

import pytest

from app.cli import main
from app.cli.access import registry_of
from app.domain.experiment import Configuration, ExperimentTerms
from app.errors import SettingError
from app.inference.bucket import BucketStorage
from app.inference.registry import ModelRegistry
from app.inference.retirement import retired_versions
from app.inference.s3 import S3Client
from app.inference.storage import storage_of
from app.settings import Settings
from app.store.configurations import ConfigurationLog, DecisionTable
from app.store.deployment import DeploymentKey
from app.store.engine import Database
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
    assert " cannot be reached (ConnectionError)" in error
    assert ": cannot be" not in error
    main(["doctor"])
    assert "BROKEN  model registry: MODEL_DIR: s3://logs/" in capsys.readouterr().out


CHANGES = [
    ["train"],
    ["publish", "model.joblib", "--reference", "rows.csv", "--target", "y"],
    ["publish", "--refresh-reference", "v1"],
    ["retire", "v1"],
]


@pytest.fixture
def foreign(published, tmp_path, monkeypatch):
    """A host with a key of its own, without a store."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "builder"))


@pytest.mark.parametrize("words", CHANGES, ids=" ".join)
def test_a_host_with_a_key_of_its_own_changes_nothing_in_the_bucket(foreign, published, words, capsys):
    assert main(words) == 1
    error = capsys.readouterr().err
    assert "DATA_DIR: nothing was changed: no version in s3://logs/" in error
    assert "DEPLOYMENT_KEY_FILE" in error
    published.storage.fetch()
    assert (published.names(), retired_versions(published)) == (("v1",), {})


@pytest.mark.parametrize("words", CHANGES, ids=" ".join)
def test_the_store_is_asked_for_its_key_before_anything_is_changed(
    published, served, tmp_path, words, monkeypatch, capsys
):
    DeploymentKey(served, load_or_create(tmp_path / "data").fingerprint).require()
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'data' / 'bakeoff.sqlite'}")
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "builder"))
    assert main(words) == 1
    error = capsys.readouterr().err
    assert "DATA_DIR: nothing was changed: the key of this process" in error
    assert "Put the deployment's key there" in error
    published.storage.fetch()
    assert (published.names(), retired_versions(published)) == (("v1", "v2"), {})


def test_a_store_that_another_deployment_left_here_may_be_the_wrong_one(published, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DEPLOYMENT_KEY_FILE", str(tmp_path / "data" / "keys" / "deployment.key"))
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "laptop"))
    with closing(Database(f"sqlite:///{tmp_path / 'laptop' / 'bakeoff.sqlite'}")) as database:
        DeploymentKey(database, "f" * 32).require()
    assert main(["retire", "v1"]) == 1
    error = capsys.readouterr().err
    assert "DEPLOYMENT_KEY_FILE: nothing was changed: the key of this process" in error
    assert "set DATA_DIR to a new folder" in error


def test_a_newest_version_of_another_key_is_told_where_no_store_can_be(published, tmp_path, monkeypatch, capsys):
    other = ModelRegistry(published.storage, b"o" * 32)
    other.publish(manifest(), {"model.joblib": b"newer"})
    with registry_of(Settings.from_environ(), changes=True):
        pass
    assert "warning: v2, the newest version in s3://logs/" in capsys.readouterr().err


def test_while_the_store_is_away_the_bucket_says_whose_key_it_is(published, tmp_path, monkeypatch, capsys):
    (tmp_path / "away").write_bytes(b"no database" * 100)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'away'}")
    with registry_of(Settings.from_environ(), changes=True) as registry:
        registry.publish(manifest(), {"model.joblib": b"newer"})
    assert "and whether the key is the deployment's" in capsys.readouterr().err
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "builder"))
    with (
        pytest.raises(SettingError, match="no version in s3://"),
        registry_of(Settings.from_environ(), changes=True),
    ):
        pass


def test_with_a_key_that_was_accepted_versions_are_published_again(foreign, published, tmp_path, capsys):
    own = load_or_create(tmp_path / "builder").fingerprint
    with closing(Database(f"sqlite:///{tmp_path / 'builder' / 'bakeoff.sqlite'}")) as database:
        DeploymentKey(database, own).require()
    with registry_of(Settings.from_environ(), changes=True) as registry:
        assert registry.publish(manifest(), {"model.joblib": b"newer"}).version == "v2"
    assert "warning: no version in s3://logs/" in capsys.readouterr().err


CONFIGURATION = Configuration(
    epoch=0,
    experiment_id="e1",
    weights={"v1": 1.0, "v2": 0.0},
    terms=ExperimentTerms(metric="accuracy", baseline="v1"),
    champion="v1",
    created_at_us=5,
)


@pytest.fixture
def served(published, tmp_path):
    """The store of an installation that has served v1, and could serve v2."""
    published.publish(manifest(), {"model.joblib": b"newer"})
    published.point("challenger", "v2")
    with closing(Database(f"sqlite:///{tmp_path / 'data' / 'bakeoff.sqlite'}")) as database:
        ConfigurationLog(database).settle(lambda _latest: CONFIGURATION)
        yield database


@pytest.fixture
def asked_meanwhile(monkeypatch):
    """What S3 is asked while the store's writers wait, in order."""
    asked, waits = [], []
    record = DecisionTable.record

    def recorded(table, act, at_us):
        waits.append(True)
        record(table, act, at_us)
        waits.pop()

    def noting(name, call):
        def noted(*arguments):
            asked.extend([(name, *arguments[1:2])] if waits else [])
            return call(*arguments)

        return noted

    monkeypatch.setattr(DecisionTable, "record", recorded)
    for name in ("etags", "get", "put"):
        monkeypatch.setattr(S3Client, name, noting(name, getattr(S3Client, name)))
    return asked


def test_writers_of_the_store_do_not_wait_for_s3(served, published, asked_meanwhile, capsys):
    assert main(["retire", "v2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["served"] == ["v1"]
    published.storage.fetch()
    assert "v2" in retired_versions(published)
    assert main(["retire", "--undo", "v2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["served"] == ["v1", "v2"]
    published.storage.fetch()
    assert retired_versions(published) == {}
    assert asked_meanwhile == []
    assert [each.action for each in DecisionTable(served).page(9)] == ["restore", "retire"]


def test_a_bucket_that_goes_away_before_the_exchange_is_named_and_the_store_has_the_decision(
    served, capsys, monkeypatch
):
    def away(client, _name):
        raise OSError(5, "cannot be reached (ReadTimeout)", client.place)

    monkeypatch.setattr(BucketStorage, "swap", lambda storage, name, _change: away(storage, name))
    assert main(["retire", "v2"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: the model registry at s3://logs/")
    assert "cannot be reached (ReadTimeout)" in error
    assert "The store has it" in error
    assert [each.action for each in DecisionTable(served).page(9)] == ["retire"]
