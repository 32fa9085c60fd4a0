"""Reloading over real HTTP: two workers, a shelf that changes under them."""

import os
import shutil
import signal
import subprocess
import sys
import threading

import pytest
import requests

from tests.e2e.api_process import ROOT, ROW
from tests.waiting import eventually

pytestmark = pytest.mark.e2e
ADMIN = {"Authorization": "Bearer secret"}


@pytest.fixture(scope="module")
def third(trained, tmp_path_factory):
    """The folder of a v3 that belongs to the trained shelf."""
    folder = tmp_path_factory.mktemp("third")
    shutil.copytree(trained, folder / "installation")
    env = {
        **os.environ,
        "MODEL_DIR": str(folder / "installation" / "models"),
        "DATA_DIR": str(folder / "installation" / "data"),
    }
    command = [sys.executable, "-m", "app", "train", "--version", "v3", "--variant", "logistic_regression"]
    subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True)
    return folder / "installation" / "models" / "v3"


@pytest.fixture
def api(start):
    return start(ADMIN_TOKEN="secret")


def reload(api):
    answer = api.post("/models/reload", headers=ADMIN)
    assert answer.status_code == 200, answer.text
    return answer.json()


def forced(api, version):
    """Statuses of requests on connections of their own, so that every worker gets some."""
    header = {"X-Model-Version": version}
    return {requests.post(f"{api.url}/predict", json=ROW, headers=header, timeout=10).status_code for _ in range(30)}


def test_a_published_version_is_served_by_every_worker_when_the_reload_is_answered(api, installation, third):
    assert forced(api, "v3") == {404}
    shutil.copytree(third, installation / "models" / "v3")
    report = reload(api)
    assert {name: each["change"] for name, each in report["served"].items()} == {
        "v1": "kept",
        "v2": "kept",
        "v3": "loaded",
    }
    assert report["workers_behind"] == 0
    assert forced(api, "v3") == {200}
    assert api.get("/config").json()["weights"] == {"v1": 0.5, "v2": 0.5, "v3": 0.0}


def test_a_worker_that_is_born_later_has_what_was_reloaded(api, installation, third):
    shutil.copytree(third, installation / "models" / "v3")
    reload(api)
    eventually(lambda: len(api.workers()) >= 2)
    api.replace_worker(signal.SIGKILL)
    assert forced(api, "v3") == {200}


def test_a_damaged_artefact_changes_nothing_and_says_why(api, installation):
    damaged = installation / "models" / "v2" / "model.joblib"
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    report = reload(api)
    assert report["refused"]["v2"]["still_served"]
    assert "model.joblib" in report["refused"]["v2"]["reason"]
    assert forced(api, "v2") == {200}
    assert api.get("/config").json()["weights"] == {"v1": 0.5, "v2": 0.5}


def test_no_request_fails_while_versions_come_and_go(api, installation, third, tmp_path):
    statuses, done = [], threading.Event()

    def ask():
        with requests.Session() as session:
            while not done.is_set():
                statuses.append(session.post(f"{api.url}/predict", json=ROW, timeout=10).status_code)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    [thread.start() for thread in threads]
    place, aside = installation / "models" / "v3", tmp_path / "aside"
    shutil.copytree(third, aside)
    for _ in range(5):
        aside.rename(place)
        assert reload(api)["served"]["v3"]["change"] == "loaded"
        place.rename(aside)
        assert reload(api)["removed"] == ["v3"]
    done.set()
    [thread.join() for thread in threads]
    assert set(statuses) == {200}
    assert len(statuses) > 50


def test_versions_published_while_an_empty_service_runs_are_named_and_a_reload_loads_them(start, installation):
    models, aside = installation / "models", installation / "aside"
    models.rename(aside)
    api = start(ready=False, ADMIN_TOKEN="secret").wait_until("/health/live")
    assert "the model registry is empty" in api.post("/predict", ROW).json()["error"]["message"]
    aside.rename(models)
    message = api.post("/predict", ROW).json()["error"]["message"]
    assert "v1 and v2 are published but not loaded yet; load them with POST /models/reload" in message
    reload(api)
    assert api.post("/predict", ROW).status_code == 200
