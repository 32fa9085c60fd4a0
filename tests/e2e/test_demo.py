"""`./run_demo.sh` from a fresh clone: it works, stops what it started, and is safe to run again."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.api_process import free_port
from tests.e2e.demo_copy import clone, environment, running_demo, stop

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clone(tmp_path_factory.mktemp("demo") / "a clone with spaces")


def demo_again(folder: Path, *options: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["./run_demo.sh", *options],
        cwd=folder,
        env={**environment(free_port()), **settings},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
    )


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_fresh_clone_ends_with_two_versions_that_answered_and_nothing_left_running(fresh: Path) -> None:
    with running_demo(fresh, "--requests", "60") as demo:
        with urllib.request.urlopen(f"http://127.0.0.1:{demo.port}/predictions/history?limit=60", timeout=10) as answer:
            logged = json.load(answer)["predictions"]
        assert {entry["model_version"] for entry in logged} == {"v1", "v2"}
        with urllib.request.urlopen(f"http://127.0.0.1:{demo.port}/config", timeout=10) as answer:
            assert json.load(answer)["labels_exogenous"] is True
        assert f"http://127.0.0.1:{demo.port}/docs" in demo.printed
        assert "bakeoff simulate --requests" in demo.printed
        second = demo_again(fresh)
        assert second.returncode == 0
        assert f"process {demo.process.pid}" in second.stdout
        assert stop(demo.process) == 130
        assert not listens(demo.port)
        assert not (fresh / "data" / "demo.pid").exists()


def test_a_second_run_serves_the_same_versions_and_with_once_it_ends_by_itself(fresh: Path) -> None:
    before = sorted((fresh / "models").rglob("manifest.json"))
    result = demo_again(fresh, "--once", "--requests", "20")
    assert result.returncode == 0, result.stderr
    assert before
    assert sorted((fresh / "models").rglob("manifest.json")) == before


def test_the_admin_token_is_made_once_and_is_private(fresh: Path) -> None:
    token = fresh / "data" / "admin.token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert len(token.read_text().strip()) >= 32


def test_a_taken_port_is_named_with_the_way_out(fresh: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = demo_again(fresh, "--once", API_PORT=str(port))
    assert result.returncode == 1
    assert f"port {port} is taken by" in result.stderr
    assert "API_PORT=5001" in result.stderr


def test_a_taken_port_of_the_dashboard_is_named_and_the_rest_goes_on(fresh: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = demo_again(fresh, "--once", "--requests", "0", UI_PORT=str(port))
    assert result.returncode == 0, result.stderr
    assert f"Port {port} is taken by" in result.stdout
    assert "UI_PORT=8502" in result.stdout
    assert "dashboard   http" not in result.stdout


def test_a_wrong_setting_ends_the_start_with_its_name(fresh: Path) -> None:
    result = demo_again(fresh, "--once", MODEL_V1_WEIGHT="many")
    assert result.returncode == 1
    assert "MODEL_V1_WEIGHT" in result.stderr


def test_the_env_file_is_read_and_not_executed(fresh: Path) -> None:
    (fresh / ".env").write_text('BREAKER_FAILURES=none # $(touch pwned)\nLOG_LEVEL="`touch pwned`"\n')
    result = demo_again(fresh, "--once")
    (fresh / ".env").unlink()
    assert result.returncode == 1
    assert "BREAKER_FAILURES" in result.stderr or "LOG_LEVEL" in result.stderr
    assert not (fresh / "pwned").exists()


def test_the_example_settings_are_accepted_as_they_are(fresh: Path) -> None:
    (fresh / ".env").write_text((fresh / ".env.example").read_text())
    result = demo_again(fresh, "--once", "--requests", "5")
    (fresh / ".env").unlink()
    assert result.returncode == 0, result.stderr
