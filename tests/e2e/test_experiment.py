"""Labels over real HTTP: what was acknowledged is counted exactly once, whatever dies in between."""

import os
import random
import signal

import numpy as np
import psutil
import pytest
import requests
from sklearn.datasets import load_iris

from app.stats import paired
from tests.e2e.api_process import ROW
from tests.waiting import consistently, eventually

pytestmark = pytest.mark.e2e
NAMES = ("setosa", "versicolor", "virginica")
LOW, HIGH = np.array([4.3, 2.0, 1.0, 0.1]), np.array([7.9, 4.4, 6.9, 2.5])


def labelled(api):
    return sum(variant["labelled"] for variant in api.get("/experiment").json()["variants"])


def play(api, count, rng):
    """`count` random rows with random labels, one by one; how many labels were acknowledged."""
    for row in rng.uniform(LOW, HIGH, (count, 4)).round(2).tolist():
        sent = api.post("/predict", {"features": row}).json()["prediction_id"]
        assert api.post("/feedback", {"prediction_id": sent, "actual": int(rng.integers(3))}).json() == {
            "accepted": 1,
            "duplicates": 0,
        }
    return count


def test_the_evidence_is_that_of_the_engine(start, watch):
    api = start()
    watch()
    rng = np.random.default_rng(7)
    rows = rng.uniform(LOW, HIGH, (400, 4)).round(2).tolist()
    labels = rng.integers(0, 3, 400).tolist()
    served = api.post("/predict/batch", {"instances": rows}).json()["predictions"]
    api.post(
        "/feedback",
        {"feedback": [{"prediction_id": s["prediction_id"], "actual": y} for s, y in zip(served, labels, strict=True)]},
    ).raise_for_status()
    right = {}
    for version in ("v1", "v2"):
        answers = api.post("/predict/batch", {"instances": rows}, headers={"X-Model-Version": version}).json()
        right[version] = [a["class_id"] == y for a, y in zip(answers["predictions"], labels, strict=True)]
    wins = sum(b and not a for a, b in zip(right["v1"], right["v2"], strict=True))
    losses = sum(a and not b for a, b in zip(right["v1"], right["v2"], strict=True))
    eventually(lambda: labelled(api) == 400)
    [comparison] = api.get("/experiment").json()["comparisons"]
    assert (comparison["n"], comparison["unjoined"]) == (400, 0)
    summary = paired.PairedSummary(wins=wins, losses=losses, ties=400 - wins - losses)
    assert comparison["log_e"] == pytest.approx(paired.log_e(summary), abs=1e-9)


def test_real_labels_give_the_accuracy_that_they_have(start, watch):
    api = start()
    watch()
    data = load_iris()
    served = api.post("/predict/batch", {"instances": data.data.tolist()}).json()
    items = [
        {"prediction_id": one["prediction_id"], "actual": NAMES[label]}
        for one, label in zip(served["predictions"], data.target.tolist(), strict=True)
    ]
    assert api.post("/feedback", {"feedback": items}).json() == {"accepted": 150, "duplicates": 0}
    random.Random(1).shuffle(items)
    assert api.post("/feedback", {"feedback": items[:50]}).json() == {"accepted": 0, "duplicates": 50}
    eventually(lambda: labelled(api) == 150)
    variants = {variant["version"]: variant for variant in api.get("/experiment").json()["variants"]}
    right = sum(one["prediction"] == NAMES[y] for one, y in zip(served["predictions"], data.target, strict=True))
    assert variants[served["model_version"]]["mean"] == pytest.approx(right / 150)


def test_forced_answers_are_kept_and_not_counted(start, watch):
    api = start()
    watch()
    sent = api.post("/predict", ROW, headers={"X-Model-Version": "v2"}).json()["prediction_id"]
    assert api.post("/feedback", {"prediction_id": sent, "actual": 0}).json()["accepted"] == 1
    play(api, 5, np.random.default_rng(1))
    eventually(lambda: labelled(api) == 5)
    assert sum(variant["requests"] for variant in api.get("/experiment").json()["variants"]) == 5


def test_an_outcome_belongs_to_the_version_that_answered_though_the_weights_changed(start, watch):
    api = start(ADMIN_TOKEN="secret", MODEL_V1_WEIGHT="1", MODEL_V2_WEIGHT="0")
    watch()
    sent = [api.post("/predict", ROW).json()["prediction_id"] for _ in range(20)]
    headers = {"Authorization": "Bearer secret"}
    patched = api.session.patch(api.url + "/config", json={"weights": {"v1": 0, "v2": 1}}, headers=headers, timeout=10)
    patched.raise_for_status()
    eventually(lambda: {api.post("/predict", ROW).json()["model_version"] for _ in range(8)} == {"v2"}, timeout_s=5)
    api.post("/feedback", {"feedback": [{"prediction_id": one, "actual": 0} for one in sent]}).raise_for_status()
    eventually(lambda: labelled(api) == 20)
    by_version = {v["version"]: v["labelled"] for v in api.get("/experiment").json()["variants"]}
    assert by_version == {"v1": 20, "v2": 0}


def test_kill_9_of_anything_counts_every_acknowledged_label_once(start, watch, installation):
    api, monitor = start(), watch()
    rng, acknowledged = np.random.default_rng(3), 0
    for turn in range(6):
        acknowledged += play(api, 40, rng)
        victim = ("worker", "monitor", "master")[turn % 3]
        if victim == "worker":
            api.replace_worker(signal.SIGKILL)
        elif victim == "monitor":
            monitor.kill()
            monitor = watch()
        else:
            api.kill()
            api = start()
    eventually(
        lambda: labelled(api) == acknowledged,
        explain=lambda: f"{labelled(api)} of {acknowledged} counted; {api.get('/health').json()}",
    )
    [comparison] = api.get("/experiment").json()["comparisons"]
    assert comparison["n"] + comparison["unjoined"] == acknowledged


def test_labels_sent_while_workers_die_are_counted_once(start, watch):
    """A label whose answer was lost is sent again: accepted or a duplicate, never twice."""
    api = start()
    watch()
    rng = np.random.default_rng(5)
    sent = [
        one["prediction_id"]
        for one in api.post("/predict/batch", {"instances": rng.uniform(LOW, HIGH, (600, 4)).tolist()}).json()[
            "predictions"
        ]
    ]
    for number, prediction_id in enumerate(sent):
        if number in (100, 300, 500):
            os.kill(min(worker.pid for worker in psutil.Process(api.process.pid).children()), signal.SIGKILL)
        body = {"prediction_id": prediction_id, "actual": 1}
        eventually(
            lambda body=body: requests.post(api.url + "/feedback", json=body, timeout=5).ok,
            ignoring=requests.RequestException,
        )
    eventually(lambda: labelled(api) == 600)


def test_rebuilding_from_the_log_gives_the_same_evidence(start, watch, installation):
    import json
    import subprocess
    import sys

    from tests.e2e.api_process import ROOT

    api, monitor = start(), watch()
    play(api, 120, np.random.default_rng(9))
    eventually(lambda: labelled(api) == 120)
    before = api.get("/experiment").json()["comparisons"]
    assert monitor.stop() == 0
    env = {**os.environ, "MODEL_DIR": str(installation / "models"), "DATA_DIR": str(installation / "data")}
    command = [sys.executable, "-m", "app", "monitor", "--rebuild", "--json"]
    rebuilt = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert json.loads(rebuilt.stdout)

    def is_as_before():
        [after] = api.get("/experiment").json()["comparisons"]
        return (after["log_e"], after["n"]) == (pytest.approx(before[0]["log_e"], abs=1e-12), before[0]["n"])

    consistently(is_as_before, for_s=1.2)  # longer than the api keeps what it has read
