import json
import shutil
import socket
import sqlite3

import pytest

from app.cli import main
from tests.postgres import PASSWORD

_PORTS = ("API_PORT", "UI_PORT", "PROMETHEUS_PORT")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with models/ and data/ that is only read."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODEL_DIR", str(home / "models"))
        patch.setenv("DATA_DIR", str(home / "data"))
        assert main(["train"]) == 0
    return home


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def consult(trained, tmp_path, monkeypatch, capsys):
    """What the doctor says by name, and the status: of the trained versions or `models`, and of a data folder."""
    (tmp_path / "keys").symlink_to(trained / "data" / "keys")

    def ask(models=trained / "models", **environment):
        for variable in _PORTS:
            monkeypatch.setenv(variable, str(free_port()))
        settings = {"MODEL_DIR": models, "DATA_DIR": tmp_path, "ADMIN_TOKEN": "secret", **environment}
        for variable, value in settings.items():
            monkeypatch.setenv(variable, str(value))
        capsys.readouterr()
        status = main(["doctor", "--json"])
        body = json.loads(capsys.readouterr().out)
        assert body["healthy"] is (status == 0)
        return {finding["name"]: finding for finding in body["findings"]}, status

    return ask


def states(findings):
    return {finding["state"] for finding in findings.values()}


def test_a_fresh_installation_is_in_order(consult):
    findings, status = consult()
    assert status == 0
    assert states(findings) <= {"ok", "warn"}
    assert "ONNX agrees" in findings["version v1"]["detail"]


def test_everything_that_is_not_in_order_comes_with_an_advice(consult, tmp_path):
    findings, _ = consult(models=tmp_path / "nowhere", ADMIN_TOKEN="")
    assert all("advice" in finding for finding in findings.values() if finding["state"] != "ok")


def test_an_empty_shelf_is_broken_and_says_what_to_run(consult, tmp_path):
    findings, status = consult(models=tmp_path / "nowhere")
    assert (status, findings["shelf"]["advice"]) == (1, "bakeoff train")


def test_a_damaged_version_is_named_with_the_file(consult, trained, tmp_path):
    shutil.copytree(trained / "models", tmp_path / "models")
    damaged = tmp_path / "models" / "v2" / "model.joblib"
    damaged.chmod(0o644)
    damaged.write_bytes(b"torn")
    findings, status = consult(models=tmp_path / "models")
    assert (status, findings["version v2"]["state"]) == (1, "broken")
    assert "model.joblib" in findings["version v2"]["detail"]
    assert findings["shelf"]["detail"].startswith("1 of 2")


def test_a_wrong_setting_is_named_and_ends_the_examination(consult):
    findings, status = consult(WEB_THREADS="many")
    assert (status, "WEB_THREADS" in findings["settings"]["detail"]) == (1, True)
    assert "shelf" not in findings


def test_without_the_deployments_key_nothing_is_made(consult, tmp_path):
    findings, status = consult(DATA_DIR=tmp_path / "other")
    assert (status, findings["shelf"]["state"]) == (1, "broken")
    assert not (tmp_path / "other").exists()


def test_a_store_that_is_no_database_is_broken(consult, tmp_path):
    (tmp_path / "bakeoff.sqlite").write_bytes(b"not a database at all, but long enough to be taken for one" * 20)
    findings, status = consult()
    assert (status, findings["store"]["state"]) == (1, "broken")


def test_a_clock_behind_the_log_and_a_silent_monitor_are_warned_of(consult, tmp_path):
    with sqlite3.connect(tmp_path / "bakeoff.sqlite") as connection:
        connection.execute("CREATE TABLE predictions (seq INTEGER PRIMARY KEY, served_at_us BIGINT)")
        connection.execute("INSERT INTO predictions (served_at_us) VALUES (4102444800000000)")
    findings, status = consult()
    assert (status, findings["clock"]["state"], findings["monitor"]["state"]) == (0, "warn", "warn")


def test_a_server_that_has_the_store_is_looked_at_without_its_password(consult, postgres_url):
    findings, status = consult(DATABASE_URL=postgres_url)
    assert (status, findings["store"]["state"]) == (0, "warn")  # the server of the tests runs without fsync
    assert "PostgreSQL 1" in findings["store"]["detail"]
    assert "fsync is off" in findings["store"]["detail"]
    assert PASSWORD not in str(findings)


def test_a_server_that_is_away_is_broken(consult):
    findings, status = consult(DATABASE_URL="postgresql://bakeoff:hidden@127.0.0.1:1/x")
    assert (status, findings["store"]["state"]) == (1, "broken")
    assert "hidden" not in str(findings)


def test_a_port_that_another_program_has_is_broken(consult):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        findings, status = consult(API_PORT=port)
    assert (status, findings[f"port {port}"]["state"]) == (1, "broken")


def test_people_get_lines_with_arrows(consult, capsys, tmp_path):
    consult(models=tmp_path / "nowhere")
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "BROKEN  model registry: no version in" in out
    assert "→ bakeoff train" in out
