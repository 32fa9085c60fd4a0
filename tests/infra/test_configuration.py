"""docker/configuration.sh: when a deployment replaces a service around the api. A scripted `docker` is the engine."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.infra.repository import ROOT
from tests.waiting import eventually

BEFORE, AFTER = "2020-01-01T00:00:00.000000001Z", "2099-01-01T00:00:00.000000001Z"
DOCKER = """#!/usr/bin/env bash
case "$*" in
  "ps "*service=edge*) echo "$CONTAINER" ;;
  "ps "*service=ui*) echo ui1 ;;
  *config-hash*) echo "made-of" ;;
  *StartedAt*) echo "$STARTED" ;;
  *"config --hash edge"*) echo "edge $HASH" ;;
  *" run "*" edge haproxy -c "*) echo "${REFUSED:-Configuration file is valid}"; [ -z "${REFUSED:-}" ] ;;
  *MemTotal*) echo 4294967296 ;;
  "port edge1") printf '%s\n' "5080/tcp -> 127.0.0.1:5000" "5443/tcp -> 127.0.0.1:443" ;;
  "port ui1") echo "8501/tcp -> 127.0.0.1:8501" ;;
  *" run "*" edge true") echo "$* address already in use"; exit 1 ;;
esac
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder as /opt/bakeoff."""
    shutil.copytree(ROOT / "docker", tmp_path / "docker")
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "docker").write_text(DOCKER)
    (tmp_path / "bin" / "docker").chmod(0o755)
    return tmp_path


def bash(place: Path, words: str, started: str = AFTER, made_of: str = "made-of", container: str = "edge1") -> str:
    """The output of the functions of docker/ for an edge proxy with this start time and definition."""
    sources = "".join(f"source docker/{name}.sh; " for name in ("lib", "release", "roll", "configuration"))
    answers = {"CONTAINER": container, "STARTED": started, "HASH": made_of}
    env = {
        **os.environ,
        **answers,
        "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
        "COMPOSE_COMMAND": "docker compose",
    }
    command = ["bash", "-euo", "pipefail", "-c", sources + words]
    done = subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_edge_proxy_that_no_deployment_started_is_kept_if_nothing_has_changed(place: Path) -> None:
    assert bash(place, "config_change v1 edge") == ""


@pytest.mark.parametrize(("started", "made_of"), [(BEFORE, "made-of"), (AFTER, "another definition")])
def test_an_edge_proxy_that_no_deployment_started_is_replaced_if_it_may_be_outdated(
    place: Path, started: str, made_of: str
) -> None:
    assert "was not started by a deployment" in bash(place, "config_change v1 edge", started, made_of)


def touched(file: Path) -> int:
    """The file system's own time now, in nanoseconds."""
    file.touch()
    return file.stat().st_mtime_ns


def test_a_replaced_file_counts_as_changed_whatever_its_mtime(place: Path) -> None:
    now, now_ns = bash(place, "date -Ins").strip(), time.time_ns()
    eventually(lambda: touched(place / "clock") > now_ns)  # the file system's clock is behind, and coarser
    shutil.copy(place / "docker/haproxy.cfg", place / "older")
    os.utime(place / "older", (0, 0))
    (place / "older").rename(place / "docker/haproxy.cfg")
    assert bash(place, "config_change v1 edge", started=now) != ""


def test_a_stack_without_an_edge_proxy_gets_none(place: Path) -> None:
    assert bash(place, "config_change v1 edge", BEFORE, container="") == ""


def test_a_recorded_configuration_is_compared_by_content_not_by_time(place: Path) -> None:
    bash(place, 'say "CONFIG_edge=$(config_sum edge)" >.release')
    assert bash(place, "config_change v1 edge", BEFORE, "another") == ""
    (place / "docker/haproxy.cfg").write_text("# another\n")
    assert "has changed" in bash(place, "config_change v1 edge")


@pytest.mark.parametrize(
    "override", ["services:\n    edge:\n        mem_limit: 128m\n", "services: {edge: {cpus: 2}}\n"]
)
def test_the_override_file_is_a_part_of_the_configuration_however_it_is_written(place: Path, override: str) -> None:
    bash(place, 'say "CONFIG_edge=$(config_sum edge)" >.release')
    (place / "docker-compose.override.yml").write_text(override)
    assert "has changed" in bash(place, "config_change v1 edge")
    bash(place, 'say "CONFIG_edge=$(config_sum edge)" >.release')
    assert bash(place, "config_change v1 edge") == ""


def test_replacing_the_edge_proxy_is_announced_first(place: Path) -> None:
    said = bash(place, "update_config v1 edge", BEFORE)
    assert "Replacing it; it refuses connections for about a second" in said


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        ("[ALERT] (7) : 'bind :5443' : cannot open the file '/usr/local/etc/haproxy/edge.pem'.", "chown 99"),
        ("[ALERT] (7) : missing port specification in '5001'", "missing port specification in '5001'"),
    ],
)
def test_an_edge_proxy_that_would_not_start_stops_a_deployment_with_the_reason(
    place: Path, refused: str, said: str
) -> None:
    (place / ".env").write_text("TLS_CERT_FILE=./edge.pem\n")
    (place / "edge.pem").touch()
    out = bash(place, f"REFUSED={shlex.quote(refused)}; export REFUSED; check_edge v1 2>&1 || echo stopped", BEFORE)
    assert "would not start" in out
    assert said in out
    assert out.endswith("stopped\n")


@pytest.mark.parametrize("made", [None, "folder"])
def test_a_certificate_that_is_no_file_stops_a_deployment_before_compose_makes_a_folder_of_it(
    place: Path, made: str | None
) -> None:
    (place / ".env").write_text('TLS_CERT_FILE="./none.pem"  # from the authority\n')
    if made:
        (place / "none.pem").mkdir()
    out = bash(place, "check_edge v1 2>&1 || echo stopped", BEFORE)
    assert "TLS_CERT_FILE=./none.pem is not a file" in out
    assert out.endswith("stopped\n")


def test_an_edge_proxy_that_stays_is_not_asked(place: Path) -> None:
    assert bash(place, "REFUSED=no; export REFUSED; check_edge v1") == ""


def test_the_same_release_with_other_settings_leaves_the_one_before_to_return_to(place: Path) -> None:
    bash(place, "record_release 1 '' '' ''; record_release 2 1 api1 ui1; record_release 2 2 api2 ui2")
    kept = bash(place, "for name in TAG PREVIOUS_TAG PREVIOUS_API PREVIOUS_UI; do recorded $name; done")
    assert kept.split() == ["2", "1", "api1", "ui1"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("A=1\n# how many\nAPI_CPUS=\nB=x=\\n\n", "A=1\n# how many\nAPI_CPUS=2\nB=x=\\n\n"),
        ("API_CPUS=1\nA=1\nAPI_CPUS=3", "API_CPUS=2\nA=1\n"),
        ("API_CPUS_X=1", "API_CPUS_X=1\nAPI_CPUS=2\n"),
        ("", "API_CPUS=2\n"),
    ],
)
def test_a_setting_is_written_where_it_stands_below_its_comment(place: Path, before: str, after: str) -> None:
    (place / ".env").write_text(before)
    bash(place, "set_in_env API_CPUS 2")
    assert (place / ".env").read_text() == after


def test_a_release_that_was_recorded_as_its_own_predecessor_has_none(place: Path) -> None:
    (place / ".release").write_text("TAG=2\nPREVIOUS_TAG=2\nPREVIOUS_API=api2\nPREVIOUS_UI=ui2\n")
    assert bash(place, "before PREVIOUS_TAG") == ""
    bash(place, "record_release 2 2 api2 ui2; record_release 3 2 api2 ui2")
    assert bash(place, "before PREVIOUS_API") == "api2\n"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=0.0.0.0:443", "0.0.0.0:443"),
        ('A="0.0.0.0:443"', "0.0.0.0:443"),
        ("A='x # y' # why", "x # y"),
        ("A=0.0.0.0:443 # https", "0.0.0.0:443"),
        ("A=5000\r", "5000"),
        ("A=a#b", "a#b"),
        ("A=", "none"),
        ("B=1", "none"),
    ],
)
def test_a_setting_has_the_value_that_compose_sees(place: Path, line: str, value: str) -> None:
    (place / ".env").write_text(f"{line}\n", newline="")
    assert bash(place, "setting A none") == f"{value}\n"


@pytest.mark.parametrize("line", ['TLS_BIND="0.0.0.0:443"', "TLS_BIND=0.0.0.0:443 # https", "API_PORT=5000\r"])
def test_ports_that_the_edge_proxy_has_are_not_tried(place: Path, line: str) -> None:
    (place / ".env").write_text(f"{line}\n", newline="")
    assert bash(place, "check_edge v1 2>&1", BEFORE) == ""


def test_a_full_disk_leaves_the_settings_as_they_are(place: Path) -> None:
    (place / ".env").write_text("ADMIN_TOKEN=t\n")
    full = 'cat() { if [ "$#" = 0 ]; then return 1; else command cat "$@"; fi; }; '
    out = bash(place, full + "settle API_CPUS 2 2>&1; set_in_env A 1 || echo kept")
    assert ".env cannot be written" in out
    assert out.endswith("kept\n")
    assert (place / ".env").read_text() == "ADMIN_TOKEN=t\n"
    assert [*place.glob(".env.*")] == []


def test_the_edge_proxy_is_healthy_where_it_can_answer_predictions() -> None:
    asked = re.findall(r"GET (/health/ready\S*)", (ROOT / "docker/haproxy.cfg").read_text())
    assert len(set(asked)) == 1
    assert f"'GET {asked[0]} HTTP" in (ROOT / "docker-compose.yml").read_text()


@pytest.mark.parametrize(
    "setting", ["TLS_BIND=0.0.0.0:8443", "ADMIN_BIND=127.0.0.1:5001", "API_PORT=80", "UI_PORT=8502"]
)
def test_a_port_that_another_program_has_stops_a_deployment_while_the_service_runs(place: Path, setting: str) -> None:
    assert bash(place, "check_edge v1 2>&1", BEFORE) == ""  # it has its own port already
    (place / ".env").write_text(f"{setting}\n")
    said = bash(place, "check_edge v1 2>&1 || echo stopped", BEFORE)
    assert "a port is already in use" in said
    assert setting.partition("=")[2] in said
    assert said.endswith("stopped\n")
