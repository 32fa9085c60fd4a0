"""The rules are valid, each alert is tried both ways, and each says what it means and where its runbook is."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.observe import catalogue
from tests.e2e.watching import tool
from tests.infra.repository import ROOT, name

FOLDER = ROOT / "docker" / "prometheus"
CASES = sorted((FOLDER / "tests").glob("*.yml"))
ALERTS: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "rules" / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
# All but the one that always fires.
OF_PEOPLE = [alert for alert in ALERTS if alert["alert"] != "Heartbeat"]
RULES = "\n".join(path.read_text() for path in sorted((FOLDER / "rules").glob("*.yml")))
NOT_OURS = {"alertmanager_notifications_failed_total", "litestream_replica_operation_total"}


def promtool(*arguments: str, folder: Path = FOLDER) -> str:
    """What promtool said, which must be content."""
    program = tool("promtool")
    if program is None:
        pytest.skip("NOT CHECKED: promtool is not installed (.ci/images tools, or Debian's package prometheus)")
    said = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    return said.stdout


def tried(fires: bool) -> set[str]:
    """The alerts that have a case in which they do, or do not, fire."""
    tests = [test for path in CASES for test in yaml.safe_load(path.read_text())["tests"]]
    checks = [check for test in tests for check in test["alert_rule_test"]]
    return {check["alertname"] for check in checks if bool(check.get("exp_alerts")) is fires}


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_configuration_and_the_rules_are_valid() -> None:
    assert "SUCCESS" in promtool("check", "config", "--lint=all", "--lint-fatal", "prometheus.yml")


@pytest.mark.parametrize("path", CASES, ids=name)
def test_each_alert_fires_when_it_should_and_only_then(path: Path) -> None:
    promtool("test", "rules", path.name, folder=path.parent)


@pytest.mark.parametrize("alert", OF_PEOPLE, ids=lambda alert: alert["alert"])
def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_silent(alert: dict[str, Any]) -> None:
    assert alert["alert"] in tried(fires=True)
    assert alert["alert"] in tried(fires=False)


def test_the_heartbeat_is_for_nobody_and_is_tried() -> None:
    [heartbeat] = [alert for alert in ALERTS if alert["alert"] == "Heartbeat"]
    assert heartbeat["labels"] == {"severity": "none"}
    assert "Heartbeat" in tried(fires=True)
    assert "heartbeat" in anchors("docs/runbooks.md")


@pytest.mark.parametrize("alert", OF_PEOPLE, ids=lambda alert: alert["alert"])
def test_each_alert_says_how_bad_it_is_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert {"summary", "description", "runbook"} <= alert["annotations"].keys()
    page, anchor = alert["annotations"]["runbook"].split("#")
    assert anchor in anchors(page)
    assert anchor == alert["alert"].lower()


def test_alerts_made_of_the_apis_metrics_say_so() -> None:
    known = {metric.name for metric in catalogue.ALL}
    of_the_api = [a for a in ALERTS if any(n in known for n in re.findall(r"\w+", a["expr"])) or ":" in a["expr"]]
    silent = {"ApiDown", "TargetDown", "AlertsNotDelivered", "LogNotReplicated", "Heartbeat"}
    unmarked = [a["alert"] for a in of_the_api if a["labels"].get("needs") != "api"]
    assert set(unmarked) <= silent
    assert len(of_the_api) >= 12


def test_the_rules_use_metrics_that_exist() -> None:
    known = {metric.name for metric in catalogue.ALL} | {f"{metric.name}_bucket" for metric in catalogue.ALL}
    plain = re.sub(r"#.*|record: .*|alert: .*|(summary|description|runbook): .*|\w+:latency_seconds:\w+", "", RULES)
    used = set(
        re.findall(r"\b(?:[a-z]+_){1,}(?:total|bucket|ratio_ok|rate_ok|ok|bytes|writable|open|seconds)\b", plain)
    )
    assert used - NOT_OURS <= known
    assert len(used) >= 15


def test_what_spends_the_error_budget_are_reasons_that_exist_and_none_is_the_callers() -> None:
    [reasons] = set(re.findall(r'reason=~"([^"]+)"', RULES))
    callers = {"invalid_request", "malformed_json", "invalid_features", "unknown_version", "unknown_model", "too_large"}
    callers |= {"unsupported_media_type"}
    access = {"unauthorized", "forbidden", "admin_disabled"}
    assert set(reasons.split("|")) == set(catalogue.REFUSAL_REASONS) - callers - access
    assert callers | access < set(catalogue.REFUSAL_REASONS)
