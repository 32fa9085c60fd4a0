"""Ways to repeat a prediction: a link that restores the inputs (one query parameter per feature), curl and Python."""

from __future__ import annotations

import json
import math
import pprint
import shlex
from collections.abc import Mapping
from urllib.parse import urlencode

from app.tables.model_columns import ModelColumn
from app.ui.client import asking
from app.ui.records import ApiContract, Cell

NO_VALUE = "null"


def parameters(values: Mapping[str, Cell]) -> dict[str, str]:
    """The values as query parameters."""
    return {name: NO_VALUE if value is None else _text(value) for name, value in values.items()}


def link(page_url: str, values: Mapping[str, Cell]) -> str:
    """The page's address with the values."""
    return f"{page_url.split('?')[0]}?{urlencode(parameters(values))}"


def values_in(contract: ApiContract, query: Mapping[str, str]) -> dict[str, Cell]:
    """The values in a query string; those that do not fit the contract are ignored."""
    found: dict[str, Cell] = {}
    for feature in contract.features:
        text = query.get(feature.name)
        if text is not None and (text != NO_VALUE or feature.nullable):
            value = _value(feature, text)
            if value is not None or text == NO_VALUE:
                found[feature.name] = value
    return found


def _value(feature: ModelColumn, text: str) -> Cell:
    if text == NO_VALUE:
        return None
    if feature.kind == "categorical":
        return text if text in feature.categories or feature.open_categories else None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else repr(value)


def as_curl(
    url: str,
    features: Mapping[str, Cell],
    version: str | None = None,
    user_id: str | None = None,
    token: str | None = None,
    *,
    counts: bool = True,
) -> str:
    """A curl command. `token` is the environment variable that holds the token where one is needed: its name alone."""
    lines = [f"API_URL={shlex.quote(url)}", 'curl -sS "$API_URL/predict"', "-H 'Content-Type: application/json'"]
    if token:
        lines.append(f'-H "Authorization: Bearer ${token}"')
    body, headers = asking(dict(features), version, user_id, counts=counts)
    lines += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in headers.items()]
    lines.append(f"-d {shlex.quote(json.dumps(body, ensure_ascii=False))}")
    return lines[0] + "\n" + " \\\n  ".join(lines[1:])


def as_python(
    url: str,
    features: Mapping[str, Cell],
    version: str | None = None,
    user_id: str | None = None,
    token: str | None = None,
    *,
    counts: bool = True,
) -> str:
    """A Python script that needs `requests` and prints the answer; `token` as for curl."""
    asked, options = asking(dict(features), version, user_id, counts=counts)
    # As bytes where requests would not encode it as UTF-8.
    headers = [f"    {name!r}: {(value if value.isascii() else value.encode())!r}," for name, value in options.items()]
    if token:
        headers.append(f"    'Authorization': f\"Bearer {{os.environ['{token}']}}\",")
    body = pprint.pformat(asked, sort_dicts=False, width=100)
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
