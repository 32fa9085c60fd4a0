"""Every query of the Grafana dashboard against a real Prometheus, which scrapes the real parts under traffic."""

import json
import math
import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import datetime

import pytest

from app.store.stamps import stamp
from tests.e2e import watching
from tests.e2e.api_process import ROOT
from tests.waiting import eventually

pytestmark = pytest.mark.e2e
DASHBOARD = json.loads((ROOT / "docker" / "grafana" / "dashboards" / "bakeoff.json").read_text())
QUERIES = [
    (panel["title"], target["expr"].replace("$__rate_interval", "20s"))
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", [])
]
# Panels that need a program which may be missing here; a panel that is legitimately empty there is none.
OF_THE_EDGE = {"Edge proxy"}


@pytest.fixture
def stack(start, watch, installation, tmp_path):
    """An api, a monitor, Alertmanager, the edge where there is HAProxy, and the Prometheus that watches them."""
    if watching.tool("prometheus") is None or watching.tool("alertmanager") is None:
        pytest.skip(
            "NOT CHECKED: no Prometheus, or no Alertmanager of 0.26 or later with its templates "
            "(apt-get install prometheus-alertmanager, then .ci/images tools)"
        )
    api = start()
    for what in ("backup", "archive", "restore_drill"):
        stamp(installation / "data", what)
    watch()
    with ExitStack() as parts:
        ports = {"alertmanager": int(parts.enter_context(watching.alertmanager(tmp_path)).url.rsplit(":", 1)[1])}
        front = None
        if shutil.which("haproxy"):
            front, ports["edge"] = parts.enter_context(watching.edge(tmp_path, api.port))
        yield (front or api).url, parts.enter_context(watching.prometheus(tmp_path, api.port, **ports))


def traffic(url, seed):
    """Some seconds of labelled requests, one of them a mistake."""
    options = ["--requests", "300", "--rate", "60", "--label-rate", "1", "--seed", str(seed)]
    command = [sys.executable, "-m", "app", "simulate", *options]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "API_URL": url}, check=True, capture_output=True, timeout=120)


def has_data(prometheus, query):
    """Whether the last minute of the query has a number in it."""
    now = time.time()
    answer = prometheus.get("/api/v1/query_range", query=query, start=now - 60, end=now, step=5)
    assert answer["status"] == "success", (query, answer)
    values = [float(value) for series in answer["data"]["result"] for _, value in series["values"]]
    return any(not math.isnan(value) for value in values)


def test_every_query_of_the_dashboard_returns_data(stack):
    url, prometheus = stack
    expected = QUERIES if shutil.which("haproxy") else [pair for pair in QUERIES if pair[0] not in OF_THE_EDGE]
    for seed in range(8):
        traffic(url, seed)
        empty = [pair for pair in expected if not has_data(prometheus, pair[1])]
        if not empty:
            break
    assert not empty
    assert len(expected) >= 30


def scraped_after(prometheus, seconds):
    """When the api was scraped for the first time after that."""
    query = f'timestamp(up{{job="api"}}) > {seconds}'
    [series, *_] = eventually(lambda: prometheus.get("/api/v1/query", query=query)["data"]["result"])
    return float(series["value"][1])


def groups_of(prometheus):
    return prometheus.get("/api/v1/rules")["data"]["groups"]


def evaluated_at(group):
    """Seconds since the epoch."""
    return datetime.fromisoformat(group["lastEvaluation"][:19] + "+00:00").timestamp()


def test_every_rule_can_be_evaluated(stack):
    url, prometheus = stack
    traffic(url, 99)
    since = scraped_after(prometheus, time.time())
    eventually(lambda: all(evaluated_at(group) > since for group in groups_of(prometheus)))
    rules = [rule for group in groups_of(prometheus) for rule in group["rules"]]
    assert [rule for rule in rules if rule["health"] != "ok"] == []
    assert [rule["name"] for rule in rules if rule.get("state") == "firing"] == ["Heartbeat"]
    assert len(rules) >= 25
