"""Why the api gave no result, as types that a page can put into words.

Where the dashboard finds the api: the only module of `app.ui` that reads the environment.

HTTP to the api: time-outs always, another try for reads only, and every failure as one of `app.ui.transport`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import msgspec
import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry


class NoResult(Exception):
    """The api gave no result; `message` says why in a sentence for people."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ApiDown(NoResult):
    """Nothing answers at the api's address, or not in time."""


class NotThere(NoResult):
    """The api answers and does not have this part (yet)."""


class NotNow(NoResult):
    """The api has the part and cannot serve it at the moment."""


class CallRefused(NoResult):
    """The api refused the call. `code` is stable; `field` and `index` (of a row) say what is at fault."""

    def __init__(
        self, status: int, code: str, message: str, field: str | None = None, index: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.field = field
        self.index = index


class NotUnderstood(NoResult):
    """The api answered something that is not in its contract."""


class ApiConnection(msgspec.Struct, frozen=True):
    """The api's address without a slash at the end, and the token for reading where one is needed.

    `public_url` is the address by which people reach it, where that is another.
    """

    url: str
    token: str | None = None
    public_url: str | None = None

    def __repr__(self) -> str:
        """Without the token: this may end up in a log."""
        return f"Connection(url={self.url!r})"


def connection(environ: Mapping[str, str] | None = None) -> ApiConnection:
    """What API_URL (default: this host's API_PORT), API_TOKEN and PUBLIC_API_URL say."""
    env = os.environ if environ is None else environ
    port = env.get("API_PORT", "").strip() or "5000"
    url = env.get("API_URL", "").strip() or f"http://127.0.0.1:{port}"
    public_url = env.get("PUBLIC_API_URL", "").strip().rstrip("/")
    return ApiConnection(url.rstrip("/"), env.get("API_TOKEN", "").strip() or None, public_url or None)


READ_TIMEOUT_S = (2.0, 5.0)
WRITE_TIMEOUT_S = (2.0, 60.0)
# A read may be asked twice without harm. An outcome or a decision may not: the first try may have been carried out.
_RETRY = Retry(
    total=2,
    read=0,  # no answer within the time-out: asking again would only keep the visitor waiting
    backoff_factor=0.05,
    allowed_methods={"GET"},
    status_forcelist=(502, 504),
    raise_on_status=False,
    respect_retry_after_header=False,
)


class Reply(msgspec.Struct, frozen=True):
    """An answer's status and its body."""

    status: int
    body: bytes


class Transport:
    """One api with one token. Safe to be used by several threads."""

    def __init__(self, connection: ApiConnection) -> None:
        self.url = connection.url
        self._token = connection.token
        self._reads = _session(_RETRY)
        self._writes = _session(Retry(0, read=False))

    def read(self, path: str, query: Mapping[str, object] | None = None) -> Reply:
        """The reply to a GET, tried up to three times. Raises `ApiDown`."""
        return self._ask(self._reads, "GET", path, READ_TIMEOUT_S, self._token, params=query)

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
        return self._ask(self._writes, method, path, WRITE_TIMEOUT_S, token or self._token, data=data, headers=headers)

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
            raise ApiDown(f"the api at {self.url} did not answer in time") from error
        except requests.RequestException as error:
            raise ApiDown(f"nothing answers at {self.url}") from error
        return Reply(answer.status_code, answer.content)


def _session(retry: Retry) -> requests.Session:
    session = requests.Session()
    # Or ~/.netrc would replace the token, and a proxy meant for the web would get what stays in this network.
    session.trust_env = False
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session


def failure_of(reply: Reply, path: str) -> NoResult:
    """What a reply that is not a success means."""
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
        raise NotUnderstood(f"the answer to {path} is not what its contract says: {error}") from error


def _detail(body: bytes) -> dict[str, Any]:
    try:
        error = msgspec.json.decode(body)["error"]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        return {}
    return error if isinstance(error, dict) else {"message": error}
