"""A prediction as code that gives it again: for a shell and for Python."""

from __future__ import annotations

import json
import pprint
import shlex
from collections.abc import Mapping

from app.ui.client import forcing
from app.ui.records import Cell


def as_curl(
    url: str, features: Mapping[str, Cell], version: str | None = None, user_id: str | None = None, token: bool = False
) -> str:
    """Lines for a shell. A token is named by its variable, API_TOKEN, and never shown."""
    lines = [f"API_URL={shlex.quote(url)}", 'curl -sS "$API_URL/predict"', "-H 'Content-Type: application/json'"]
    if token:
        lines.append('-H "Authorization: Bearer $API_TOKEN"')
    lines += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in forcing(version).items()]
    lines.append(f"-d {shlex.quote(json.dumps(_body(features, user_id), ensure_ascii=False))}")
    return lines[0] + "\n" + " \\\n  ".join(lines[1:])


def as_python(
    url: str, features: Mapping[str, Cell], version: str | None = None, user_id: str | None = None, token: bool = False
) -> str:
    """A script that needs the package `requests` and prints the answer."""
    headers = [f"    {name!r}: {value!r}," for name, value in forcing(version).items()]
    if token:
        headers.append("    'Authorization': f\"Bearer {os.environ['API_TOKEN']}\",")
    body = pprint.pformat(_body(features, user_id), sort_dicts=False, width=100)
    return "\n".join(
        [
            *(["import os", ""] if token else []),
            "import requests",
            "",
            f"api_url = {url!r}",
            f"body = {body}",
            *(["headers = {", *headers, "}"] if headers else ["headers = {}"]),
            'answer = requests.post(f"{api_url}/predict", json=body, headers=headers, timeout=10)',
            "answer.raise_for_status()",
            "print(answer.text)",
        ]
    )


def _body(features: Mapping[str, Cell], user_id: str | None) -> dict[str, object]:
    return {"features": dict(features), **({"user_id": user_id} if user_id else {})}
