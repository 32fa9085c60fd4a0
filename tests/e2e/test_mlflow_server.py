"""A real MLflow server: trained there and published here, trained here and registered there, promoted; and faults."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
import requests
from sklearn.datasets import load_iris

from tests.e2e.api_process import ROOT, free_port
from tests.e2e.test_clients import environment
from tests.waiting import eventually

pytestmark = pytest.mark.e2e
IRIS = load_iris(as_frame=True)
ROWS: pd.DataFrame = IRIS.data.assign(species=IRIS.target_names[IRIS.target])
TOKEN = "token-of-the-tests"
# What a team has that knows nothing of this project: a run with its rows, and a registered model.
THEIRS = """
import sys
import mlflow, mlflow.sklearn
import pandas as pd
from sklearn.linear_model import LogisticRegression

rows = pd.read_csv(sys.argv[1])
with mlflow.start_run():
    mlflow.log_artifact(sys.argv[1], "data sets")
    model = LogisticRegression(max_iter=500).fit(rows.drop(columns="species"), rows["species"])
    mlflow.sklearn.log_model(model, name="model", registered_model_name="iris", pip_requirements=["scikit-learn"])
mlflow.MlflowClient().set_registered_model_alias("iris", "challenger", "1")
"""
LOADED = """
import mlflow.pyfunc, pandas as pd
model = mlflow.pyfunc.load_model("models:/bakeoff@champion")
columns = [column.name for column in model.metadata.signature.inputs]
print(columns, model.predict(pd.DataFrame([[5.1, 3.5, 1.4, 0.2]], columns=columns)).tolist())
"""


class Server:
    """MLflow with one worker, which keeps all that it has in a folder."""

    def __init__(self, python: str, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log = folder / "log"
        self.files = folder / "files"
        stores = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(self.files)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [python, "-m", "mlflow", "server", "--port", self.url.rpartition(":")[2], "--workers", "1", *stores],
                cwd=folder,
                env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def get(self, path: str, **query: str) -> dict:
        """What the REST API answers."""
        answer = requests.get(f"{self.url}/api/2.0/mlflow/{path}", params=query, timeout=20)
        answer.raise_for_status()
        return answer.json()

    def wait(self) -> Server:
        """Until it answers."""
        eventually(
            lambda: requests.get(f"{self.url}/health", timeout=2).ok,
            180,
            lambda: self.log.read_text()[-2000:],
            ignoring=requests.RequestException,
        )
        return self

    def kill(self) -> None:
        """The server has processes of its own, which outlive it otherwise."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture(scope="session")
def server_python() -> str:
    """Python with MLflow's server: `MLFLOW_PYTHON`, or the environment that .ci/tools keeps."""
    given = os.environ.get("MLFLOW_PYTHON")
    if given:
        return given
    made = subprocess.run([ROOT / ".ci/tools", "mlflow"], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"NOT CHECKED: MLflow's server cannot be installed: {made.stderr[-300:]}")
    return f"{made.stdout.strip()}/python"


@pytest.fixture(scope="session")
def client_packages(pytestconfig, tmp_path_factory) -> str:
    """The folder of the extra's packages, which stand beside those of this installation."""
    python = environment(pytestconfig, tmp_path_factory, "mlflow", "requirements-mlflow.lock")
    return subprocess.check_output(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    ).strip()


@pytest.fixture(scope="module")
def server(server_python, tmp_path_factory):
    """The server of this file: starting one takes 17 s of a processor. Its files have little space, if that can be."""
    folder = tmp_path_factory.mktemp("mlflow")
    (folder / "files").mkdir()
    small = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder / "files"]
    mounted = subprocess.run(small, capture_output=True, check=False).returncode == 0
    running = Server(server_python, folder)
    yield running.wait()
    running.kill()
    if mounted:
        subprocess.run(["umount", "--lazy", folder / "files"], check=True)


@pytest.fixture
def command(installation, server, client_packages):
    """Runs Python beside the server, with MLflow's client and this installation's folders."""

    def run(*arguments: str, status: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
        settings = {
            "MODEL_DIR": str(installation / "models"),
            "DATA_DIR": str(installation / "data"),
            "MLFLOW_TRACKING_URI": server.url,
            "PYTHONPATH": client_packages,
            **more,
        }
        done = subprocess.run(
            [sys.executable, *arguments], cwd=ROOT, env={**os.environ, **settings}, capture_output=True, text=True
        )
        assert done.returncode == status, done.stderr
        return done

    return run


@pytest.fixture
def rows(tmp_path):
    """A CSV file of every second row."""
    path = tmp_path / "rows.csv"
    ROWS.iloc[::2].to_csv(path, index=False)
    return str(path)


TRAIN = ("-m", "app", "train", "--variant", "logistic_regression", "--json")


def test_trained_there_published_here_promoted_here_alias_there(server, command, rows, start, watch):
    command("-c", THEIRS, rows)
    from_there = ("--from-mlflow", "models:/iris@challenger", "--reference-artifact", "data sets/rows.csv")
    done = command("-m", "app", "publish", *from_there, "--target", "species", "--version", "theirs", "--json")
    source = json.loads(done.stdout)["versions"][0]["source"]["mlflow"]
    assert (source["name"], source["version"], source["alias"]) == ("iris", "1", "challenger")

    trained = command(*TRAIN, "--version", "ours")
    assert trained.stderr.strip() == f"MLflow at {server.url} has ours"
    found = server.get("model-versions/search", filter="name = 'bakeoff'")["model_versions"][-1]
    run = server.get("runs/get", run_id=found["run_id"])["run"]
    figures = {figure["key"]: figure["value"] for figure in run["data"]["metrics"]}
    published = json.loads(trained.stdout)["versions"][0]
    assert figures["holdout_accuracy"] == published["metrics"]["holdout"]["accuracy"]
    assert (run["info"]["status"], run["inputs"]["dataset_inputs"][0]["dataset"]["name"]) == ("FINISHED", "iris")

    api = start(ADMIN_TOKEN=TOKEN)
    watch(MLFLOW_TRACKING_URI=server.url)

    def promote(version: str) -> None:
        decision = {"action": "promote", "version": version, "note": "for the test"}
        answer = api.post("/experiment/decision", json=decision, headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200, answer.text

    def champion(model: str) -> str | None:
        aliases = server.get("registered-models/get", name=model)["registered_model"].get("aliases", [])
        return next((each["version"] for each in aliases if each["alias"] == "champion"), None)

    promote("theirs")
    eventually(lambda: champion("iris") == "1")
    promote("ours")
    eventually(lambda: champion("bakeoff") == found["version"])
    columns, classes = command("-c", LOADED).stdout.strip().rsplit(" ", 1)
    assert columns == "['sepal_length', 'sepal_width', 'petal_length', 'petal_width']"
    assert classes == "[0]"


def test_what_the_server_does_not_have_is_named(server, command, rows):
    uri = "models:/none@champion"
    asked = ("publish", "--from-mlflow", uri, "--reference", rows, "--target", "species")
    assert f"MLflow at {server.url} has no {uri}" in command("-m", "app", *asked, status=1).stderr


def test_publishing_from_a_server_that_is_away_says_so_in_few_words(command, rows):
    away = f"http://127.0.0.1:{free_port()}"
    asked = ("publish", "--from-mlflow", "models:/iris@champion", "--reference", rows, "--target", "species")
    done = command("-m", "app", *asked, status=1, MLFLOW_TRACKING_URI=away)
    assert "it refuses connections; see that the server runs" in done.stderr


def test_an_artefact_store_without_space_is_a_warning_and_registers_nothing(server, command):
    if not server.files.is_mount():
        pytest.skip("NOT CHECKED: no small file system can be mounted here (needs root)")
    filler = server.files / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(b"0" * 65536):
            pass
    done = command(*TRAIN, "--version", "v9", MLFLOW_REGISTERED_MODEL_NAME="none")
    filler.unlink()
    assert f"warning: MLflow at {server.url} lacks the " in done.stderr
    assert "registered version, alias of v9: it answers with status 500" in done.stderr
    assert json.loads(done.stdout)["versions"][0]["version"] == "v9"
    names = [model["name"] for model in server.get("registered-models/search").get("registered_models", [])]
    assert "none" not in names


def test_a_server_that_dies_while_a_model_is_trained_is_a_warning(server, command):
    """The last test of this file: no server is left."""

    def has_begun() -> bool:
        names = [each["name"] for each in server.get("experiments/search", max_results="99")["experiments"]]
        return "short" in names

    with ThreadPoolExecutor(1) as beside:
        running = beside.submit(command, *TRAIN, "--dataset", "digits", MLFLOW_EXPERIMENT_NAME="short")
        eventually(has_begun)
        server.kill()
    training = running.result()
    assert f"warning: MLflow at {server.url} lacks all of " in training.stderr
    assert "it refuses connections" in training.stderr
    assert len(json.loads(training.stdout)["versions"]) == 1
