"""The simulator's HTTP client: one keep-alive connection, and a record for every result.

Failures are records too and not exceptions, because a simulation counts them and goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
import requests

from app.domain.columns import union_of
from app.domain.contract import Feature, FeatureContract
from app.domain.manifest import Source
from app.errors import NotReady
from app.simulation.plan import PlannedRequest
from app.simulation.rows import Label
from app.tokens import Tokens, scope_of

_TIMEOUT_S = 30.0
NO_ANSWER = "no_answer"
_T = TypeVar("_T")


class ServedModel(msgspec.Struct, frozen=True):
    """One version in the answer of `GET /models`, with the fields that playing its data needs."""

    version: str
    contract: FeatureContract
    source: Source
    aliases: tuple[str, ...] = ()
    serving: bool = True
    routed: bool = True


class Listing(msgspec.Struct, frozen=True):
    """The answer of `GET /models`."""

    models: tuple[ServedModel, ...]


def reference_of(models: Sequence[ServedModel]) -> ServedModel:
    """The version whose data set is played: the champion, else the first that is loaded.

    Raises `NotReady` if none is.
    """
    serving = [model for model in models if model.serving]
    if not serving:
        raise NotReady(_none_loaded(len(models)))
    return next((model for model in serving if "champion" in model.aliases), serving[0])


def other_columns(model: ServedModel, models: Sequence[ServedModel]) -> tuple[Feature, ...]:
    """The columns that only other versions read which can be asked what `model` is asked."""
    asked = {each.version: each.contract for each in models if each.serving and each.routed}
    union = union_of(model.version, {model.version: model.contract, **asked})
    return union.columns[len(model.contract.features) :]


def _none_loaded(published: int) -> str:
    if not published:
        return "no model is published: run `bakeoff train`, then load it with POST /models/reload"
    return f"none of the {published} published models is loaded: POST /models/reload loads them or gives the reasons"


class ServedTerms(msgspec.Struct, frozen=True):
    """The fields of `GET /config` that a simulation needs."""

    labels_exogenous: bool = False


class ServiceAnswer(msgspec.Struct, frozen=True):
    """The answer of `POST /predict`, without the fields that a simulation does not need."""

    prediction_id: str
    prediction: str | float
    model_version: str
    assignment: str


class ServiceOutcome(msgspec.Struct, frozen=True):
    """A true label to report, with the id of the prediction that it belongs to."""

    prediction_id: str
    actual: Label


class Accepted(msgspec.Struct, frozen=True):
    """The answer of `POST /feedback`: how many outcomes were new, and how many were known already."""

    accepted: int
    duplicates: int = 0


class ServiceProblem(msgspec.Struct, frozen=True):
    """Why there is no result. Without an HTTP answer `status` is 0 and `code` is `no_answer`."""

    status: int
    code: str
    message: str
    retry_after_s: float | None = None


class _Known(msgspec.Struct):
    prediction_id: str


class _Detail(msgspec.Struct):
    code: str = "unknown"
    message: str = ""


class _Error(msgspec.Struct):
    error: _Detail


class Service:
    """One connection to the service at `url`; one per thread, because a `requests.Session` is not thread-safe.

    `synthetic` marks everything that is sent: it does not count. Rows are sent as arrays, or under `names`.
    """

    def __init__(
        self, url: str, tokens: Tokens | None = None, *, synthetic: bool = False, names: tuple[str, ...] = ()
    ) -> None:
        self._url = url.rstrip("/")
        self._names = names
        self._session = requests.Session()
        # Proxies and .netrc are for other hosts, and reading them for each request costs more than the request.
        self._session.trust_env = False
        self._tokens = tokens or Tokens()
        if synthetic:
            self._session.headers["X-Traffic-Kind"] = "synthetic"

    def models(self) -> Listing | ServiceProblem:
        """The published versions."""
        return self._call("GET", "/models", Listing)

    def terms(self) -> ServedTerms | ServiceProblem:
        """The terms of the running experiment."""
        return self._call("GET", "/config", ServedTerms)

    def predict(self, request: PlannedRequest) -> ServiceAnswer | ServiceProblem:
        """The answer to one row, for its user and under its key, if there are any."""
        # In headers: in the body they would be refused where a feature is called user_id or id.
        headers = {} if request.user_id is None else {"X-User-Id": request.user_id}
        if request.key is not None:
            headers["X-Prediction-Key"] = request.key
        named = zip(self._names, request.row, strict=True) if self._names else ()
        features = {name: value for at, (name, value) in enumerate(named) if at not in request.absent} or request.row
        return self._call("POST", "/predict", ServiceAnswer, {"features": features}, headers)

    def knows(self, key: str) -> bool:
        """Whether the log has a prediction with that key which counts; False, too, where that cannot be told."""
        return isinstance(self._call("GET", f"/predictions?id={quote(key)}", _Known), _Known)

    def send_labels(self, outcomes: Sequence[ServiceOutcome]) -> Accepted | ServiceProblem:
        """Report true labels; the service accepts all of them or none."""
        return self._call("POST", "/feedback", Accepted, {"feedback": outcomes})

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _call(
        self, method: str, path: str, kind: type[_T], body: Any = None, options: Mapping[str, str] | None = None
    ) -> _T | ServiceProblem:
        data = None if body is None else msgspec.json.encode(body)
        headers = {"Content-Type": "application/json", **self._tokens.header(scope_of(path)), **(options or {})}
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
    # Absent from most errors, and a proxy may send a date instead of seconds.
    try:
        retry_after_s = float(answer.headers["Retry-After"])
    except (KeyError, ValueError):
        retry_after_s = None
    return ServiceProblem(answer.status_code, detail.code, detail.message, retry_after_s)
