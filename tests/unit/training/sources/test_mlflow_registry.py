"""Registered MLflow models, with a stand-in for MLflow's client: the files are those that MLflow 3.17 logs."""

import hashlib
import pickle
import shutil
import sys
import types
from pathlib import Path

import pandas as pd
import pytest
import skops.io
from sklearn.ensemble import RandomForestClassifier

from app.errors import DataRefused
from app.inference.mlflow_server import without_password
from app.training.external_session import PublishRequest, publish_external
from app.training.sources.mlflow_registry import fetch
from tests.unit.inference.published import data

IRIS, SPECIES = data("iris")
FOREST = RandomForestClassifier(3, random_state=0).fit(IRIS, SPECIES)
FLAVOUR = """artifact_path: model
flavors:
  python_function:
    loader_module: mlflow.sklearn{code}
    model_path: {file}
  sklearn:
    pickled_model: {file}
    serialization_format: {form}
    skops_trusted_types: ["os.system", "sklearn.tree._tree.Tree"]
    sklearn_version: {version}
mlflow_version: 3.17.2
run_id: r1
"""


class Failure(Exception):
    """As MLflow's client raises: the reason has a code."""

    def __init__(self, message, error_code=None):
        super().__init__(message)
        self.error_code = error_code


USER = "ann:secret"


class Server:
    """The client's functions over folders: one with the model's files, one with the artefacts of its run."""

    def __init__(self, root: Path) -> None:
        self.model, self.run = root / "logged", root / "run"
        self.model.mkdir()
        self.run.mkdir()
        self.failure = None
        self.MlflowClient = lambda: self
        self.artifacts = types.SimpleNamespace(download_artifacts=self._download)

    def get_tracking_uri(self):
        return f"https://{USER}@mlflow.example:5000/base?token=secret"

    def is_tracking_uri_set(self):
        return True

    def get_model_version_by_alias(self, name, alias):
        return self.get_model_version(name, {"champion": "7"}.get(alias))

    def get_model_version(self, name, version):
        if self.failure:
            raise self.failure
        if (name, version) != ("iris", "7"):
            raise Failure("not found", "RESOURCE_DOES_NOT_EXIST")
        return types.SimpleNamespace(name=name, version=7, run_id="r1")

    def _download(self, dst_path, artifact_uri=None, run_id=None, artifact_path=None):
        if artifact_uri is not None:
            assert artifact_uri == "models:/iris/7"
            return shutil.copytree(self.model, dst_path, dirs_exist_ok=True)
        if not (self.run / artifact_path).exists():
            raise Failure(f"no {artifact_path}")
        assert run_id == "r1"
        copy = shutil.copytree if (self.run / artifact_path).is_dir() else shutil.copy
        return copy(self.run / artifact_path, Path(dst_path) / Path(artifact_path).name)

    def log(self, file, content, form="skops", version="1.9.1", code=""):
        (self.model / Path(file).name).write_bytes(content)
        (self.model / "MLmodel").write_text(FLAVOUR.format(file=file, form=form, version=version, code=code))


@pytest.fixture
def server(tmp_path, monkeypatch):
    server = Server(tmp_path)
    monkeypatch.setitem(sys.modules, "mlflow", server)
    monkeypatch.setitem(sys.modules, "mlflow.artifacts", server.artifacts)
    server.log("model.skops", skops.io.dumps(FOREST))
    return server


@pytest.fixture
def fetched(tmp_path):
    def get(uri="models:/iris@champion", artifact=None):
        (tmp_path / "download").mkdir()
        return fetch(uri, tmp_path / "download", artifact)

    return get


def request(**changes):
    values = {"mlflow": "models:/iris@champion", "target": "species", "version": "mine"}
    return PublishRequest(**{**values, **changes})


@pytest.mark.parametrize(
    ("file", "dumps", "kept"),
    [("model.skops", skops.io.dumps, "model.skops"), ("model.pkl", pickle.dumps, "model.joblib")],
)
def test_a_model_is_published_with_where_it_came_from(server, registry, file, dumps, kept):
    content = dumps(FOREST)
    server.log(file, content)
    pd.DataFrame(IRIS, columns=list("abcd")).assign(species=SPECIES).to_csv(server.run / "rows.csv", index=False)
    publish_external(request(reference_artifact="rows.csv"), registry, lambda _: None)
    manifest = registry.manifest("mine")
    source = manifest.source.mlflow
    assert (source.name, source.version, source.alias, source.run_id) == ("iris", "7", "champion", "r1")
    assert source.tracking_uri == "https://mlflow.example:5000/base"
    assert source.mlmodel_sha256 == hashlib.sha256((server.model / "MLmodel").read_bytes()).hexdigest()
    assert manifest.source.dataset == "artefact rows.csv of MLflow run r1"
    assert registry.verified("mine").files[kept] == content
    assert "secret" not in (registry.root / "mine" / "manifest.json").read_text()


def test_the_types_that_a_model_itself_calls_trusted_are_not(server, registry, tmp_path):
    from sklearn.neighbors import KNeighborsClassifier

    server.log("model.skops", skops.io.dumps(KNeighborsClassifier().fit(IRIS, SPECIES)))
    rows = tmp_path / "rows.csv"
    rows.write_text("a,species\n1,0\n")
    with pytest.raises(DataRefused, match=r"models:/iris@champion has types that are not trusted.*KDTree"):
        publish_external(request(reference=rows), registry, lambda _: None)


def test_a_version_can_be_named_and_has_no_alias_then(server, fetched):
    source = fetched("models:/iris/7").source
    assert (source.version, source.alias) == ("7", None)


def test_another_scikit_learn_is_a_warning(server, fetched):
    server.log("model.skops", b"", version="1.5.2")
    assert "written with scikit-learn 1.5.2" in fetched().warnings[0]


def test_modules_that_were_logged_are_the_models_own(server, fetched):
    server.log("model.pkl", b"", code="\n    code: code")
    (server.model / "code").mkdir()
    assert fetched().code.name == "code"


@pytest.mark.parametrize("file", ["../../../etc/passwd", "/etc/passwd", "nothing.pkl"])
def test_a_file_that_is_not_the_models_is_refused(server, fetched, file):
    server.log("model.skops", b"")
    text = (server.model / "MLmodel").read_text().replace("pickled_model: model.skops", f"pickled_model: {file}")
    (server.model / "MLmodel").write_text(text)
    with pytest.raises(DataRefused, match="which is not among its files"):
        fetched()


def test_a_model_of_another_kind_is_refused_with_its_flavors(server, fetched):
    (server.model / "MLmodel").write_text("flavors:\n  pytorch: {}\n  python_function: {}\n")
    with pytest.raises(DataRefused, match="flavors python_function, pytorch; published are sklearn, onnx, lightgbm"):
        fetched()


BOOSTING = "flavors:\n  {flavour}:\n    data: {file}\n  python_function: {{}}\n"


@pytest.mark.parametrize("flavour", ["lightgbm", "xgboost", "catboost"])
def test_a_boosting_flavor_is_taken_where_its_file_is_a_pickle(server, fetched, flavour):
    (server.model / "model.pkl").write_bytes(b"")
    (server.model / "MLmodel").write_text(BOOSTING.format(flavour=flavour, file="model.pkl"))
    assert fetched().file.name == "model.pkl"


@pytest.mark.parametrize(
    ("flavour", "file", "model"),
    [
        ("lightgbm", "model.lgb", "LGBMClassifier"),
        ("xgboost", "model.ubj", "XGBClassifier"),
        ("catboost", "model.cb", "CatBoostClassifier"),
    ],
)
def test_a_boosting_flavor_in_its_own_format_is_refused_with_what_to_log(server, fetched, flavour, file, model):
    (server.model / file).write_bytes(b"")
    (server.model / "MLmodel").write_text(BOOSTING.format(flavour=flavour, file=file))
    with pytest.raises(DataRefused, match=rf"own format.*log the fitted {model} .*mlflow.sklearn.log_model"):
        fetched()


def test_lightgbms_flavor_as_mlflow_logs_it_by_default_is_refused_with_what_to_log(server, fetched):
    (server.model / "model.skops").write_bytes(b"")
    (server.model / "MLmodel").write_text(BOOSTING.format(flavour="lightgbm", file="model.skops"))
    with pytest.raises(DataRefused, match=r'not trusted.*mlflow\.lightgbm\.log_model\(\.\.\., .*="cloudpickle"\)'):
        fetched()


@pytest.mark.parametrize("content", ["flavors: [", "- a", "nothing: 1"])
def test_a_description_that_cannot_be_read_is_refused(server, fetched, content):
    (server.model / "MLmodel").write_text(content)
    with pytest.raises(DataRefused, match="MLmodel"):
        fetched()


@pytest.mark.parametrize("uri", ["models:/none@champion", "models:/iris@nobody", "models:/iris/9"])
def test_a_model_that_is_not_there_is_named(server, fetched, uri):
    with pytest.raises(DataRefused, match=f"MLflow at https://mlflow.example:5000/base has no {uri}"):
        fetched(uri)


@pytest.mark.parametrize("uri", ["runs:/iris/7", "models:/iris", "models:/iris@a@b", "iris"])
def test_what_is_no_address_of_a_registered_model_is_refused(server, fetched, uri):
    with pytest.raises(DataRefused, match="models:/NAME@ALIAS or models:/NAME/VERSION"):
        fetched(uri)


def test_a_server_that_is_away_is_named_without_its_password(server, fetched):
    server.failure = Failure("Connection to https://ann:secret@mlflow.example:5000 refused\nmore")
    with pytest.raises(DataRefused) as refusal:
        fetched()
    assert "cannot be fetched from MLflow at https://mlflow.example:5000/base" in refusal.value.message
    assert "see that the server runs and that MLFLOW_TRACKING_URI names it" in refusal.value.message
    assert "secret" not in refusal.value.message


def test_an_artefact_that_is_not_there_is_named(server, fetched):
    with pytest.raises(DataRefused, match=r"rows\.csv cannot be fetched from MLflow"):
        fetched(artifact="rows.csv")


def test_an_artefact_in_a_folder_of_the_run_is_found(server, fetched):
    (server.run / "data sets").mkdir()
    (server.run / "data sets" / "rows.csv").write_text("a,species\n")
    assert fetched(artifact="data sets/rows.csv").reference.name == "rows.csv"


def test_a_folder_of_artefacts_is_refused_with_what_is_in_it(server, fetched):
    (server.run / "data").mkdir()
    (server.run / "data" / "rows.csv").write_text("a,species\n")
    with pytest.raises(DataRefused, match=r"data of run r1 is a folder: name a file in it \(rows\.csv\)"):
        fetched(artifact="data")


# As MLflow 3.17's client says them.
POOL = "API request to http://h/api failed with exception HTTPConnectionPool(host='h', port=1): Max retries exceeded"


@pytest.mark.parametrize(
    ("said", "reason", "advice"),
    [
        (f'{POOL} (Caused by NewConnectionError("refused"))', "it refuses connections", "see that the server runs"),
        (f"{POOL} (Caused by NameResolutionError('x'))", "its host is not known", "MLFLOW_TRACKING_URI names it"),
        (f"{POOL} (Caused by ReadTimeoutError('x'))", "it does not answer in time", "see that the server runs"),
        (f"{POOL} (Caused by ResponseError('too many 503 error responses'))", "answers with status 503", "see that"),
        ("API request failed with error code 403 != 200. Body", "answers with status 403", "MLFLOW_TRACKING_PASSWORD"),
        ("UNAUTHENTICATED: who", "UNAUTHENTICATED", "set MLFLOW_TRACKING_USERNAME"),
        ("the response body was not in a valid JSON format. <html>", "another web page's", "MLFLOW_TRACKING_URI names"),
    ],
)
def test_why_a_server_cannot_be_asked_is_said_in_few_words(server, fetched, said, reason, advice):
    server.failure = Failure(said)
    with pytest.raises(DataRefused, match=rf"cannot be fetched .*{reason}.*{advice}") as refusal:
        fetched()
    assert "HTTPConnectionPool" not in refusal.value.message


def test_a_store_of_files_whose_client_is_missing_is_named(server, fetched):
    server.failure = ModuleNotFoundError("No module named 'boto3'", name="boto3")
    with pytest.raises(DataRefused, match="needs the module boto3: pip install"):
        fetched()


def test_without_an_address_the_message_says_what_to_set(server, fetched):
    server.is_tracking_uri_set = lambda: False
    with pytest.raises(DataRefused, match=r"MLFLOW_TRACKING_URI is not set: .*http://HOST:5000"):
        fetched()


def test_an_address_of_no_store_is_not_taken_for_a_model_that_is_missing(server, fetched):
    server.failure = Failure(" Model registry functionality is unavailable", "INVALID_PARAMETER_VALUE")
    with pytest.raises(DataRefused, match=r"cannot be fetched .*functionality is unavailable"):
        fetched()


def test_without_the_client_the_message_says_how_to_install_it(fetched, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(DataRefused, match=r"pip install -c requirements.txt -r requirements-mlflow.txt"):
        fetched()


@pytest.mark.parametrize(
    ("uri", "kept"),
    [
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        (f"postgresql://{USER}@db/mlflow?sslkey=secret", "postgresql://db/mlflow"),
        ("sqlite:////srv/mlflow.db", "sqlite:////srv/mlflow.db"),
        ("databricks", "databricks"),
        ("file:///srv/runs", "file:///srv/runs"),
    ],
)
def test_an_address_is_kept_without_user_and_secrets(uri, kept):
    assert without_password(uri) == kept
