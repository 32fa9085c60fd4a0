"""Administrative calls to the api, from within its own container, where the token is. Read from standard input there.

`steer.py split v1=50 v2=50` changes the split; `steer.py begin SHARE v3` takes v3 in and gives it that share.
Prints as JSON what is in force then. Exit status 1 with the service's words where it refuses.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request

API = "http://127.0.0.1:5000"


def call(method: str, path: str, body: object = None) -> dict:
    """The JSON answer of an administrative call."""
    token = os.environ.get("ADMIN_TOKEN") or sys.exit("ADMIN_TOKEN is not set there: set it in .env, and deploy again")
    headers = {"Authorization": f"Bearer {token}", "X-Actor": "pipeline"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(API + path, data, headers, method=method)  # noqa: S310 - our own address
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310 - our own address
            return json.load(answer)
    except urllib.error.HTTPError as error:
        sys.exit(f"{method} {path} was refused: {error.read().decode(errors='replace')[:500]}")


def split(*shares: str) -> dict:
    """The configuration after the split was set; each share is VERSION=NUMBER."""
    weights = {version: float(number) for version, _, number in (share.partition("=") for share in shares)}
    return call("PATCH", "/config", {"weights": weights, "note": "set by the pipeline"})


def begin(share: str, *trained: str) -> dict:
    """The configuration after the versions were taken in; the baseline gets what they do not."""
    call("POST", "/models/reload", {})
    before = call("GET", "/config")
    if not float(share):
        return before
    weights = {before["baseline"]: 1 - float(share)} | {version: float(share) / len(trained) for version in trained}
    return call("PATCH", "/config", {"weights": weights, "note": f"retrained: {', '.join(trained)}"})


def main(action: str, *arguments: str) -> None:
    """Do it, and print what is in force."""
    after = {"split": split, "begin": begin}[action](*arguments)
    shown = {key: after[key] for key in ("experiment_id", "epoch", "baseline", "weights")}
    sys.stdout.write(json.dumps(shown) + "\n")


main(*sys.argv[1:])
