"""Who is notified of what, for each kind of NOTIFY_WEBHOOK_URL; the configuration is the one that start.sh makes."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.e2e import watching
from tests.e2e.watching import tool
from tests.infra.repository import ROOT

FOLDER = ROOT / "docker" / "alertmanager"
START = FOLDER / "start.sh"
SLACK = "https://hooks.slack.com/services/T/B/x"
URLS = {"none": "", "webhook": "https://example.org/hook?key=secret", "slack": SLACK}


def start(*options: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """What start.sh did."""
    return subprocess.run(["sh", str(START), *options], env={**os.environ, **settings}, capture_output=True, text=True)


def configuration(url: str, heartbeat: str = "") -> str:
    """What start.sh makes of the addresses."""
    made = start("--print", NOTIFY_WEBHOOK_URL=url, HEARTBEAT_URL=heartbeat)
    assert made.returncode == 0, made.stderr
    return made.stdout


def amtool(*arguments: str) -> str:
    program = tool("amtool")
    if program is None:
        pytest.skip("NOT CHECKED: no amtool of 0.26 or later (.ci/images tools)")
    said = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    return said.stdout


@pytest.mark.parametrize("kind", URLS)
def test_the_configuration_is_valid(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "alertmanager.yml"
    file.write_text(configuration(URLS[kind]))
    assert "2 receivers" in amtool("check-config", str(file))


@pytest.mark.parametrize(("kind", "integrations"), [("none", []), ("webhook", ["webhook"]), ("slack", ["slack"])])
def test_the_address_decides_how_people_are_told(kind: str, integrations: list[str]) -> None:
    people, heartbeat = yaml.safe_load(configuration(URLS[kind]))["receivers"]
    assert [key for key in people if key != "name"] == [f"{each}_configs" for each in integrations]
    assert heartbeat == {"name": "heartbeat"}


@pytest.mark.parametrize("kind", URLS)
def test_the_heartbeat_goes_to_its_address_alone(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "alertmanager.yml"
    file.write_text(configuration(URLS[kind], "https://beats.example/1"))
    people, heartbeat = yaml.safe_load(file.read_text())["receivers"]
    assert heartbeat["webhook_configs"] == [{"url_file": "/tmp/heartbeat_url", "send_resolved": False}]
    assert "heartbeat" not in str(people)
    to = ["--verify.receivers=heartbeat", "alertname=Heartbeat", "severity=none"]
    assert "heartbeat" in amtool("config", "routes", "test", f"--config.file={file}", *to)


@pytest.mark.parametrize("labels", ["alertname=ApiDown severity=critical", "alertname=DriftAlarm severity=warning"])
def test_every_alert_reaches_people(labels: str, tmp_path: Path) -> None:
    file = tmp_path / "alertmanager.yml"
    file.write_text(configuration(URLS["webhook"]))
    said = amtool("config", "routes", "test", f"--config.file={file}", "--verify.receivers=people", *labels.split())
    assert "people" in said


def test_the_address_is_in_a_file_of_this_user_alone_and_in_no_configuration(tmp_path: Path) -> None:
    urls = {"NOTIFY_WEBHOOK_URL": URLS["webhook"], "HEARTBEAT_URL": "https://beats.example/secret"}
    started = start(**urls, RUN_DIR=str(tmp_path), ALERTMANAGER="/bin/true")
    assert started.returncode == 0, started.stderr
    for variable, name in (("NOTIFY_WEBHOOK_URL", "notify_url"), ("HEARTBEAT_URL", "heartbeat_url")):
        assert (tmp_path / name).read_text() == urls[variable]
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert "secret" not in (tmp_path / "alertmanager.yml").read_text() + started.stdout + started.stderr


def test_without_an_address_it_starts_and_says_that_nobody_is_told(tmp_path: Path) -> None:
    started = start(NOTIFY_WEBHOOK_URL="", RUN_DIR=str(tmp_path), ALERTMANAGER="/bin/true")
    assert started.returncode == 0
    assert "alerts are not sent to anyone" in started.stderr


@pytest.mark.parametrize("url", ["hooks.example.org", "ftp://x", "https://"])
def test_what_is_no_address_is_refused_by_name(url: str) -> None:
    for name in ("NOTIFY_WEBHOOK_URL", "HEARTBEAT_URL"):
        refused = start("--print", **{name: url})
        assert refused.returncode == 1
        assert name in refused.stderr


def test_inhibition_names_alerts_that_exist() -> None:
    alerts = set(re.findall(r"alert: (\w+)", (ROOT / "docker/prometheus/rules/alerts.yml").read_text()))
    rules = yaml.safe_load((FOLDER / "alertmanager.yml").read_text())["inhibit_rules"]
    matchers = [text for rule in rules for text in rule["source_matchers"] + rule["target_matchers"]]
    named = {n for text in matchers if text.startswith("alertname") for n in re.findall(r"[A-Z]\w+", text)}
    assert named <= alerts
    assert "ApiDown" in named


def test_an_alertmanager_without_debians_templates_is_as_good_as_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One that `.ci/images tools` unpacked on a machine without the package: its tests are skipped and say so."""
    program = tmp_path / "prometheus-alertmanager"
    program.write_text("#!/bin/sh\necho version 0.28.1\n")
    program.chmod(0o755)
    (tmp_path / "default.tmpl").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(watching, "_UNPACKED", tmp_path)
    for templates, found in ((tmp_path / "default.tmpl", str(program)), (tmp_path / "gone", None)):
        monkeypatch.setattr(watching, "_TEMPLATES", templates)
        assert watching.tool.__wrapped__("alertmanager") == found
