"""An MLflow tracking server, by its REST API: runs, their files, and registered versions with aliases (ADR 45).

Source: https://mlflow.org/docs/latest/api_reference/rest-api.html. Files go through the server, which has to serve
them (`--serve-artifacts`, MLflow's default).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec
import requests

from app.domain.manifest import Manifest
from app.errors import BakeoffError
from app.settings import MlflowSettings

# Seconds. A server that takes connections and never answers is given up after the second; the first call, beside which
# a training goes on, gets the third.
_CONNECT_S, _ANSWER_S, _FIRST_S = 3.0, 5.0, 60.0
# Files take as long as the server's own store does, which may be asked for the first time, and the network: this many
# seconds more for each file, and for each of its bytes.
_FILE_S, _S_PER_BYTE = 10.0, 1e-6
_LONGEST_TEXT = 500  # of a parameter, by servers before 2.8; later ones take more
_LONGEST_DIGEST = 36
MODEL_FOLDER = "model"
SHA256, VERSION = "bakeoff.model_sha256", "bakeoff.version"
_FOREIGN = "its answer is not MLflow's, but another server's"
_ACCESS = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"


class MlflowFailure(BakeoffError):
    """What was asked of the MLflow server was not done: it is away, refuses, or answers with something else.

    `error_code` is MLflow's own, such as `RESOURCE_DOES_NOT_EXIST`; empty where the answer has none.
    """

    code = "mlflow"

    def __init__(self, message: str, error_code: str = "") -> None:
        super().__init__(message)
        self.error_code = error_code


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What is logged of a training: times in ms since 1970, `figures` without those that are missing.

    `dataset` has the keys of MLflow's `Dataset` (None: nothing is known of the data).
    """

    name: str
    started_ms: int
    ended_ms: int
    finished: bool
    parameters: Mapping[str, object]
    figures: Mapping[str, float] = msgspec.field(default_factory=dict)
    tags: Mapping[str, str] = msgspec.field(default_factory=dict)
    dataset: Mapping[str, str] | None = None


class RunPlace(msgspec.Struct, frozen=True):
    """A run on the server: its id, and where the server keeps its files."""

    id: str
    files: str


class RegisteredVersion(msgspec.Struct, frozen=True):
    """A version of a registered model."""

    name: str
    version: str


class MlflowServer:
    """The server of the settings. Every call raises `MlflowFailure`, after some seconds where nothing answers."""

    def __init__(self, settings: MlflowSettings, answer_s: float = _ANSWER_S, file_s: float = _FILE_S) -> None:
        self.place = without_password(settings.uri)
        self._settings = settings
        self._answer_s = answer_s
        self._file_s = file_s
        self._session = requests.Session()
        if settings.token:
            # Not as a header of the session, which requests replaces by a login of .netrc.
            self._session.auth = _Bearer(settings.token)
        elif settings.username:
            # As UTF-8: requests takes texts for Latin-1.
            name, password = settings.username.encode(), (settings.password or "").encode()
            self._session.auth = requests.auth.HTTPBasicAuth(name, password)

    def experiment(self) -> str:
        """The id of the settings' experiment, which is made if it is missing. It takes up to a minute."""
        name = self._settings.experiment
        try:
            found = self._get("experiments/get-by-name", _FIRST_S, experiment_name=name)
        except MlflowFailure as failure:
            if failure.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return str(_part(self._post("experiments/create", name=name), "experiment_id"))
        return str(_part(found, "experiment", "experiment_id"))

    def begin(self, experiment: str, run: Run) -> RunPlace:
        """A new run of the experiment."""
        tags = [{"key": key, "value": value} for key, value in run.tags.items()]
        made = self._post(
            "runs/create", experiment_id=experiment, run_name=run.name, start_time=run.started_ms, tags=tags
        )
        info = _part(made, "run", "info")
        return RunPlace(str(_part(info, "run_id")), str(_part(info, "artifact_uri")))

    def log(self, place: RunPlace, run: Run) -> None:
        """Parameters and figures of the run, which ends."""
        parameters = [{"key": key, "value": str(value)[:_LONGEST_TEXT]} for key, value in run.parameters.items()]
        figures = [
            {"key": key, "value": value, "timestamp": run.ended_ms, "step": 0} for key, value in run.figures.items()
        ]
        self._post("runs/log-batch", run_id=place.id, params=parameters, metrics=figures)
        status = "FINISHED" if run.finished else "FAILED"
        self._post("runs/update", run_id=place.id, status=status, end_time=run.ended_ms)

    def log_dataset(self, place: RunPlace, dataset: Mapping[str, str]) -> None:
        """The data that the run was trained on."""
        data = {**dataset, "digest": dataset["digest"][:_LONGEST_DIGEST]}
        tags = [{"key": "mlflow.data.context", "value": "training"}]
        self._post("runs/log-inputs", run_id=place.id, datasets=[{"dataset": data, "tags": tags}])

    def upload(self, place: RunPlace, name: str, content: bytes) -> None:
        """Keep a file with the run, under a path such as `model/MLmodel`."""
        parts = urlsplit(place.files)
        if parts.scheme != "mlflow-artifacts" or parts.netloc not in ("", urlsplit(self.place).netloc):
            raise MlflowFailure(
                f"it keeps files at {without_password(place.files)}, which it does not take itself: start it with "
                "--serve-artifacts and --artifacts-destination"
            )
        path = quote(f"{parts.path.strip('/')}/{name}")
        more_s = self._file_s + len(content) * _S_PER_BYTE
        self._ask("PUT", f"mlflow-artifacts/artifacts/{path}", more_s=more_s, data=content)

    def register(self, place: RunPlace, tags: Mapping[str, str]) -> RegisteredVersion:
        """The run's model as the next version of the settings' registered model, which is made if it is missing."""
        version = {
            "name": self._settings.model,
            "source": f"{place.files}/{MODEL_FOLDER}",
            "run_id": place.id,
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
        }
        try:
            made = self._post("model-versions/create", **version)
        except MlflowFailure as failure:
            if failure.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            self._make_model()
            made = self._post("model-versions/create", **version)
        return RegisteredVersion(self._settings.model, str(_part(made, "model_version", "version")))

    def point(self, alias: str, at: RegisteredVersion) -> None:
        """Point an alias of the registered model at a version."""
        self._post("registered-models/alias", name=at.name, alias=alias, version=at.version)

    def registered(self, manifest: Manifest) -> RegisteredVersion | None:
        """The registered version of a version here: the one it was published from, or the one that `train` logged.

        None where this server has none.
        """
        source = manifest.source.mlflow
        if source is None:
            return self._logged(manifest)
        if source.tracking_uri.rstrip("/") == self.place.rstrip("/"):
            return RegisteredVersion(source.name, source.version)
        # One server has several addresses, as inside of Docker and outside; the run's id is the same.
        try:
            found = self._get("model-versions/get", name=source.name, version=source.version)
        except MlflowFailure as failure:
            if failure.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        same = source.run_id is not None and _part(found, "model_version").get("run_id") == source.run_id
        return RegisteredVersion(source.name, source.version) if same else None

    def _make_model(self) -> None:
        try:
            self._post("registered-models/create", name=self._settings.model)
        except MlflowFailure as failure:
            if failure.error_code != "RESOURCE_ALREADY_EXISTS":  # by another process meanwhile
                raise

    def _logged(self, manifest: Manifest) -> RegisteredVersion | None:
        wanted = f"name = '{self._settings.model}' and tags.`{SHA256}` = '{manifest.model_sha256}'"
        found = self._get("model-versions/search", filter=wanted).get("model_versions", [])
        try:
            tags = [({tag["key"]: tag["value"] for tag in each.get("tags", ())}, each) for each in found]
            numbers = [int(each["version"]) for tag, each in tags if tag.get(VERSION) == manifest.version]
        except (KeyError, TypeError, ValueError) as error:
            raise MlflowFailure(_FOREIGN) from error
        return RegisteredVersion(self._settings.model, str(max(numbers))) if numbers else None

    def _get(self, path: str, more_s: float = 0.0, **query: str) -> Any:
        return _decoded(self._ask("GET", f"mlflow/{path}", more_s, params=query))

    def _post(self, path: str, **body: object) -> Any:
        return _decoded(self._ask("POST", f"mlflow/{path}", json=body))

    def _ask(self, method: str, path: str, more_s: float = 0.0, **sent: Any) -> requests.Response:
        if urlsplit(self._settings.uri).scheme not in ("http", "https"):
            raise MlflowFailure("only a server of http or https is logged to")
        address, limits = f"{self._settings.uri.rstrip('/')}/api/2.0/{path}", (_CONNECT_S, self._answer_s + more_s)
        try:
            # A redirect would repeat a POST as a GET, and may give the password to another host.
            answer = self._session.request(method, address, timeout=limits, allow_redirects=False, **sent)
        except requests.RequestException as error:
            raise MlflowFailure(_reason(error)) from error
        except UnicodeError as error:
            raise MlflowFailure("MLFLOW_TRACKING_TOKEN has characters that HTTP cannot carry") from error
        if answer.status_code != 200:
            raise _refused(answer)
        return answer


class _Bearer(requests.auth.AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def without_password(uri: str) -> str:
    """The address without user, password and query, which may hold secrets."""
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2]
    # Joined by hand, because `urlunsplit` drops the slashes of sqlite:///file.
    return (
        f"{parts.scheme}://{host}{parts.path}" if "://" in uri else urlunsplit((*parts[:1], host, parts.path, "", ""))
    )


def _decoded(answer: requests.Response) -> Any:
    try:
        content = answer.json()
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise MlflowFailure(_FOREIGN)
    return content


def _part(answer: Any, *names: str) -> Any:
    """What an answer has under these names, one within the other. Raises `MlflowFailure` where it is not MLflow's."""
    try:
        for name in names:
            answer = answer[name]
    except (KeyError, TypeError) as error:
        raise MlflowFailure(_FOREIGN) from error
    return answer


def _refused(answer: requests.Response) -> MlflowFailure:
    """The reason that the server gives: MLflow's errors are JSON, those of a proxy or of its `Host` check are texts."""
    try:
        content = answer.json()
    except ValueError:
        content = answer.text
    told = content if isinstance(content, dict) else {"message": content}
    message = str(told.get("message", "")).strip().partition("\n")[0][:200]
    advice = f"; {_ACCESS}" if answer.status_code == 401 else ""
    if answer.is_redirect:
        advice = f", to {without_password(answer.headers['Location'])}: set MLFLOW_TRACKING_URI to where it leads"
    reason = f" ({message})" if message and not message.startswith("<") else ""
    return MlflowFailure(
        f"it answers with status {answer.status_code}{reason}{advice}", str(told.get("error_code", ""))
    )


def _reason(error: requests.RequestException) -> str:
    # The error's own text repeats the address, which may hold a password.
    text = str(error)
    if isinstance(error, requests.Timeout) or "timed out" in text:
        return "it does not answer in time"
    if "NameResolutionError" in text:
        return "its host is not known"
    if "NewConnectionError" in text:
        return "it refuses connections"
    if isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" not in text:
        return "it does not speak HTTPS: should MLFLOW_TRACKING_URI begin with http://?"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted here (REQUESTS_CA_BUNDLE names a file of others)"
    if isinstance(error, requests.ConnectionError):
        return "it closed the connection"
    return f"it cannot be asked ({type(error).__name__})"
