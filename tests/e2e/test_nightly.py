"""Nightly builds in a row beside a running experiment, by the Jenkinsfile under the runner and with real commands.

Only Docker is left out: what Compose would run in a container of the api runs in the workspace.
"""

import csv
import json
import os
import random
import subprocess
import sys

import pytest
import requests

from tests.e2e.api_process import ROOT
from tests.infra.jenkins_runs import WITHOUT_GROOVY

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(bool(WITHOUT_GROOVY), reason=WITHOUT_GROOVY)]
ADMIN = {"Authorization": "Bearer secret"}
DOCKER = """#!/usr/bin/env bash
case "$1 ${2:-}" in
  "info "* | "ps "* | "compose version") exit 0 ;;
esac
while [ "$1" != api ]; do shift; done
shift 2
exec "$PYTHON" "$@"
"""
# With 10 it held as well; each night takes some ten seconds of a processor. With 3 one candidate follows another.
NIGHTS = 3
TRAIN = "--target species --variant logistic_regression"


@pytest.fixture
def api(start):
    return start(ADMIN_TOKEN="secret", AUTO_DECIDE="off")


@pytest.fixture
def night(api, installation, tmp_path):
    """Runs the nightly build on a training file with another row each time; returns its log and what was archived."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "docker").write_text(DOCKER)
    (tmp_path / "bin" / "docker").chmod(0o755)
    data = tmp_path / "training.csv"
    rows = [("a", "b", "c", "d", "species")]
    chance = random.Random(1)
    credentials = tmp_path / "credentials.json"
    credentials.write_text(
        json.dumps({"bakeoff-deploy-key": {"kind": "ssh", "user": "root", "path": str(credentials)}})
    )
    environment = {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "PYTHON": sys.executable,
        "STEER_API": api.url,
        "ADMIN_TOKEN": "secret",
        "MODEL_DIR": str(installation / "models"),
        "DATA_DIR": str(installation / "data"),
        "BAKEOFF_DEPLOY_HOST": "local",
    }

    def add(count):
        for _ in range(count):
            kind = chance.choice(("setosa", "versicolor", "virginica"))
            middle = {"setosa": 1, "versicolor": 4, "virginica": 6}[kind]
            rows.append((*(round(chance.gauss(middle, 0.3), 2) for _ in range(4)), kind))
        with data.open("w", newline="") as file:
            csv.writer(file).writerows(rows)

    def run(number, *options, new_rows=3, dataset=str(data)):
        add(60 if number == 1 else new_rows)
        cause = [] if options else ["--cause", "timer"]
        words = ["--number", str(number), "--only", "Nightly", *cause, "--with-changes", *options]
        words += ["--workspace", str(tmp_path / "workspace"), "--archive", str(tmp_path / "archive")]
        words += ["--credentials", str(credentials)]
        named = {"BAKEOFF_NIGHTLY_DATASET": dataset, "BAKEOFF_NIGHTLY_TRAIN_ARGUMENTS": TRAIN} if dataset else {}
        ended = subprocess.run(
            [str(ROOT / ".ci/jenkins/run"), *words],
            env={**environment, **named},
            capture_output=True,
            text=True,
            timeout=300,
            stdin=subprocess.DEVNULL,
        )
        assert ended.returncode == 0, ended.stdout[-5000:] + ended.stderr[-3000:]
        return ended.stdout, json.loads((tmp_path / "archive/reports/retrained.json").read_text())

    return run


@pytest.fixture
def states(installation):
    """The versions by state: what is served, waits, is retired."""

    def read():
        environment = {
            **os.environ,
            "MODEL_DIR": str(installation / "models"),
            "DATA_DIR": str(installation / "data"),
        }
        command = [sys.executable, "-m", "app", "models", "--json"]
        listed = json.loads(subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True).stdout)
        found = {"served": [], "waits": [], "retired": []}
        for each in listed["versions"]:
            state = "waits" if each["candidate"] else "retired" if each["retired"] else "served"
            found[state].append(each["version"])
        return found

    return read


NOW = ("--param", "TASK=retrain", "--param", "LET_IN=true")


def test_the_experiment_goes_on_through_the_nights_and_at_most_one_candidate_waits(api, night, states):
    before = api.get("/config").json()
    said, done = night(1, dataset=None)
    assert "Left out: training, because no data set is named" in said
    assert set(done) == {"left_out"}
    for number in range(2, NIGHTS + 1):
        said, done = night(number)
        assert f"{done['candidate']} waits: experiment {before['experiment_id']} is running" in said
    last, following = f"v{NIGHTS + 1}", f"v{NIGHTS + 2}"
    older = [f"v{number}" for number in range(3, NIGHTS + 1)]
    assert states() == {"served": ["v1", "v2"], "waits": [last], "retired": older}
    # A reload and a night without new data change nothing.
    requests.post(f"{api.url}/models/reload", headers=ADMIN, timeout=60).raise_for_status()
    _, done = night(NIGHTS + 1, new_rows=0)
    assert (done["unchanged"], done["candidate"]) == (last, last)
    after = api.get("/config").json()
    assert (after["experiment_id"], after["epoch"], after["weights"]) == (
        before["experiment_id"],
        before["epoch"],
        before["weights"],
    )

    # Once somebody has decided, the next night lets the candidate in.
    decision = {"action": "promote", "version": "v2"}
    requests.post(f"{api.url}/experiment/decision", json=decision, headers=ADMIN, timeout=60).raise_for_status()
    said, done = night(NIGHTS + 2, new_rows=0)
    assert f"{last} was let in" in said
    assert done["configuration"]["weights"][last] == pytest.approx(0.1)
    assert done["configuration"]["baseline"] == "v2"
    assert states()["waits"] == []
    # It has an experiment of its own now, which goes on in turn, unless a parameter lets the next one in.
    said, done = night(NIGHTS + 3)
    assert done["waits_for"].startswith(f"experiment {api.get('/config').json()['experiment_id']} is running")
    _, done = night(NIGHTS + 4, *NOW, new_rows=0)
    assert done["configuration"]["weights"][following] == pytest.approx(0.1)
