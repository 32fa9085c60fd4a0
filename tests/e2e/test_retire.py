"""Retiring over real HTTP: the command beside a running API, and what the API says before and after the reload."""

import os
import subprocess
import sys

import pytest

from tests.e2e.api_process import ROOT, ROW

pytestmark = pytest.mark.e2e
ADMIN = {"Authorization": "Bearer secret"}


@pytest.fixture
def api(start):
    """An API whose challenger answers in shadow only."""
    return start(ADMIN_TOKEN="secret", MODEL_V1_WEIGHT="1", MODEL_V2_WEIGHT="0")


def command(installation, *words):
    env = {
        **os.environ,
        "MODEL_DIR": str(installation / "models"),
        "DATA_DIR": str(installation / "data"),
    }
    return subprocess.run([sys.executable, "-m", "app", *words], cwd=ROOT, env=env, capture_output=True, text=True)


def reload(api):
    answer = api.post("/models/reload", headers=ADMIN)
    assert answer.status_code == 200, answer.text
    return answer.json()


def entry(api, version):
    (found,) = (each for each in api.get("/models").json()["models"] if each["version"] == version)
    return found["serving"], found["retired"]


def test_a_retired_version_is_dropped_by_the_reload_and_the_experiment_goes_on(api, installation):
    experiment = api.get("/config").json()["experiment_id"]
    forced = api.post("/predict", ROW, headers={"X-Model-Version": "v2"}).json()
    done = command(installation, "retire", "v2", "--actor", "ann", "--note", "no use")
    assert done.returncode == 0, done.stderr
    assert entry(api, "v2") == (True, False)
    assert reload(api)["removed"] == ["v2"]
    assert entry(api, "v2") == (False, True)
    configuration = api.get("/config").json()
    assert (configuration["experiment_id"], configuration["weights"]) == (experiment, {"v1": 1.0})
    assert api.post("/predict", ROW, headers={"X-Model-Version": "v2"}).status_code == 404
    label = {"prediction_id": forced["prediction_id"], "actual": "setosa"}
    assert api.post("/feedback", label).json()["accepted"] == 1
    first = api.get("/audit", headers=ADMIN).json()["entries"][0]
    assert (first["action"], first["version"], first["actor"], first["note"]) == ("retire", "v2", "ann", "no use")


def test_a_version_with_traffic_is_refused_and_the_patch_that_is_named_frees_it(api, installation):
    api.session.patch(f"{api.url}/config", json={"weights": {"v1": 1, "v2": 1}}, headers=ADMIN, timeout=30)
    refused = command(installation, "retire", "v2")
    assert refused.returncode == 1
    assert 'PATCH /config {"weights": {"v1": 0.5}}' in refused.stderr
    api.session.patch(f"{api.url}/config", json={"weights": {"v1": 0.5}}, headers=ADMIN, timeout=30)
    assert command(installation, "retire", "v2").returncode == 0


def test_a_restored_version_is_served_in_another_experiment(api, installation):
    command(installation, "retire", "v2")
    reload(api)
    experiment = api.get("/config").json()["experiment_id"]
    assert command(installation, "retire", "--undo", "v2").returncode == 0
    assert reload(api)["served"]["v2"]["change"] == "loaded"
    assert api.get("/config").json()["experiment_id"] != experiment


def test_a_restart_serves_without_it_too(start, installation):
    first = start(MODEL_V1_WEIGHT="1", MODEL_V2_WEIGHT="0")
    experiment = first.get("/config").json()["experiment_id"]
    command(installation, "retire", "v2")
    first.stop()
    again = start(MODEL_V1_WEIGHT="1", MODEL_V2_WEIGHT="0")
    assert again.get("/config").json()["experiment_id"] == experiment
    assert again.get("/config").json()["weights"] == {"v1": 1.0}


def test_a_restart_without_a_version_that_has_traffic_ends_nothing_and_counts_nothing(start, installation, tmp_path):
    first = start(WEB_CONCURRENCY="1")
    before = first.get("/config").json()
    first.stop()
    (installation / "models" / "v2").rename(tmp_path / "v2")
    again = start(ready=False, WEB_CONCURRENCY="1", ADMIN_TOKEN="secret").wait_until("/health/live")
    refused = again.get("/health/ready")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_ready")
    assert "v2 has 50 % of the traffic and is not loaded here" in refused.json()["error"]["message"]
    assert again.get("/config").json()["epoch"] == before["epoch"]
    assert again.post("/predict", ROW).json()["assignment"] == "fallback"
    (tmp_path / "v2").rename(installation / "models" / "v2")
    assert reload(again)["served"]["v2"]["change"] == "loaded"
    assert again.get("/health/ready").status_code == 200
    after = again.get("/config").json()
    assert (after["epoch"], after["experiment_id"]) == (before["epoch"], before["experiment_id"])
