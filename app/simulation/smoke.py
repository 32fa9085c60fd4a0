"""The smoke test of a running api, over HTTP: known answers, rejected bad requests, metrics, the OpenAPI document."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
import requests
from prometheus_client.parser import text_string_to_metric_families

from app.domain.known_answers import KnownAnswers, complaint
from app.tokens import Tokens, scope_of

_TIMEOUT_S = 15.0
# On a busy host another process may have the store for seconds: no fault of what is tested.
_STORE_S, _PAUSE_S = 30.0, 0.5
# Bodies that a client might send by mistake. Each must get a 400 whose error has a code and a message.
_OBJECT = b'{"features": '
_BAD_BODIES: Mapping[str, bytes] = {
    "no JSON": b"{",
    "no UTF-8": b'{"features": ["\xff"]}',
    "no features": b"{}",
    "no row": _OBJECT + b"1}",
    "an empty row": _OBJECT + b"[]}",
    "a row of texts": _OBJECT + b'["?", "?", "?", "?", "?", "?"]}',
    "an infinite number": _OBJECT + b"[1e999]}",
    "an unknown key": _OBJECT + b'[], "nonsense": 1}',
}
Complaints = Iterator[str]


class SmokeCheck(msgspec.Struct, frozen=True):
    """The name of a check and everything that it found wrong; empty if it passed."""

    name: str
    complaints: tuple[str, ...] = ()


class Smoke:
    """The smoke test of the api at `url`, with the answers that its versions must give.

    All predictions force a version and are marked as synthetic, so that none counts in the experiment. A store that
    cannot be used is asked for again for up to `store_s` seconds.
    """

    def __init__(self, url: str, tokens: Tokens, known: Sequence[KnownAnswers], store_s: float = _STORE_S) -> None:
        self._url = url.rstrip("/")
        self._store_s = store_s
        self._known = known
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy in the environment is not the way to this service
        self._session.headers["X-Traffic-Kind"] = "synthetic"
        self._tokens = tokens

    def run(self) -> Iterator[SmokeCheck]:
        """Every check, one after the other; those after a failure are made too."""
        yield _checked("health", self._health)
        for known in self._known:
            yield _checked(f"{known.version}: {len(known.answers)} known answers", partial(self._rows, known))
            yield _checked(f"{known.version}: the same as a batch", partial(self._batch, known))
        yield _checked("bad requests are refused", self._bad_requests)
        yield _checked("an unknown version is refused", self._unknown_version)
        yield _checked("a forged prediction id is refused", self._forged_id)
        yield _checked("metrics", self._metrics)
        yield _checked("openapi", self._openapi)

    def _health(self) -> Complaints:
        deadline = time.monotonic() + self._store_s
        while True:
            answer = self._session.get(f"{self._url}/health", timeout=_TIMEOUT_S)
            body = _object(answer)
            if "store" not in body or body["store"] == "ok" or time.monotonic() >= deadline:
                break
            time.sleep(_PAUSE_S)
        if answer.status_code != 200 or body.get("store") != "ok":
            yield f"{answer.status_code} {body.get('status')!r}, store: {body.get('store')!r}"
        for known in self._known:
            state = body["models"].get(known.version) or {"loaded": False}
            if not state["loaded"] or state.get("error"):
                yield f"{known.version}: {state.get('error', 'not loaded')}"

    def _rows(self, known: KnownAnswers) -> Complaints:
        for one in known.answers:
            answer = self._post("/predict", {"features": one.row}, known.version)
            yield from _of_answer(answer, known.version)
            if answer.status_code == 200 and (wrong := complaint(one, _object(answer), known.tolerance)):
                yield wrong

    def _batch(self, known: KnownAnswers) -> Complaints:
        answer = self._post("/predict/batch", {"instances": [one.row for one in known.answers]}, known.version)
        yield from _of_answer(answer, known.version)
        if answer.status_code != 200:
            return
        given = _object(answer).get("predictions") or []
        if len(given) != len(known.answers):
            yield f"{len(known.answers)} rows were sent and {len(given)} answered"
        for one, other in zip(known.answers, given, strict=False):
            if wrong := complaint(one, other, known.tolerance):
                yield wrong

    def _bad_requests(self) -> Complaints:
        for name, body in _BAD_BODIES.items():
            yield from _of_refusal(name, self._post("/predict", body), 400)
        yield from _of_refusal("an empty batch", self._post("/predict/batch", {"instances": []}), 400)
        yield from _of_refusal("a GET", self._session.get(f"{self._url}/predict", timeout=_TIMEOUT_S), 405)

    def _unknown_version(self) -> Complaints:
        row = self._known[0].answers[0].row if self._known else ()
        yield from _of_refusal("it", self._post("/predict", {"features": row}, "no_such_version"), 404)

    def _forged_id(self) -> Complaints:
        if not self._known:
            return
        first = self._known[0]
        real = str(_object(self._post("/predict", {"features": first.answers[0].row}, first.version))["prediction_id"])
        # In the time, in the middle and in the tag: wherever an id is changed, its signature must fail.
        for position in (0, len(real) // 2, -2):
            letters = list(real)
            letters[position] = "A" if letters[position] != "A" else "B"
            body = {"prediction_id": "".join(letters), "actual": first.answers[0].prediction}
            yield from _of_refusal(f"character {position} changed", self._post("/feedback", body), 404)

    def _metrics(self) -> Complaints:
        answer = self._session.get(f"{self._url}/metrics", timeout=_TIMEOUT_S)
        if answer.status_code != 200:
            # Perhaps the public listener, whose answer says where they are.
            yield f"{answer.status_code}: {answer.text[:300].strip()}"
            return
        names = {family.name for family in text_string_to_metric_families(answer.text)}
        for name in ("prediction_requests", "prediction_latency_seconds", "model_info"):
            if name not in names and f"{name}_total" not in names:
                yield f"{name} is missing"

    def _openapi(self) -> Complaints:
        body = _object(self._session.get(f"{self._url}/openapi.json", timeout=_TIMEOUT_S))
        if "/predict" not in body.get("paths", {}):
            yield "it does not describe /predict"

    def _post(self, path: str, body: object, version: str | None = None) -> requests.Response:
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        headers = {**self._tokens.header(scope_of(path)), **({"X-Model-Version": version} if version else {})}
        return self._session.post(f"{self._url}{path}", data=data, headers=headers, timeout=_TIMEOUT_S)


def _checked(name: str, check: Callable[[], Complaints]) -> SmokeCheck:
    found: list[str] = []
    try:
        found.extend(check())
    except (requests.RequestException, ValueError, KeyError, TypeError, AttributeError) as error:
        # An answer of another shape than the contract's is a finding and not a fault of this program.
        found.append(f"{type(error).__name__}: {error}")
    return SmokeCheck(name, tuple(found))


def _object(answer: requests.Response) -> dict[str, Any]:
    body = answer.json()
    if not isinstance(body, dict):
        raise TypeError(f"{answer.url} answered no object: {answer.text[:80]}")
    return body


def _of_answer(answer: requests.Response, version: str) -> Complaints:
    if answer.status_code != 200:
        yield f"{answer.status_code} {answer.text[:200]}"
        return
    body = _object(answer)
    if body.get("model_version") != version:
        yield f"{body.get('model_version')!r} answered instead of {version!r} ({body.get('assignment')})"


def _of_refusal(name: str, answer: requests.Response, status: int) -> Complaints:
    if answer.status_code != status:
        yield f"{name}: {answer.status_code} instead of {status}: {answer.text[:120]}"
        return
    error = _object(answer).get("error")
    if not isinstance(error, dict) or not error.get("code") or not error.get("message"):
        yield f"{name}: not the shape of an error: {answer.text[:120]}"
