"""What a training logs to an MLflow server, and that it does not depend on it."""

from __future__ import annotations

import json
import pickle

import pytest
from msgspec.structs import replace

from app.domain.manifest import MlflowModel
from app.inference.mlflow_server import MlflowFailure, MlflowServer, RegisteredVersion
from app.settings import MlflowSettings
from app.training.session import TrainingRequest, train
from app.training.tracking import Tracking
from app.training.variants import TrainingVariant, VariantCatalogue
from tests.unit.training.mlflow_stand_in import StandIn

USER = "ann:secret"
GATE = {"min_accuracy": 0.8, "min_r2": None}
VARIANT = TrainingVariant(
    estimator="sklearn.linear_model.LogisticRegression", parameters={"max_iter": 500, "C": 2.0}, scale=True
)
CATALOGUE = VariantCatalogue(default="linear", first_two=("linear", "linear"), variants={"linear": VARIANT})


@pytest.fixture
def stand_in():
    server = StandIn()
    yield server
    server.stop()


@pytest.fixture
def server_of(stand_in):
    def make(**settings):
        given = {"uri": stand_in.uri, "experiment": "flowers", "model": "iris", **settings}
        return MlflowServer(MlflowSettings(**given), answer_s=2.0, file_s=0.0)

    return make


@pytest.fixture
def session(registry):
    return train(TrainingRequest(version="v1"), registry, CATALOGUE, lambda _: None)


@pytest.fixture
def logged(server_of, session, registry):
    """The line of a training that was logged."""

    def log(patience_s=20, **settings):
        tracking = Tracking(server_of(**settings), CATALOGUE, "ann", patience_s)
        return tracking.published(session, registry.verified, GATE)

    return log


def test_a_training_is_a_run_with_parameters_figures_and_data(stand_in, logged, session):
    assert logged() == f"MLflow at {stand_in.uri} has v1"
    (run,) = stand_in.runs
    manifest = session.versions[0].manifest
    assert (stand_in.experiments, run["run_name"], run["status"]) == ({"flowers": "7"}, "v1", "FINISHED")
    assert run["params"]["parameters.C"] == "2.0"
    assert (run["params"]["dataset"], run["params"]["min_accuracy"]) == ("iris", "0.8")
    assert "min_r2" not in run["params"]
    assert run["metrics"]["holdout_accuracy"] == manifest.metrics["holdout"]["accuracy"]
    assert "holdout_confusion_matrix" not in run["metrics"]
    assert run["datasets"][0]["dataset"]["digest"] == manifest.source.sha256[:36]
    assert 0 < run["start_time"] <= run["end_time"]
    assert {"key": "mlflow.user", "value": "ann"} in run["tags"]


def test_manifest_and_model_are_files_of_the_run(stand_in, logged):
    logged()
    folder = "7/r0/artifacts"
    assert json.loads(stand_in.files[f"{folder}/manifest.json"])["version"] == "v1"
    described = json.loads(stand_in.files[f"{folder}/model/MLmodel"])
    assert described["flavors"]["sklearn"]["pickled_model"] == "model.pkl"
    assert json.loads(described["signature"]["inputs"])[0]["name"] == "sepal_length"
    model = pickle.loads(stand_in.files[f"{folder}/model/model.pkl"])
    assert model.named_steps["model"].C == 2.0
    assert b"scikit-learn==" in stand_in.files[f"{folder}/model/requirements.txt"]


def test_the_model_is_registered_with_the_alias_that_it_has_here(stand_in, logged):
    logged()
    (version,) = stand_in.versions
    assert (version["name"], version["run_id"]) == ("iris", "r0")
    assert version["source"] == "mlflow-artifacts:/7/r0/artifacts/model"
    assert stand_in.aliases == {("iris", "champion"): "1"}
    stand_in.aliases.clear()
    logged()
    assert [each["version"] for each in stand_in.versions] == ["1", "2"]


def test_a_training_that_publishes_nothing_is_a_failed_run(stand_in, server_of):
    line = Tracking(server_of(), CATALOGUE, "ann").refused("linear", {"seed": 1, "target": None}, "below 0.9")
    assert line == f"MLflow at {stand_in.uri} has linear"
    (run,) = stand_in.runs
    assert (run["status"], run["params"]) == ("FAILED", {"seed": "1"})
    assert {"key": "bakeoff.refused", "value": "below 0.9"} in run["tags"]


@pytest.mark.parametrize(
    ("settings", "login"),
    [
        ({}, None),
        ({"token": "t0k"}, "Bearer t0k"),
        ({"username": "ann", "password": "secret"}, "Basic YW5uOnNlY3JldA=="),
    ],
)
def test_the_server_gets_the_login_of_the_settings(stand_in, logged, settings, login):
    logged(**settings)
    assert stand_in.logins == {login}


ALL = "the run, parameters and figures, data set, manifest, model, registered version, alias of v1"


@pytest.mark.parametrize(
    ("part", "fault", "lacks", "reason"),
    [
        ("get-by-name", 500, ALL, "it answers with status 500 (it hurts)"),
        ("get-by-name", "hang", ALL, "it does not answer in time"),
        ("get-by-name", "close", ALL, "it closed the connection"),
        ("get-by-name", 302, ALL, "it answers with status 302"),
        ("log-batch", 403, ALL.replace("run, ", ""), "it answers with status 403"),
        ("manifest.json", 500, "the manifest, model, registered version, alias of v1", "status 500 (it hurts)"),
        ("model.pkl", "hang", "the model, registered version, alias of v1", "it does not answer in time"),
        ("model.pkl", 507, "the model, registered version, alias of v1", "status 507"),
        ("model-versions", "close", "the registered version, alias of v1", "it closed the connection"),
        ("/alias", 500, "the alias of v1", "status 500"),
        ("runs/create", 401, ALL, "status 401 (it hurts); set MLFLOW_TRACKING_USERNAME"),
    ],
)
def test_a_server_that_fails_is_one_line_that_says_what_it_lacks(stand_in, logged, part, fault, lacks, reason):
    stand_in.faults[part] = fault
    line = logged()
    assert line.startswith(f"warning: MLflow at {stand_in.uri} lacks {lacks}: ")
    assert reason in line
    assert "\n" not in line


def test_a_server_that_is_away_is_named_without_its_password(stand_in, logged):
    stand_in.stop()
    place = stand_in.uri.removeprefix("http://")
    line = logged(uri=f"http://{USER}@{place}")
    assert line.startswith(f"warning: MLflow at {stand_in.uri} lacks {ALL}: it refuses connections")


def test_the_whole_takes_no_longer_than_it_may(stand_in, logged):
    stand_in.faults["runs/create"] = "hang"
    assert "lacks the run," in (line := logged(patience_s=0))
    assert "it took longer than 0 s" in line


def test_files_that_the_server_does_not_take_are_said(stand_in, logged):
    stand_in.artifact_root = f"s3://{USER}@bucket/7"
    assert "lacks the manifest, model" in (line := logged())
    assert "s3://bucket/7/r0/artifacts, which it does not take itself: start it with --serve-artifacts" in line


def test_a_store_without_server_is_not_logged_to(logged):
    assert "only a server of http or https is logged to" in logged(uri="sqlite:///mlflow.db")


def test_a_version_that_was_trained_here_is_found_by_its_model(logged, session, server_of, stand_in):
    logged()
    manifest = session.versions[0].manifest
    assert server_of().registered(manifest) == RegisteredVersion("iris", "1")
    assert server_of().registered(replace(manifest, version="v2")) is None


@pytest.mark.parametrize(
    ("uri", "run_id", "known"), [(None, None, True), ("http://inside:5000", "r0", True), ("http://other", "rx", False)]
)
def test_a_version_that_was_published_from_there_is_found_by_its_source(
    logged, session, server_of, stand_in, uri, run_id, known
):
    logged()
    manifest = session.versions[0].manifest
    source = MlflowModel(uri or stand_in.uri, "iris", "1", "0" * 64, None, run_id)
    found = server_of().registered(replace(manifest, source=replace(manifest.source, mlflow=source)))
    assert found == (RegisteredVersion("iris", "1") if known else None)


def test_an_answer_of_another_web_page_is_said(stand_in, server_of, monkeypatch):
    monkeypatch.setattr(stand_in, "answer", lambda *_: (200, ["a page"]))
    with pytest.raises(MlflowFailure, match="another web page's"):
        server_of().experiment()
