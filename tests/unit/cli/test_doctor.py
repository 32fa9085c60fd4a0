import contextlib
import json
import os
import shutil
import socket
import sqlite3

import psycopg
import pytest

from app.cli import main
from app.store.deployment import DeploymentKey, StoredGenerations
from app.store.engine import Database
from app.store.keys import load_or_create
from app.store.stamps import stamp
from tests.postgres import PASSWORD
from tests.unit.store.archive.conftest import ArchivedSmallLog

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
    """The findings by name and the exit status; by default for the trained versions and no store."""
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


def test_a_fresh_installation_has_no_broken_finding(consult):
    findings, status = consult()
    assert status == 0
    assert states(findings) <= {"ok", "warn"}
    assert "ONNX agrees" in findings["version v1"]["detail"]


def test_the_references_of_a_version_are_checked(consult, trained, tmp_path):
    models = tmp_path / "models"
    shutil.copytree(trained / "models", models)
    findings, _ = consult(models=models)
    assert "references of v1" not in findings
    refresh = ["publish", "--refresh-reference", "v1", "--reference", "iris"]
    assert main(refresh) == main(refresh) == 0
    findings, status = consult(models=models)
    assert (status, findings["references of v1"]["state"]) == (0, "ok")
    assert "reference 2 counts since" in findings["references of v1"]["detail"]
    (models / ".references" / "v1.2" / "reference.json").write_bytes(b"{}")
    found = consult(models=models)[0]["references of v1"]
    assert (found["state"], "v1.2/reference.json" in found["detail"]) == ("warn", True)
    assert found["detail"].endswith("reference 1 counts")
    shutil.rmtree(models / "v1")
    assert "not in the model registry" in consult(models=models)[0]["references"]["detail"]


def test_every_finding_that_is_not_ok_has_advice(consult, tmp_path):
    findings, _ = consult(models=tmp_path / "nowhere", ADMIN_TOKEN="")
    assert all("advice" in finding for finding in findings.values() if finding["state"] != "ok")


def test_an_empty_registry_is_broken_and_says_what_to_run(consult, tmp_path):
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


def test_a_wrong_setting_is_named_and_ends_the_checks(consult):
    findings, status = consult(WEB_THREADS="many")
    assert (status, "WEB_THREADS" in findings["settings"]["detail"]) == (1, True)
    assert "shelf" not in findings


def test_without_the_deployments_key_no_key_is_made(consult, tmp_path):
    findings, status = consult(DATA_DIR=tmp_path / "other")
    assert (status, findings["shelf"]["state"]) == (1, "broken")
    assert not (tmp_path / "other").exists()


def test_a_key_that_is_not_that_of_the_store_is_broken_until_it_is_accepted(consult, tmp_path, capsys):
    with contextlib.closing(Database(f"sqlite:///{tmp_path / 'bakeoff.sqlite'}")) as database:
        DeploymentKey(database, "ab" * 16).require()
    findings, status = consult()
    assert (status, findings["key"]["state"]) == (1, "broken")
    assert "(abababab…)" in findings["key"]["detail"]
    assert findings["key"]["advice"].startswith("put the deployment's key there first")
    assert main(["accept-key"]) == 1
    assert "nothing was changed. With this key ids of earlier predictions are unknown" in capsys.readouterr().err
    assert main(["accept-key", "--yes"]) == main(["accept-key"]) == 0
    findings, status = consult()
    assert (status, findings["key"]["state"]) == (0, "ok")


def test_who_accepts_another_key_is_told_which_hosts_use_the_database(consult, postgres_url, capsys):
    with contextlib.closing(Database(postgres_url)) as database:
        DeploymentKey(database, "ab" * 16).require()
        StoredGenerations(database).confirm("g1")
    consult(DATABASE_URL=postgres_url)
    assert main(["accept-key"]) == 1
    assert f"APIs on {socket.gethostname()} (for a container its id) use the database now" in capsys.readouterr().err
    assert main(["accept-key", "--yes"]) == 0


def test_a_store_whose_key_is_known_to_be_another_is_not_called_one_that_cannot_be_asked(consult, tmp_path, capsys):
    with contextlib.closing(Database(f"sqlite:///{tmp_path / 'bakeoff.sqlite'}")) as database:
        DeploymentKey(database, "ab" * 16).require()
    consult()
    assert main(["models"]) == 0
    told = capsys.readouterr().err
    assert "warning: the key of this process" in told
    assert "cannot be asked" not in told


@pytest.mark.parametrize(
    ("in_store", "advice"),
    [
        (None, "put the deployment's key there first"),
        ("theirs", "put the deployment's key there first"),
        ("ours", "publish it again if a former key signed it"),  # it was accepted, since the former one is lost
    ],
)
def test_where_the_key_is_another_one_no_version_is_to_be_removed(consult, tmp_path, in_store, advice):
    other = tmp_path / "other"
    fingerprint = load_or_create(other).fingerprint if in_store != "theirs" else "ab" * 16
    load_or_create(other)
    if in_store:
        with contextlib.closing(Database(f"sqlite:///{other / 'bakeoff.sqlite'}")) as database:
            DeploymentKey(database, fingerprint).require()
    findings, status = consult(DATA_DIR=other)
    assert (status, findings["version v1"]["state"]) == (1, "broken")
    assert findings["version v1"]["advice"].startswith(f"it is not served: {advice}")
    assert findings["shelf"]["advice"].startswith(advice) is (in_store != "ours")


def test_a_store_whose_key_is_lost_is_broken_and_no_key_is_made(consult, tmp_path):
    with contextlib.closing(Database(f"sqlite:///{tmp_path / 'bakeoff.sqlite'}")) as database:
        DeploymentKey(database, "ab" * 16).require()
    (tmp_path / "keys").unlink()
    findings, status = consult()
    assert (status, findings["key"]["state"]) == (1, "broken")
    assert not (tmp_path / "keys").exists()


def test_backups_and_archives_have_an_age_once_there_is_a_log(consult, tmp_path):
    assert "backup" not in consult()[0]
    database = Database(f"sqlite:///{tmp_path / 'bakeoff.sqlite'}")
    database.probe()
    database.close()
    assert consult()[0]["backup"]["state"] == "warn"
    stamp(tmp_path, "backup")
    stamp(tmp_path, "archive")
    os.utime(tmp_path / "archive.stamp", (1, 1))
    findings, status = consult()
    assert (status, findings["backup"]["state"], findings["archive"]["state"]) == (0, "ok", "warn")


def test_an_erasure_that_has_not_ended_is_told(consult, tmp_path):
    store = tmp_path / "bakeoff.sqlite"
    with contextlib.closing(Database(f"sqlite:///{store}")) as database:
        database.probe()
    began = "INSERT INTO erasures (subject, began_us, counts, experiments) VALUES ('a', 1, '{}', '[{},{}]')"
    for statement, warns in ((began, True), ("UPDATE erasures SET ended_us = 2", False)):
        with contextlib.closing(sqlite3.connect(store, isolation_level=None)) as connection:
            connection.execute(statement)
        assert ("erasure" in consult()[0]) is warns


@pytest.mark.parametrize("place", ["archive", "elsewhere"])
def test_an_archive_that_lacks_a_file_is_broken(consult, tmp_path, place):
    with contextlib.closing(Database(f"sqlite:///{tmp_path / 'bakeoff.sqlite'}")) as database:
        log = ArchivedSmallLog(database, folder=tmp_path)
        log.begin()
        log.random_traffic(20)
        log.archive()
    stamp(tmp_path, "archive")
    (tmp_path / "archive").rename(tmp_path / place)
    settings = {"ARCHIVE_TO": str(tmp_path / place)}
    assert (consult()[0]["archive"]["state"] == "ok") is (place == "archive")
    assert consult(**settings)[0]["archive"]["state"] == "ok"
    next((tmp_path / place).glob("predictions/*/*")).unlink()
    findings, status = consult(**settings)
    assert (status, findings["archive"]["state"]) == (1, "broken")
    assert "is missing: put back a copy of it" in findings["archive"]["detail"]


def test_a_store_that_is_no_database_is_broken(consult, tmp_path):
    (tmp_path / "bakeoff.sqlite").write_bytes(b"not a database at all, but long enough to be taken for one" * 20)
    findings, status = consult()
    assert (status, findings["store"]["state"]) == (1, "broken")


def test_a_clock_behind_the_log_and_a_stopped_monitor_are_warnings(consult, tmp_path):
    with sqlite3.connect(tmp_path / "bakeoff.sqlite") as connection:
        connection.execute("CREATE TABLE predictions (seq INTEGER PRIMARY KEY, served_at_us BIGINT)")
        connection.execute("INSERT INTO predictions (served_at_us) VALUES (4102444800000000)")
    findings, status = consult()
    assert (status, findings["clock"]["state"], findings["monitor"]["state"]) == (0, "warn", "warn")


def test_a_database_server_is_checked_without_showing_its_password(consult, postgres_url):
    findings, status = consult(DATABASE_URL=postgres_url)
    assert (status, findings["store"]["state"]) == (0, "warn")  # the server of the tests runs without fsync
    assert "PostgreSQL 1" in findings["store"]["detail"]
    assert "fsync is off" in findings["store"]["detail"]
    assert PASSWORD not in str(findings)


def test_a_server_that_is_away_is_broken(consult):
    findings, status = consult(DATABASE_URL="postgresql://bakeoff:hidden@127.0.0.1:1/x")
    assert (status, findings["store"]["state"]) == (1, "broken")
    assert "hidden" not in str(findings)


def test_advice_for_a_file_differs_from_advice_for_a_server(consult, tmp_path):
    (tmp_path / "bakeoff.sqlite").write_bytes(b"not a database at all, but long enough to be taken for one" * 20)
    assert "bakeoff restore" in consult()[0]["store"]["advice"]
    away, _ = consult(DATABASE_URL="postgresql://bakeoff:hidden@127.0.0.1:1/x")
    assert away["store"]["advice"] == "start that server, or correct DATABASE_URL"


@pytest.mark.parametrize(
    "told",
    [
        "sorry, too many clients already",
        'too many connections for role "bakeoff"',
        "remaining connection slots are reserved for roles with the SUPERUSER attribute",
    ],
)
def test_a_server_whose_connections_are_all_in_use_is_neither_away_nor_the_wrong_one(consult, monkeypatch, told):
    def full(*_args, **_kwargs):
        server = 'connection to server at "db", port 5432 failed'
        raise psycopg.OperationalError(f"connection failed: {server}: FATAL:  {told}")

    monkeypatch.setattr("app.store.postgres.server.connect", full)
    findings, status = consult(DATABASE_URL="postgresql://bakeoff@127.0.0.1:1/x")
    assert (status, "DATABASE_CONNECTIONS" in findings["store"]["advice"]) == (1, True)
    assert findings["store"]["detail"].endswith(f': connection to server at "db", port 5432 failed: FATAL:  {told}')


def test_damaged_aliases_are_broken_and_the_api_repairs_them(consult, trained, tmp_path):
    shutil.copytree(trained / "models", tmp_path / "models")
    (tmp_path / "models" / "aliases.json").write_text("{")
    findings, status = consult(models=tmp_path / "models")
    assert (status, findings["shelf"]["advice"]) == (1, "start the API: it writes that file again")


def test_a_port_that_another_program_has_is_broken(consult):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        findings, status = consult(API_PORT=port)
    assert (status, findings[f"port {port}"]["state"]) == (1, "broken")


def test_the_text_has_a_line_for_each_finding_and_an_arrow_before_advice(consult, capsys, tmp_path):
    consult(models=tmp_path / "nowhere")
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "BROKEN  model registry: no version in" in out
    assert "→ bakeoff train" in out
