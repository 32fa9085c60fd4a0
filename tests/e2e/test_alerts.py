"""The way of an alert from its cause to a person: product, Prometheus, Alertmanager and a receiver, all real."""

import os
import subprocess
import sys
import time

import pytest

from tests.e2e import watching
from tests.e2e.api_process import ROOT

pytestmark = pytest.mark.e2e


@pytest.fixture
def receiver(start, watch, tmp_path):
    """A receiver of the alerts of a running service, and its api."""
    if watching.tool("prometheus") is None or watching.tool("alertmanager") is None:
        pytest.skip(
            "NOT CHECKED: no Prometheus, or no Alertmanager of 0.26 or later with its templates "
            "(apt-get install prometheus-alertmanager, then .ci/images tools)"
        )
    api = start(ADMIN_TOKEN="secret")
    watch()
    with watching.Receiver() as receiver, watching.alertmanager(tmp_path, receiver.url) as notifier:
        port = int(notifier.url.rsplit(":", 1)[1])
        with watching.prometheus(tmp_path, api.port, alertmanager=port):
            yield receiver, api


def test_drift_alerts_and_resolves_and_then_a_missing_api_alerts(receiver):
    arrived, api = receiver
    command = [sys.executable, "-m", "app", "simulate", "--requests", "800", "--drift", "petal_length:+1sd"]
    env = {**os.environ, "API_URL": api.url}
    subprocess.run([*command, "--after", "400"], cwd=ROOT, env=env, check=True, capture_output=True, timeout=120)
    arrived.wait_for("firing", "DriftAlarm", time.monotonic())
    acknowledged = time.monotonic()
    answer = api.post("/drift/acknowledge", {"note": "seen"}, headers={"Authorization": "Bearer secret"})
    assert answer.status_code == 200
    arrived.wait_for("resolved", "DriftAlarm", acknowledged)
    stopped = time.monotonic()
    api.stop()
    arrived.wait_for("firing", "ApiDown", stopped)
    assert {name for at, status, name in arrived.arrived if status == "firing"} == {"DriftAlarm", "ApiDown"}
