"""What a training logs to an MLflow server, and that it does not depend on it."""

from __future__ import annotations

import json
import pickle

import pytest
import requests
from msgspec.structs import replace

from app.domain.manifest import MlflowModel
from app.inference.mlflow_server import MlflowFailure, MlflowServer, RegisteredVersion
from app.settings import MlflowSettings
from app.training import tracking
from app.training.session import TrainingRequest, train
from app.training.tracking import Tracking, first_answer_s
from app.training.variants import TrainingVariant, VariantCatalogue
from tests.unit.training.mlflow_stand_in import StandIn
from tests.waiting import eventually

USER = "ann:secret"
GATE = {"min_accuracy": 0.8, "min_r2": None}
VARIANT = TrainingVariant(
    estimator="sklearn.linear_model.LogisticRegression", parameters={"max_iter": 500, "C": 2.0}, scale=True
)
OTHER = TrainingVariant(estimator="sklearn.naive_bayes.GaussianNB", parameters={}, scale=False)
CATALOGUE = VariantCatalogue(default="linear", first_two=("linear", "linear"), variants={"linear": VARIANT})


def of_two():
    variants = {"linear": VARIANT, "other": OTHER}
    return VariantCatalogue(default="linear", first_two=("linear", "other"), variants=variants)


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
        log_of_it = Tracking(server_of(**settings), CATALOGUE, "ann", patience_s)
        return log_of_it.published(session, registry.verified, GATE)

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


def test_versions_are_logged_beside_each_other_and_numbered_in_their_order(stand_in, server_of, registry, monkeypatch):
    two = VariantCatalogue(
        default="linear", first_two=("linear", "other"), variants={"linear": VARIANT, "other": OTHER}
    )
    session = train(TrainingRequest(), registry, two, lambda _: None)
    answer = stand_in.answer

    def first_waits(method, path, query, data):
        (run,) = [run for run in stand_in.runs if f"/{run['id']}/" in path] or [None]
        if run and run["run_name"] == "v1" and path.endswith("manifest.json"):
            eventually(lambda: sum("MLmodel" in name for name in stand_in.files) == 1)  # that of v2
        return answer(method, path, query, data)

    monkeypatch.setattr(stand_in, "answer", first_waits)
    line = Tracking(server_of(), two, "ann", patience_s=20).published(session, registry.verified, GATE)
    assert line == f"MLflow at {stand_in.uri} has v1 and v2"
    names = {run["id"]: run["run_name"] for run in stand_in.runs}
    assert [(names[each["run_id"]], each["version"]) for each in stand_in.versions] == [("v1", "1"), ("v2", "2")]


def test_a_version_that_fails_keeps_no_other_from_being_registered(stand_in, server_of, registry, monkeypatch):
    two = of_two()
    session = train(TrainingRequest(), registry, two, lambda _: None)
    answer = stand_in.answer

    def refuses(method, path, query, data):
        (run,) = [run for run in stand_in.runs if f"/{run['id']}/" in path] or [None]
        if run and run["run_name"] == "v2" and path.endswith("model.pkl"):
            return 413, {"error_code": "TOO_LARGE", "message": "too large"}
        return answer(method, path, query, data)

    monkeypatch.setattr(stand_in, "answer", refuses)
    line = Tracking(server_of(), two, "ann", patience_s=20).published(session, registry.verified, GATE)
    assert line.startswith(f"warning: MLflow at {stand_in.uri} lacks the model, registered version, alias of v2: ")
    assert [each["version"] for each in stand_in.versions] == ["1"]
    monkeypatch.setattr(stand_in, "answer", answer)
    again = Tracking(server_of(), two, "ann").again(session.versions, registry.verified)
    assert again == f"MLflow at {stand_in.uri} has v2"
    assert [run["run_name"] for run in stand_in.runs].count("v1") == 1


def test_a_training_that_publishes_nothing_is_a_failed_run(stand_in, server_of):
    line = Tracking(server_of(), CATALOGUE, "ann").refused("linear", {"seed": 1, "target": None}, "below 0.9")
    assert line == f"MLflow at {stand_in.uri} has the failed run linear"
    (run,) = stand_in.runs
    assert (run["status"], run["params"]) == ("FAILED", {"seed": "1"})
    assert {"key": "bakeoff.refused", "value": "below 0.9"} in run["tags"]


@pytest.mark.parametrize(
    ("settings", "login"),
    [
        ({}, None),
        ({"token": "t0k"}, "Bearer t0k"),
        ({"username": "ann", "password": "secret"}, "Basic YW5uOnNlY3JldA=="),
        ({"username": "ann", "password": "ключ"}, "Basic YW5uOtC60LvRjtGH"),
    ],
)
def test_the_server_gets_the_login_of_the_settings(stand_in, logged, settings, login):
    logged(**settings)
    assert stand_in.logins == {login}


ALL = "all of v1"


@pytest.mark.parametrize(
    ("part", "fault", "lacks", "reason"),
    [
        ("get-by-name", 500, ALL, "it answers with status 500 (it hurts)"),
        ("experiments/create", "hang", ALL, "it does not answer in time"),
        ("get-by-name", "close", ALL, "it closed the connection"),
        ("get-by-name", 302, ALL, "status 302 (it hurts), to https://elsewhere/api: set MLFLOW_TRACKING_URI"),
        (
            "log-batch",
            403,
            "the parameters and figures, data set, manifest, model, registered version, alias of v1",
            "it answers with status 403",
        ),
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
    assert "lacks all of v1" in (line := logged(patience_s=0))
    assert "it took longer than 0 s" in line


def test_a_server_that_never_answers_is_asked_once_and_not_waited_for_after_the_training(
    stand_in, server_of, session, registry, monkeypatch
):
    stand_in.faults["get-by-name"] = "hang"
    monkeypatch.setattr(tracking, "first_answer_s", lambda _: 0.0)
    patient = MlflowServer(MlflowSettings(uri=stand_in.uri, experiment="flowers", model="iris"), answer_s=600.0)
    line = Tracking(patient, CATALOGUE, "ann").published(session, registry.verified, GATE)
    assert line.startswith(f"warning: MLflow at {stand_in.uri} lacks {ALL}: it does not answer in time. ")
    assert line.endswith("Later: `bakeoff publish --to-mlflow v1`")
    eventually(lambda: stand_in.asked == [("GET", "/api/2.0/mlflow/experiments/get-by-name")])


@pytest.mark.parametrize(("training_s", "waits_s"), [(0, 1.5), (1, 0.5), (3, 0.4), (3600, 0.4)])
def test_the_first_answer_may_take_the_training_and_no_more_than_a_sixth_of_one_of_three_seconds(training_s, waits_s):
    assert first_answer_s(training_s) == pytest.approx(waits_s)


def test_each_call_has_its_limits_and_is_made_once(stand_in, registry, session, monkeypatch):
    limits = {}
    send = requests.Session.request

    def limited(self, method, url, *, timeout, **more):
        assert limits.setdefault(url, timeout) == timeout
        return send(self, method, url, timeout=timeout, **more)

    monkeypatch.setattr(requests.Session, "request", limited)
    server = MlflowServer(MlflowSettings(uri=stand_in.uri, experiment="flowers", model="iris"))
    Tracking(server, CATALOGUE, "ann").published(session, registry.verified, GATE)
    twice = [asked for asked in stand_in.asked if asked[1].endswith("model-versions/create")]
    assert len(twice) == 2  # the registered model was missing
    assert len(limits) == len(stand_in.asked) - 1 == 14
    files = {url: answer_s for url, (_, answer_s) in limits.items() if "mlflow-artifacts" in url}
    assert all(15 <= answer_s < 16 for answer_s in files.values())
    first = {url: limits[url] for url in limits if url.endswith("experiments/get-by-name")}
    assert list(first.values()) == [(3.0, 65.0)]
    assert {limit for url, limit in limits.items() if url not in files | first} == {(3.0, 5.0)}


def test_what_the_server_lacks_is_logged_later(stand_in, logged, server_of, session, registry):
    stand_in.faults["manifest.json"] = 503
    assert "Later: `bakeoff publish --to-mlflow v1`" in logged()
    stand_in.faults.clear()
    again = Tracking(server_of(), CATALOGUE, "ann").again
    assert again(session.versions, registry.verified) == f"MLflow at {stand_in.uri} has v1"
    assert stand_in.aliases.pop(("iris", "champion")) == "1"
    assert again(session.versions, registry.verified) == f"MLflow at {stand_in.uri} has v1 already"
    assert (stand_in.aliases, len(stand_in.versions)) == ({("iris", "champion"): "1"}, 1)


def test_what_is_logged_later_fails_if_it_cannot_be(stand_in, server_of, session, registry):
    stand_in.faults["runs/create"] = 403
    with pytest.raises(MlflowFailure, match="lacks all of v1: it answers with status 403"):
        Tracking(server_of(), CATALOGUE, "ann").again(session.versions, registry.verified)


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
    with pytest.raises(MlflowFailure, match="another server's"):
        server_of().experiment()


def test_an_answer_without_what_mlflow_says_is_named_with_the_server(
    stand_in, server_of, session, registry, monkeypatch
):
    monkeypatch.setattr(stand_in, "answer", lambda *_: (200, {}))
    with pytest.raises(MlflowFailure, match="another server's"):
        server_of().experiment()
    odd = {"model_versions": [{"tags": [{}]}]}
    monkeypatch.setattr(stand_in, "answer", lambda *_: (200, odd))
    with pytest.raises(MlflowFailure, match=f"^MLflow at {stand_in.uri}: its answer is not MLflow's"):
        Tracking(server_of(), CATALOGUE, "ann").again(session.versions, registry.verified)


def test_a_token_that_no_header_can_carry_is_named(logged):
    assert "MLFLOW_TRACKING_TOKEN has characters that HTTP cannot carry" in logged(token="ключ")


def test_an_address_of_https_for_a_server_of_http_is_told(stand_in, logged):
    assert "should MLFLOW_TRACKING_URI begin with http://?" in logged(uri=stand_in.uri.replace("http:", "https:"))
