"""A registered MLflow model: its files fetched, and where they came from. MLflow's own loader is not called.

That loader takes the list of trusted types from the model itself, which makes no model safer.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from app.domain.manifest import MlflowModel
from app.errors import DataRefused
from app.inference.mlflow_server import without_password

_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>[0-9]+))")
# Of each flavour that is published: the key of its file in MLmodel.
_FILE_KEYS = {"sklearn": "pickled_model", "onnx": "data", "lightgbm": "data", "xgboost": "data", "catboost": "data"}
# Boosting flavours may name a file in the library's own format, which has no class names and no columns.
_READ = (".pkl", ".pickle", ".joblib")
_OWN_FORMAT = {"lightgbm": "LGBMClassifier", "xgboost": "XGBClassifier", "catboost": "CatBoostClassifier"}
# MLflow's own defaults wait for minutes before they say that a server is away. Whoever sets them is obeyed.
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
# What the client says at length, in a few words. The first that matches counts: an unknown host is no connection too.
_REASONS: tuple[tuple[str, str], ...] = (
    ("NameResolutionError", "its host is not known"),
    ("NewConnectionError", "it refuses connections"),
    ("timed out|Timeout", "it does not answer in time"),
    (r"too many (\d+) error", r"it answers with status \1"),
    (r"error code (\d+) != 200", r"it answers with status \1"),
    ("not in a valid JSON format", "its answer is not MLflow's, but another web page's"),
)
_NOT_THERE = re.compile("not found|ensure that the path is correct")
_REFUSED = re.compile(r"UNAUTHENTICATED|PERMISSION_DENIED|status 40[13]")
_UNSET = "MLFLOW_TRACKING_URI is not set: it names the MLflow server that --from-mlflow reads, as http://HOST:5000"
_ABSENT = (
    "MLflow's client is not installed, which --from-mlflow needs: pip install -c requirements.txt -r "
    "requirements-mlflow.txt (or download the model's files, and publish its model.skops or model.pkl)"
)


class FetchedModel(msgspec.Struct, frozen=True):
    """The model's file, its own modules and the reference of its run as downloaded, and where they came from."""

    file: Path
    source: MlflowModel
    code: Path | None = None
    reference: Path | None = None
    warnings: tuple[str, ...] = ()


def require_mlflow_uri(uri: str) -> None:
    """Raise `DataRefused` if this is not the address of a registered model."""
    if not _URI.fullmatch(uri):
        raise DataRefused(
            f"{uri!r} is no address of a registered model: models:/NAME@ALIAS or models:/NAME/VERSION", field="mlflow"
        )


def fetch(uri: str, folder: Path, reference_artifact: str | None = None) -> FetchedModel:
    """Download the model at `uri` into `folder`, and an artefact of its run if one is named.

    The server is the one that MLflow's own settings name (MLFLOW_TRACKING_URI). Raises `DataRefused` without MLflow's
    client, for a server that does not answer, for a model that is not there, and for one of another kind.
    """
    require_mlflow_uri(uri)
    mlflow = _client_library()
    # The client's own default is a database file in the current folder, which it would begin.
    if not mlflow.is_tracking_uri_set():
        raise DataRefused(_UNSET)
    registered = _registered(mlflow, uri)
    name, version = str(registered.name), str(registered.version)
    _download(mlflow, uri, folder / "model", artifact_uri=f"models:/{name}/{version}")
    described, digest = _mlmodel(folder / "model", uri)
    run_id = registered.run_id or described.get("run_id")
    alias = _parts(uri)["alias"]
    source = MlflowModel(without_password(str(mlflow.get_tracking_uri())), name, version, digest, alias, run_id)
    reference = None
    if reference_artifact is not None:
        if not run_id:
            raise DataRefused(f"{uri} has no run, so there is no artefact {reference_artifact}: use --reference FILE")
        place = folder / "run"
        got = _download(mlflow, reference_artifact, place, run_id=run_id, artifact_path=reference_artifact)
        # Without the folders of its path: the client says where it has put the file.
        reference = _inside(place, got, f"run {run_id}")
        if reference.is_dir():
            listed = ", ".join(sorted(file.name for file in reference.iterdir())[:5])
            raise DataRefused(f"{reference_artifact} of run {run_id} is a folder: name a file in it ({listed})")
    flavours = described["flavors"]
    return FetchedModel(
        file=_model_file(folder / "model", flavours, uri),
        source=source,
        code=_code(folder / "model", flavours, uri),
        reference=reference,
        warnings=_warnings(flavours),
    )


def _client_library() -> Any:
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    try:
        library = importlib.import_module("mlflow")
        importlib.import_module("mlflow.artifacts")
    except ImportError as error:
        raise DataRefused(_ABSENT) from error
    return library


def _parts(uri: str) -> dict[str, str | None]:
    match = _URI.fullmatch(uri)
    assert match is not None
    return match.groupdict()


def _registered(mlflow: Any, uri: str) -> Any:
    """What the server knows of the model."""
    parts = _parts(uri)
    try:
        client = mlflow.MlflowClient()
        if parts["alias"]:
            return client.get_model_version_by_alias(parts["name"], parts["alias"])
        return client.get_model_version(parts["name"], parts["version"])
    except Exception as error:  # a client of any store can raise anything; it is reported as the reason
        raise _failed(mlflow, uri, error) from error


def _download(mlflow: Any, what: str, place: Path, **named: str) -> str:
    """Where in `place` the client has put it."""
    place.mkdir()
    try:
        return str(mlflow.artifacts.download_artifacts(**named, dst_path=str(place)))
    except Exception as error:
        raise _failed(mlflow, what, error) from error


def _failed(mlflow: Any, what: str, error: Exception) -> DataRefused:
    place = without_password(str(mlflow.get_tracking_uri()))
    text = _without_secrets(str(error))
    code, first = getattr(error, "error_code", None), text.strip().partition("\n")[0][:300]
    if code == "RESOURCE_DOES_NOT_EXIST" or (code == "INVALID_PARAMETER_VALUE" and _NOT_THERE.search(text)):
        return DataRefused(f"MLflow at {place} has no {what}: {first}")
    reason = _in_few_words(text) or f"{type(error).__name__}: {first}"
    return DataRefused(f"{what} cannot be fetched from MLflow at {place}: {reason}; {_advice(error, reason)}")


def _in_few_words(text: str) -> str | None:
    found = ((re.search(pattern, text), words) for pattern, words in _REASONS)
    return next((match.expand(words) for match, words in found if match), None)


def _advice(error: Exception, reason: str) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"its files are kept where MLflow's client needs the module {error.name}: pip install its package"
    if _REFUSED.search(reason):
        return "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
    return "see that the server runs and that MLFLOW_TRACKING_URI names it"


def _without_secrets(text: str) -> str:
    return re.sub(r"://[^/@\s]+@", "://", text)


def _mlmodel(folder: Path, uri: str) -> tuple[Mapping[str, Any], str]:
    """The content of the file `MLmodel`, and its SHA-256 in hex."""
    yaml = importlib.import_module("yaml")
    try:
        data = (folder / "MLmodel").read_bytes()
        described = yaml.safe_load(data)
    except (OSError, yaml.YAMLError) as error:
        raise DataRefused(f"{uri} has no file MLmodel that can be read: {error}") from error
    if not isinstance(described, dict) or not isinstance(described.get("flavors"), dict):
        raise DataRefused(f"the file MLmodel of {uri} lists no flavors")
    return described, hashlib.sha256(data).hexdigest()


def _model_file(folder: Path, flavours: Mapping[str, Any], uri: str) -> Path:
    for name, key in _FILE_KEYS.items():
        flavour = flavours.get(name)
        if isinstance(flavour, dict) and isinstance(flavour.get(key), str):
            _require_read(name, flavour[key], uri)
            return _inside(folder, flavour[key], uri)
    raise DataRefused(
        f"{uri} has the flavors {', '.join(sorted(map(str, flavours)))}; published are {', '.join(_FILE_KEYS)}: log "
        "the estimator with mlflow.sklearn.log_model"
    )


def _require_read(flavour: str, file: str, uri: str) -> None:
    """Raise `DataRefused` for a file of a boosting library that is no pickle, with how to log the model instead."""
    if flavour not in _OWN_FORMAT or file.endswith(_READ):
        return
    call, form = f"mlflow.{flavour}.log_model", 'serialization_format="cloudpickle"'
    if file.endswith(".skops"):
        # By MLflow's default. Inside is the text of a booster, which the library reads without checking it.
        why = "whose skops file holds types that are not trusted"
    else:
        call, why = "mlflow.sklearn.log_model", f"whose file {file} is in the library's own format, without estimator"
    raise DataRefused(
        f"{uri} is of the flavor {flavour}, {why}: log the fitted {_OWN_FORMAT[flavour]} (or the regressor) with "
        f"{call}(..., {form})"
    )


def _code(folder: Path, flavours: Mapping[str, Any], uri: str) -> Path | None:
    """The modules that were logged with `code_paths`."""
    named = flavours.get("python_function", {}).get("code")
    return _inside(folder, named, uri) if isinstance(named, str) else None


def _inside(folder: Path, name: str, owner: str) -> Path:
    """The file of that name, which the model's own description gives: it must not lead elsewhere."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.exists():
        raise DataRefused(f"{owner} names {name!r}, which is not among its files")
    return path


def _warnings(flavours: Mapping[str, Any]) -> tuple[str, ...]:
    written, installed = flavours.get("sklearn", {}).get("sklearn_version"), importlib.metadata.version("scikit-learn")
    if written in (None, installed):
        return ()
    return (f"MLflow says that it was written with scikit-learn {written}; {installed} is installed here",)
