"""The served model as the simulator knows it from the API.

The service over HTTP, as the simulator uses it: one keep-alive connection, every outcome a record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
import requests

from app.domain.contract import FeatureContract
from app.domain.manifest import Source
from app.errors import NotReady
from app.simulation.rows import Label


class ServedModel(msgspec.Struct, frozen=True):
    """What `GET /models` says of one version, as far as it is needed to play its data."""

    version: str
    contract: FeatureContract
    source: Source
    aliases: tuple[str, ...] = ()
    serving: bool = True


class Listing(msgspec.Struct, frozen=True):
    """The answer of `GET /models`."""

    models: tuple[ServedModel, ...]


def reference_of(models: Sequence[ServedModel]) -> ServedModel:
    """The version whose data set is played: the champion, else the first that serves. Raises `NotReady`."""
    serving = [model for model in models if model.serving]
    if not serving:
        raise NotReady("the service has no model to ask: run `bakeoff train`, then restart the api")
    return next((model for model in serving if "champion" in model.aliases), serving[0])


_TIMEOUT_S = 30.0
NO_ANSWER = "no_answer"
_T = TypeVar("_T")


class ServiceAnswer(msgspec.Struct, frozen=True):
    """What `POST /predict` answered."""

    prediction_id: str
    prediction: str | float
    model_version: str
    assignment: str


class ServiceOutcome(msgspec.Struct, frozen=True):
    """A true label to be told, for the prediction that was answered."""

    prediction_id: str
    actual: Label


class Accepted(msgspec.Struct, frozen=True):
    """What `POST /feedback` answered."""

    accepted: int
    duplicates: int = 0


class ServiceProblem(msgspec.Struct, frozen=True):
    """Why there is no result. `status` is 0 and `code` is `no_answer` where no HTTP answer came."""

    status: int
    code: str
    message: str
    retry_after_s: float | None = None


class _Detail(msgspec.Struct):
    code: str = "unknown"
    message: str = ""


class _Error(msgspec.Struct):
    error: _Detail


class Service:
    """One connection to the service at `url`; not to be shared between threads."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self._url = url.rstrip("/")
        self._session = requests.Session()
        # Proxies and .netrc are for other hosts, and looking for them costs more than the request.
        self._session.trust_env = False
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def models(self) -> Listing | ServiceProblem:
        """The versions on the shelf."""
        return self._call("GET", "/models", Listing)

    def predict(self, row: list[float | str | None], user_id: str | None) -> ServiceAnswer | ServiceProblem:
        """The answer to one row."""
        body = {"features": row} if user_id is None else {"features": row, "user_id": user_id}
        return self._call("POST", "/predict", ServiceAnswer, body)

    def send_labels(self, outcomes: Sequence[ServiceOutcome]) -> Accepted | ServiceProblem:
        """Tell true labels; all of them are taken, or none."""
        return self._call("POST", "/feedback", Accepted, {"feedback": outcomes})

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _call(self, method: str, path: str, kind: type[_T], body: Any = None) -> _T | ServiceProblem:
        data = None if body is None else msgspec.json.encode(body)
        headers = {"Content-Type": "application/json"}
        try:
            answer = self._session.request(method, self._url + path, data=data, headers=headers, timeout=_TIMEOUT_S)
        except requests.RequestException as error:
            return ServiceProblem(0, NO_ANSWER, str(error))
        if answer.status_code != 200:
            return _problem(answer)
        try:
            return msgspec.json.decode(answer.content, type=kind)
        except msgspec.MsgspecError as error:
            return ServiceProblem(answer.status_code, "unreadable_answer", f"{path}: {error}")


def _problem(answer: requests.Response) -> ServiceProblem:
    try:
        detail = msgspec.json.decode(answer.content, type=_Error).error
    except msgspec.MsgspecError:
        detail = _Detail(message=answer.reason or "")
    try:
        retry_after_s = float(answer.headers["Retry-After"])
    except (KeyError, ValueError):
        retry_after_s = None
    return ServiceProblem(answer.status_code, detail.code, detail.message, retry_after_s)
