"""Drift over HTTP: the simulator changes the traffic, everyone is notified, and a model's users see nothing of it."""

import os
import subprocess
import sys

import numpy as np
import pytest

from app.clock import now_us
from app.domain.timestamps import iso_utc
from tests.e2e.api_process import ROOT
from tests.waiting import eventually

pytestmark = pytest.mark.e2e
ADMIN = {"Authorization": "Bearer secret"}


def simulate(api, *options):
    """Play real rows against the api; it must take all of them."""
    env = {**os.environ, "API_URL": api.url}
    command = [sys.executable, "-m", "app", "simulate", "--label-rate", "0.2", *options]
    subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, timeout=120)


def drift(api, version=None):
    return api.get("/drift", params={"version": version} if version else {}).json()


def metric(api, name):
    """The one series of a metric, None where it has none."""
    found = [line for line in api.get("/metrics").text.splitlines() if line.split(" ")[0] == name]
    return float(found[0].split()[-1]) if found else None


def advice(api):
    return api.get("/experiment").json()["recommendation"]


def seen(api, requests):
    return lambda: drift(api)["requests"] == requests


def test_a_simulated_shift_is_found_reported_and_acknowledged(start, watch):
    api = start(ADMIN_TOKEN="secret")
    assert drift(api)["score"] is None
    assert metric(api, "model_drift_score") is None
    monitor = watch()
    simulate(api, "--requests", "1000", "--drift", "petal_length:+1sd", "--after", "400")
    eventually(seen(api, 1000))
    report = drift(api)
    assert (report["version"], report["alarm"], report["evidence"]) == ("v1", True, 1.0)
    assert 350 <= report["since_requests"] <= 450
    assert report["score"] > 0.1
    eventually(lambda: metric(api, "model_drift_alarm") == 1.0, timeout_s=5)
    assert metric(api, "model_drift_score") == report["score"]
    assert metric(api, 'model_feature_drift_score{feature="petal_length"}') > 0.1
    eventually(lambda: advice(api)["action"] == "investigate")
    assert "provably differs from the reference data of v1" in advice(api)["reason"]
    monitor.kill()
    answer = api.post("/drift/acknowledge", {"note": "seen"}, headers={**ADMIN, "X-Actor": "ann"})
    assert (answer.status_code, answer.json()["alarm"]) == (200, False)
    watch()
    eventually(lambda: advice(api)["action"] != "investigate")
    assert drift(api) == answer.json()
    [entry] = api.get("/audit").json()["entries"]
    assert (entry["action"], entry["actor"], entry["note"]) == ("acknowledge_drift", "ann", "seen")


def test_unchanged_traffic_raises_nothing_and_a_lost_correlation_does(start, watch):
    api = start()
    watch()
    simulate(api, "--requests", "800", "--seed", "3")
    eventually(seen(api, 800))
    clean = drift(api)
    assert (clean["alarm"], clean["score"], advice(api)["action"]) == (False, 0.0, "continue")
    simulate(api, "--requests", "400", "--seed", "4", "--drift", "decouple:petal_width")
    eventually(seen(api, 1200))
    report = drift(api)
    assert report["alarm"]
    assert max(part["evidence"] for part in report["joint"]) == 1.0


@pytest.mark.parametrize("workers", ["1", "2", "4"])
def test_what_is_sent_is_taken_in_once_but_for_forced_and_synthetic_requests_and_probes(start, watch, workers):
    api = start(WEB_CONCURRENCY=workers)
    watch()
    rows = np.random.default_rng(1).uniform(0, 9, (30, 4)).round(2).tolist()
    for row in rows:
        api.post("/predict", {"features": row}, headers={"X-Model-Version": "v2"}).raise_for_status()
        api.post("/predict", {"features": row}, headers={"X-Traffic-Kind": "synthetic"}).raise_for_status()
        api.get("/health").raise_for_status()
    simulate(api, "--requests", "203")
    eventually(seen(api, 203))
    assert drift(api, "v2")["requests"] == 203


def test_a_killed_monitor_and_a_rebuild_give_the_same_drift(start, watch, installation):
    api, monitor = start(), watch()
    for turn in range(3):
        monitor.kill()
        monitor = watch()
        simulate(api, "--requests", "150", "--seed", str(turn), "--drift", "sepal_width:x1.5")
    eventually(seen(api, 450))
    before = drift(api)
    assert monitor.stop() == 0
    env = {**os.environ, "MODEL_DIR": str(installation / "models"), "DATA_DIR": str(installation / "data")}
    command = [sys.executable, "-m", "app", "monitor", "--rebuild"]
    rebuilt = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert "state of drift: equal to the last bit" in rebuilt.stdout
    assert drift(api) == before


def test_a_newer_reference_begins_drift_anew_in_a_running_service_and_in_a_replay(start, watch, installation):
    api, monitor = start(), watch()
    simulate(api, "--requests", "150", "--seed", "1", "--drift", "sepal_width:+3sd")
    eventually(lambda: drift(api)["alarm"])
    before = api.get("/models/v1").json()
    env = {**os.environ, "MODEL_DIR": str(installation / "models"), "DATA_DIR": str(installation / "data")}
    bakeoff = [sys.executable, "-m", "app"]
    subprocess.run([*bakeoff, "publish", "--refresh-reference", "v1"], cwd=ROOT, env=env, check=True)
    assert "v1 has reference 1 now" in drift(api)["notes"][0]
    after = api.get("/models/v1").json()
    eventually(lambda: iso_utc(now_us()) > after["reference"]["since"])
    simulate(api, "--requests", "50", "--seed", "2")
    eventually(seen(api, 50))
    report = drift(api)
    assert (report["alarm"], report["alarms"], report["reference_rows"]) == (False, 0, 150)
    assert report["reference_since"] == after["reference"]["since"]
    assert {**after, "reference": None} == {**before, "reference": None}
    assert drift(api, "v2")["alarm"]
    monitor.kill()
    monitor = watch()
    simulate(api, "--requests", "30", "--seed", "3")
    eventually(seen(api, 80))
    assert (monitor.stop(), drift(api)["reference_number"]) == (0, 1)
    rebuilt = subprocess.run([*bakeoff, "monitor", "--rebuild"], cwd=ROOT, env=env, capture_output=True, text=True)
    assert "state of drift: equal to the last bit" in rebuilt.stdout
