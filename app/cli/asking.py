"""Ask the running api, for commands that show or change what it knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests

from app.errors import BakeoffError, Unavailable

_TIMEOUT_S = (3.0, 30.0)


class ApiRefused(BakeoffError):
    """The api answered with an error; the message is its own, with what to do where that is known."""

    code = "refused"


def ask(
    url: str,
    path: str,
    token: str | None = None,
    body: Mapping[str, Any] | None = None,
    headers: Mapping[str, bytes] | None = None,
) -> Any:
    """What the api at `url` answers to GET (with a body: POST) `path`, as plain data.

    Raises `Unavailable` where nothing answers, `ApiRefused` where it refuses.
    """
    address = url.rstrip("/") + path
    sent: dict[str, str | bytes] = dict(headers or {})
    if token:
        sent["Authorization"] = f"Bearer {token}"
    try:
        with requests.Session() as session:
            session.trust_env = False  # the api is ours: no proxy, and no .netrc instead of the token
            answer = session.request(
                "GET" if body is None else "POST", address, json=body, headers=sent, timeout=_TIMEOUT_S
            )
    except requests.RequestException as error:
        raise Unavailable(
            f"can't reach the API at {url} ({type(error).__name__}): start it with `bakeoff serve`, or set API_URL "
            "(--url) to where it is"
        ) from error
    return _content(answer, path)


def _content(answer: requests.Response, path: str) -> Any:
    try:
        content = answer.json()
    except ValueError:
        raise ApiRefused(f"{path} answered {answer.status_code} and no JSON: is this the api's address?") from None
    if answer.status_code == 200:
        return content
    try:
        message = str(content["error"]["message"])
    except (KeyError, TypeError):
        message = f"{path} answered {answer.status_code}"
    if answer.status_code in (401, 403):
        message += " (the commands take ADMIN_TOKEN and API_TOKEN from the environment: set them to the server's)"
    raise ApiRefused(message)
