"""Administrative calls to the api. Runs in the api's own container, which has the token, and is piped to `python -`.

`steer.py split v1=50 v2=50` changes the traffic split; `steer.py begin SHARE v3 alpha=0.01` loads v3 and gives it that
share, in an experiment with these terms. Both print the active configuration as JSON. `steer.py running` prints why the
running experiment has not ended, or nothing. Exit status 1 with the api's error message if a call fails.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

API = os.environ.get("STEER_API", "http://127.0.0.1:5000")
# What a person or the monitor decides: each ends the experiment, and the next begins with all traffic on one version.
DECISIONS = {"promote", "rollback", "keep"}


def admin_token() -> str:
    """The administrator's token: ADMIN_TOKEN, or what the file of ADMIN_TOKEN_FILE holds."""
    path = os.environ.get("ADMIN_TOKEN_FILE")
    if path:
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            sys.exit(f"ADMIN_TOKEN_FILE: {path} cannot be read in the api's container: {error.strerror}")
    return os.environ.get("ADMIN_TOKEN") or sys.exit("the api has no ADMIN_TOKEN: set it in .env and deploy again")


def call(method: str, path: str, body: object = None) -> dict:
    """The JSON response of an administrative call."""
    headers = {"Authorization": f"Bearer {admin_token()}", "X-Actor": "pipeline"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(API + path, data, headers, method=method)  # noqa: S310 - our own address
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310 - our own address
            return json.load(answer)
    except urllib.error.HTTPError as error:
        sys.exit(f"{method} {path} failed: {error.code} {error.read().decode(errors='replace')[:500]}")
    except urllib.error.URLError as error:
        sys.exit(f"{method} {path} failed: cannot reach the api: {error.reason}")


def split(*shares: str) -> dict:
    """Set the traffic split; each share is VERSION=NUMBER. Returns the new configuration."""
    weights = {version: float(number) for version, _, number in (share.partition("=") for share in shares)}
    return call("PATCH", "/config", {"weights": weights, "note": "set by the pipeline"})


def begin(share: str, *given: str) -> dict:
    """Load the versions and split the share among them; the baseline gets the rest. Returns the new configuration.

    What has an equals sign is a term of the experiment and its number; another experiment begins if one is new.
    """
    trained = [part for part in given if "=" not in part]
    terms = {name: float(number) for name, sign, number in (part.partition("=") for part in given) if sign}
    call("POST", "/models/reload", {})
    before = call("GET", "/config")
    changes: dict = {name: number for name, number in terms.items() if before[name] != number}
    if changes:
        changes["new_experiment"] = True
    if float(share):
        new = {version: float(share) / len(trained) for version in trained}
        changes["weights"] = {before["baseline"]: 1 - float(share)} | new
    return call("PATCH", "/config", {**changes, "note": f"retrained: {', '.join(trained)}"}) if changes else before


def running() -> str:
    """Why the running experiment has not ended; empty if it has, so that nothing is lost if another one begins.

    It has ended if nothing is compared, if every comparison is settled, or if it only began because the one before was
    decided, and no challenger has had traffic since. A winner that nobody has promoted yet is waiting for a decision.
    """
    now, report = call("GET", "/config"), call("GET", "/experiment")
    advice = report["recommendation"]
    if not report["comparisons"] or advice["action"] == "keep" or _was_decided(now):
        return ""
    return f"experiment {now['experiment_id']} is running ({advice['action']}: {advice['reason']})"


def _was_decided(now: dict) -> bool:
    """Whether the experiment began by a decision on the one before, and all traffic still goes to one version."""
    if sum(weight > 0 for weight in now["weights"].values()) > 1:
        return False
    newest = call("GET", "/experiments?limit=2")["experiments"]
    return len(newest) == 2 and newest[0]["id"] == now["experiment_id"] and newest[1]["ended_by"] in DECISIONS


def main(action: str, *arguments: str) -> None:
    """Carry out the action and print the active configuration."""
    if action == "running":
        sys.stdout.write(f"{running()}\n")
        return
    after = {"split": split, "begin": begin}[action](*arguments)
    shown = {key: after[key] for key in ("experiment_id", "epoch", "baseline", "weights")}
    sys.stdout.write(json.dumps(shown) + "\n")


main(*sys.argv[1:])
