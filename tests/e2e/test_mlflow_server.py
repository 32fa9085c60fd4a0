"""A real MLflow server: what its client says and where it puts files, which the stand-in of the unit tests repeats."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import urllib.request
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from app.errors import DataRefused
from app.inference.registry import ModelRegistry
from app.training.external_session import PublishRequest, publish_external
from tests.e2e.api_process import free_port
from tests.waiting import eventually


def _server_is_installed() -> bool:
    # Not mlflow-skinny, which is the client alone.
    try:
        return bool(version("mlflow"))
    except PackageNotFoundError:
        return False


pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not _server_is_installed(), reason="NOT CHECKED: mlflow, with its server, is not installed"),
]
IRIS = load_iris(as_frame=True)
ROWS: pd.DataFrame = IRIS.data.assign(species=IRIS.target_names[IRIS.target])


def _answers(url: str) -> bool:
    with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
        return bool(answer.status == 200)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a server with one worker that keeps all that it has in a temporary folder."""
    folder, url = tmp_path_factory.mktemp("mlflow"), f"http://127.0.0.1:{free_port()}"
    stores = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files")]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--port", url.rpartition(":")[2], "--workers", "1", *stores],
            cwd=folder,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        eventually(lambda: _answers(url), 180, lambda: (folder / "log").read_text()[-2000:], ignoring=OSError)
        yield url
    finally:
        # The server has processes of its own, which outlive it otherwise.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _mlflow() -> Any:
    # Not an import: it is none of the packages that the tests need, and they are skipped without it.
    importlib.import_module("mlflow.sklearn")
    return importlib.import_module("mlflow")


@pytest.fixture(scope="module")
def logged(server, tmp_path_factory):
    """The server with a registered model `iris`, and its rows as an artefact in a folder of the run."""
    mlflow = _mlflow()

    rows = tmp_path_factory.mktemp("rows") / "rows.csv"
    ROWS.iloc[::2].to_csv(rows, index=False)
    mlflow.set_tracking_uri(server)
    model = LogisticRegression(max_iter=500).fit(IRIS.data, ROWS["species"])
    with mlflow.start_run():
        mlflow.log_artifact(str(rows), "data sets")
        mlflow.sklearn.log_model(model, name="model", registered_model_name="iris")
    mlflow.MlflowClient().set_registered_model_alias("iris", "champion", "1")
    return server


@pytest.fixture
def publishes(tmp_path):
    def publish(uri):
        registry = ModelRegistry(tmp_path / "models", b"k" * 32)
        wanted = PublishRequest(mlflow=uri, target="species", version="mine", reference_artifact="data sets/rows.csv")
        publish_external(wanted, registry, lambda _: None)
        return registry.manifest("mine")

    return publish


def test_a_registered_model_is_published_with_the_rows_of_its_run(logged, publishes):
    manifest = publishes("models:/iris@champion")
    source = manifest.source.mlflow
    assert (source.tracking_uri, source.name, source.version, source.alias) == (logged, "iris", "1", "champion")
    assert (manifest.runtime, manifest.contract.classes) == ("onnx", ("setosa", "versicolor", "virginica"))
    assert manifest.source.rows == 75


@pytest.mark.parametrize("uri", ["models:/iris@nobody", "models:/iris/9", "models:/none@champion"])
def test_what_the_server_does_not_have_is_named(logged, publishes, uri):
    with pytest.raises(DataRefused, match=f"MLflow at {logged} has no {uri}"):
        publishes(uri)


def test_a_server_that_is_away_is_named_in_few_words(logged, publishes):
    mlflow = _mlflow()

    mlflow.set_tracking_uri(f"http://127.0.0.1:{free_port()}")
    try:
        with pytest.raises(DataRefused, match="it refuses connections; see that the server runs"):
            publishes("models:/iris@champion")
    finally:
        mlflow.set_tracking_uri(logged)
