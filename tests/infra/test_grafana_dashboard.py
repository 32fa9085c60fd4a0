"""The committed dashboard is what the script makes, and Grafana will find what it needs."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from app.observe import catalogue
from tests.infra.repository import ROOT

FOLDER = ROOT / "docker" / "grafana"
DASHBOARD = json.loads((FOLDER / "dashboards" / "bakeoff.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def generate(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the script of a folder."""
    if importlib.util.find_spec("grafana_foundation_sdk") is None:
        pytest.skip("NOT CHECKED: grafana-foundation-sdk is not installed (requirements-dev.txt)")
    command = [sys.executable, str(folder / "generate.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_committed_dashboard_is_the_generated_one() -> None:
    checked = generate(FOLDER, "--check")
    assert checked.returncode == 0, checked.stderr


def test_a_dashboard_changed_by_hand_is_found(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(FOLDER, tmp_path / "grafana"))
    target = copy / "dashboards" / "bakeoff.json"
    target.write_text(target.read_text().replace("Requests", "Calls"))
    assert generate(copy, "--check").returncode == 1
    assert generate(copy).returncode == 0
    assert target.read_text() == (FOLDER / "dashboards" / "bakeoff.json").read_text()


def test_each_field_is_one_of_grafanas_own_schema() -> None:
    if importlib.util.find_spec("grafana_foundation_sdk") is None:
        pytest.skip("NOT CHECKED: grafana-foundation-sdk is not installed (requirements-dev.txt)")
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    def known(document: dict) -> dict:
        """The document as Grafana's types, which the SDK is made of, hold it: other fields are gone."""
        return json.loads(JSONEncoder().encode(Dashboard.from_json(document)))

    assert known(DASHBOARD) == DASHBOARD
    assert known({**DASHBOARD, "refreshh": "5s"}) == DASHBOARD


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_each_panel_is_of_the_form_that_grafana_draws(panel: dict) -> None:
    assert panel["type"] == "timeseries"
    assert all(type(panel["gridPos"][side]) is int for side in "xywh")
    assert set(panel["fieldConfig"]) == {"defaults", "overrides"}
    assert isinstance(panel["fieldConfig"]["defaults"]["unit"], str)
    ids = [target["refId"] for target in panel["targets"]]
    assert ids
    assert ids == sorted(set(ids))
    assert all(isinstance(target["expr"], str) and target["range"] is True for target in panel["targets"])


def test_the_document_can_be_provisioned() -> None:
    assert isinstance(DASHBOARD["schemaVersion"], int)
    assert "id" not in DASHBOARD  # that of a database: Grafana gives its own
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_grafana_finds_the_dashboards_and_prometheus_where_compose_puts_them() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    mounts = dict(mount.split(":")[:2] for mount in compose["grafana"]["volumes"])
    [provider] = yaml.safe_load((FOLDER / "provisioning/dashboards/bakeoff.yml").read_text())["providers"]
    assert mounts["./docker/grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./docker/grafana/provisioning"] == "/etc/grafana/provisioning"
    [source] = yaml.safe_load((FOLDER / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert any(port.endswith(":9090") for port in compose["prometheus"]["ports"])


@pytest.mark.parametrize(
    "metric",
    [
        catalogue.UNITS,
        catalogue.MISSING_ANSWERS,
        catalogue.MONITOR_LAG_ROWS,
        catalogue.MONITOR_LAG_SECONDS,
        catalogue.LAST_BACKUP,
        catalogue.LAST_ARCHIVE,
        catalogue.PREDICTION_REQUESTS,
    ],
    ids=lambda metric: metric.name,
)
def test_what_operators_ask_for_is_drawn(metric: catalogue.Definition) -> None:
    assert any(metric.name in target["expr"] for panel in PANELS for target in panel["targets"])


def test_there_is_a_row_for_each_concern() -> None:
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == ["Model", "Experiment", "Drift", "Infrastructure"]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_each_panel_asks_the_provisioned_source_and_is_explained(panel: dict) -> None:
    [source] = yaml.safe_load((FOLDER / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert {target["datasource"]["uid"] for target in panel["targets"]} == {source["uid"]}
    assert panel["description"]


def test_panels_do_not_overlap_and_fit_the_width() -> None:
    seen: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & seen, panel["title"]
        assert at["x"] + at["w"] <= 24
        seen |= cells


def test_each_drift_metric_is_drawn() -> None:
    asked = " ".join(target["expr"] for panel in PANELS for target in panel["targets"])
    metrics = [each for each in catalogue.DERIVED if each.name.startswith("model_")]
    assert [each.name for each in metrics if each.name not in asked] == []
    assert "max by (kind) (model_drift_alarm_streams)" in asked
