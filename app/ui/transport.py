"""HTTP to the API: where it is, time-outs on every call, retries for reads only, and failures as typed errors.

The only module of `app.ui` that reads the environment.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry


class NoResult(Exception):
    """A call gave no result; `message` is one sentence for people."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ApiDown(NoResult):
    """The API cannot be reached, or did not answer in time."""


class NotThere(NoResult):
    """The API answers but does not have this resource."""


class NotNow(NoResult):
    """The API cannot serve this resource at the moment."""


class CallRefused(NoResult):
    """The API rejected the call (4xx). `code` is stable; `field` and `index` (of a row) name what is wrong."""

    def __init__(
        self, status: int, code: str, message: str, field: str | None = None, index: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.field = field
        self.index = index


class NotUnderstood(NoResult):
    """The API answered with something outside its contract."""


class ApiConnection(msgspec.Struct, frozen=True):
    """The API's address without a trailing slash, and the tokens that are needed: `token` is API_TOKEN, which goes with
    the calls of a scope that has no token of its own.

    `public_url` is the address for people outside, if it differs.
    """

    url: str
    token: str | None = None
    public_url: str | None = None
    predict_token: str | None = None
    feedback_token: str | None = None
    read_token: str | None = None

    def token_for(self, path: str) -> str | None:
        """The token for a call that is no administrative one."""
        bare = path.partition("?")[0]
        own = {"/predict": self.predict_token, "/predict/batch": self.predict_token, "/feedback": self.feedback_token}
        return own.get(bare, self.read_token) or self.token

    @property
    def predicting_with(self) -> str | None:
        """The variable with the token that predicting takes; None where it takes none."""
        if self.predict_token:
            return "PREDICT_TOKEN"
        return "API_TOKEN" if self.token else None

    def __repr__(self) -> str:
        """Without the token: this may end up in a log."""
        return f"ApiConnection(url={self.url!r})"


def connection(environ: Mapping[str, str] | None = None) -> ApiConnection:
    """The connection from API_URL (default: API_PORT on this host), PUBLIC_API_URL and the tokens of the environment.

    Without PUBLIC_API_URL, PUBLIC_API_PORT is where Compose publishes the API on this host.

    A token of a scope (PREDICT_TOKEN, READ_TOKEN, FEEDBACK_TOKEN) goes before API_TOKEN; `…_FILE` names a file of it.
    """
    env = os.environ if environ is None else environ
    port = env.get("API_PORT", "").strip() or "5000"
    url = env.get("API_URL", "").strip() or f"http://127.0.0.1:{port}"
    published = env.get("PUBLIC_API_PORT", "").strip()
    public_url = env.get("PUBLIC_API_URL", "").strip().rstrip("/") or (published and f"http://127.0.0.1:{published}")
    predict, feedback, read = (_token(env, f"{scope}_TOKEN") for scope in ("PREDICT", "FEEDBACK", "READ"))
    return ApiConnection(url.rstrip("/"), _token(env, "API_TOKEN"), public_url or None, predict, feedback, read)


def _token(env: Mapping[str, str], variable: str) -> str | None:
    """The token, or what its file holds; a file that cannot be read is none: the API then says what it needs."""
    given, path = env.get(variable, "").strip(), env.get(f"{variable}_FILE", "").strip()
    if not given and path:
        with contextlib.suppress(OSError, UnicodeError):
            given = Path(path).read_text(encoding="utf-8").strip()
    return given or None


READ_TIMEOUT_S = (2.0, 5.0)
WRITE_TIMEOUT_S = (2.0, 60.0)
# A read can be repeated without harm. An outcome or a decision cannot: the first try may have succeeded.
_RETRY = Retry(
    total=2,
    read=0,  # no answer within the time-out: a second try would only keep the visitor waiting
    backoff_factor=0.05,
    allowed_methods={"GET"},
    status_forcelist=(502, 504),
    raise_on_status=False,
    respect_retry_after_header=False,
)


class Reply(msgspec.Struct, frozen=True):
    """A response's status and body."""

    status: int
    body: bytes


class Transport:
    """One API with one token. Thread-safe."""

    def __init__(self, connection: ApiConnection) -> None:
        self.url = connection.url
        self._token_for = connection.token_for
        self._reads = _session(_RETRY)
        self._writes = _session(Retry(0, read=False))

    def read(self, path: str, query: Mapping[str, object] | None = None, accept: str | None = None) -> Reply:
        """The reply to a GET, tried up to three times. Raises `ApiDown`."""
        headers = {"Accept": accept} if accept else None
        return self._ask(self._reads, "GET", path, READ_TIMEOUT_S, self._token_for(path), headers, params=query)

    def write(
        self,
        method: str,
        path: str,
        body: object,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """The reply to a call that may change something, tried once. Raises `ApiDown`."""
        data = msgspec.json.encode(body)
        return self._ask(
            self._writes, method, path, WRITE_TIMEOUT_S, token or self._token_for(path), data=data, headers=headers
        )

    def send_csv(self, path: str, content: bytes) -> Reply:
        """The reply to a POST of CSV, tried once. Raises `ApiDown`."""
        headers = {"Content-Type": "text/csv"}
        return self._ask(
            self._writes, "POST", path, WRITE_TIMEOUT_S, self._token_for(path), data=content, headers=headers
        )

    def _ask(
        self,
        session: requests.Session,
        method: str,
        path: str,
        timeout_s: tuple[float, float],
        token: str | None,
        headers: Mapping[str, str] | None = None,
        **content: Any,
    ) -> Reply:
        sent = {"Content-Type": "application/json", **(headers or {})}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        try:
            answer = session.request(method, self.url + path, timeout=timeout_s, headers=sent, **content)
        except requests.Timeout as error:
            raise ApiDown(f"the API at {self.url} did not answer in time") from error
        except requests.RequestException as error:
            raise ApiDown(f"no connection to {self.url}") from error
        return Reply(answer.status_code, answer.content)


def _session(retry: Retry) -> requests.Session:
    session = requests.Session()
    # Otherwise ~/.netrc would replace the token, and a web proxy would see calls that stay in this network.
    session.trust_env = False
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session


def failure_of(reply: Reply, path: str) -> NoResult:
    """The typed error for a reply that is not a success."""
    detail = _detail(reply.body)
    code, message = str(detail.get("code", "")), str(detail.get("message", "")) or f"status {reply.status}"
    if reply.status in (404, 405) and code in ("", "not_found", "method_not_allowed"):
        return NotThere(f"this server has no {path}")
    if reply.status >= 500:
        return NotNow(message)
    return CallRefused(reply.status, code, message, detail.get("field"), detail.get("index"))


def decoded(reply: Reply, path: str, kind: type[Any]) -> Any:
    """The body as a record of `kind`. Raises `NotUnderstood`."""
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotUnderstood(f"the answer to {path} does not fit the contract: {error}") from error


def _detail(body: bytes) -> dict[str, Any]:
    try:
        error = msgspec.json.decode(body)["error"]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        return {}
    return error if isinstance(error, dict) else {"message": error}
