"""`bakeoff retire`: which versions go, which are refused, and what the audit log says."""

import json
import shutil

import pytest
from sqlalchemy import text

from app.cli import main
from app.cli.access import registry_of
from app.cli.decide import user_name
from app.domain.experiment import Configuration, ExperimentTerms
from app.errors import StoreUnavailable
from app.inference import storage
from app.inference.registry import ModelRegistry
from app.inference.retirement import as_candidate
from app.settings import Settings
from app.store.configurations import ConfigurationLog, DecisionTable
from app.store.engine import Database
from app.store.keys import load_or_create
from app.store.kinds import READING
from tests.unit.inference.published import manifest

FILES = {"model.joblib": b"weights", "reference.json": b"{}"}
CONFIGURATION = Configuration(
    epoch=0,
    experiment_id="e1",
    weights={"v1": 0.8, "v2": 0.2, "v3": 0.0, "v4": 0.0},
    terms=ExperimentTerms(metric="accuracy", baseline="v1"),
    champion="v1",
    created_at_us=5,
)


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """Four versions of an installation that has never served."""
    monkeypatch.setenv("MODEL_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    made = ModelRegistry(tmp_path / "models", load_or_create(tmp_path / "data").registry)
    for _ in range(4):
        made.publish(manifest(), FILES)
    made.point("champion", "v1")
    return made


@pytest.fixture
def store(registry, tmp_path):
    """The store of the same installation once it has served by `CONFIGURATION`."""
    database = Database(f"sqlite:///{tmp_path / 'data' / 'bakeoff.sqlite'}")
    ConfigurationLog(database).settle(lambda _latest: CONFIGURATION)
    yield database
    database.close()


def served(capsys):
    capsys.readouterr()
    assert main(["models", "--json"]) == 0
    versions = json.loads(capsys.readouterr().out)["versions"]
    return [each["version"] for each in versions if each["retired"] is None]


def audited(store):
    return [(entry.action, entry.version, entry.actor, entry.note) for entry in DecisionTable(store).page(9)]


def test_several_versions_are_retired_and_the_command_says_what_to_do_next(store, capsys):
    assert main(["retire", "v3", "v4"]) == 0
    printed = capsys.readouterr().out
    assert "Retired: v3, v4\nIn service: v1, v2\n" in printed
    assert "POST /models/reload" in printed
    assert "bakeoff retire --undo v3 v4" in printed
    assert served(capsys) == ["v1", "v2"]


def test_the_audit_log_says_who_retired_and_restored_what_and_why(store):
    assert main(["retire", "v3", "--actor", "ann", "--note", "old"]) == 0
    assert main(["retire", "--undo", "v3", "--actor", "bob"]) == 0
    assert audited(store) == [("restore", "v3", "bob", None), ("retire", "v3", "ann", "old")]
    assert ConfigurationLog(store).latest().epoch == 1


@pytest.mark.parametrize(
    ("version", "reason"),
    [("v1", "it is the champion"), ("v2", 'PATCH /config {"weights": {"v1": 0.8}}')],
)
def test_a_version_in_use_is_refused_and_nothing_is_retired(store, capsys, version, reason):
    assert main(["retire", "v3", version]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {version} was not retired: ")
    assert reason in captured.err
    assert served(capsys) == ["v1", "v2", "v3", "v4"]
    assert audited(store) == []


def test_the_champion_is_that_of_the_deployment_not_the_alias_of_a_host_that_lacks_it(store, registry, capsys):
    registry.point("champion", "v3")
    assert main(["retire", "v3"]) == 0
    assert served(capsys) == ["v1", "v2", "v4"]
    assert "champion" not in registry.aliases()


def test_keep_retires_all_but_the_newest_and_those_in_use(store, capsys):
    assert main(["retire", "--keep", "1", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["retired"], done["served"]) == (["v3"], ["v1", "v2", "v4"])
    assert set(done["unchanged"]) == {"v1", "v2"}


def test_keep_of_more_than_there_are_changes_nothing(store, capsys):
    assert main(["retire", "--keep", "9"]) == 0
    assert capsys.readouterr().out == "Nothing was changed.\n"
    assert audited(store) == []


@pytest.mark.parametrize("command", [["retire", "v3"], ["retire", "--undo", "v4"]])
def test_what_is_so_already_is_said_and_not_audited_again(store, capsys, command):
    main(["retire", "v3"])
    before = audited(store)
    capsys.readouterr()
    assert main(command) == 0
    assert "stays as it is" in capsys.readouterr().out
    assert audited(store) == before


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "name the versions to retire"),
        (["--undo"], "name the versions to bring back"),
        (["--keep", "2", "v3"], "without names"),
        (["--keep", "2", "--undo"], "without --undo"),
        (["v9"], "there is no version 'v9'"),
        (["--undo", "v9"], "there is no version 'v9'"),
        (["v3", "--actor", "a\nb"], "--actor must be"),
    ],
)
def test_a_wrong_call_is_one_line_and_status_1(registry, capsys, words, complaint):
    assert main(["retire", *words]) == 1
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("number", ["0", "-1", "two", "²"])
def test_a_wrong_number_to_keep_is_status_2(registry, number):
    with pytest.raises(SystemExit) as stop:
        main(["retire", f"--keep={number}"])
    assert stop.value.code == 2


def test_before_the_first_start_the_alias_says_who_is_champion(registry, capsys, tmp_path):
    assert main(["retire", "v1"]) == 1
    assert "promote another version first" in capsys.readouterr().err
    assert main(["retire", "v2"]) == 0
    assert not (tmp_path / "data" / "bakeoff.sqlite").exists()


def test_a_store_that_cannot_be_used_is_said_and_nothing_is_retired(registry, capsys, tmp_path):
    (tmp_path / "data" / "bakeoff.sqlite").write_bytes(b"no database" * 100)
    assert main(["retire", "v3"]) == 1
    assert "it says which versions are in use" in capsys.readouterr().err
    assert served(capsys) == ["v1", "v2", "v3", "v4"]


def full_disk(*_arguments):
    raise OSError(28, "No space left on device")


def test_a_registry_that_cannot_be_written_is_named_and_the_store_has_what_was_decided(store, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(storage, "replace", full_disk)
        assert main(["retire", "v3"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: the model registry at ")
    assert "No space left on device. The store has it, and every API follows at its next reload; try again" in error
    assert audited(store)[0][:2] == ("retire", "v3")
    assert served(capsys) == ["v1", "v2", "v4"]
    assert main(["retire", "v3"]) == 0
    assert "v3 stays as it is: it is retired already" in capsys.readouterr().out
    assert len(audited(store)) == 1


def test_a_table_that_cannot_be_written_where_nothing_changes_is_no_decision(store, capsys, monkeypatch):
    main(["retire", "v3"])
    monkeypatch.setattr(storage, "replace", full_disk)
    assert main(["retire", "v3"]) == 1
    assert "No space left on device. Nothing was changed; try again" in capsys.readouterr().err


def test_a_candidate_that_was_retired_in_the_store_alone_is_retired_once(store, registry, capsys, monkeypatch):
    registry.publish(manifest(), FILES, before=as_candidate(registry, "pipeline", "2026-11-20T12:00:00Z"))
    with monkeypatch.context() as patch:
        patch.setattr(storage, "replace", full_disk)
        assert main(["retire", "v5"]) == 1
    assert main(["retire", "v5"]) == 0
    assert "v5 stays as it is: it is retired already" in capsys.readouterr().out
    assert len(audited(store)) == 1


@pytest.mark.parametrize("command", [["models"], ["doctor"]])
def test_commands_say_once_that_the_store_cannot_be_asked_what_is_retired(registry, capsys, tmp_path, command):
    (tmp_path / "data" / "bakeoff.sqlite").write_bytes(b"no database" * 100)
    main(command)
    error = capsys.readouterr().err
    assert error.count("warning: the store cannot be asked which versions are retired, which names are taken, and") == 1


def test_a_version_whose_folder_came_back_from_a_backup_stays_retired_and_can_be_brought_back(store, registry, capsys):
    main(["retire", "v3", "--actor", "ann"])
    (registry.root / "retired.json").unlink()  # as in a copy of the registry from before
    assert served(capsys) == ["v1", "v2", "v4"]
    assert main(["retire", "--undo", "v3"]) == 0
    assert served(capsys) == ["v1", "v2", "v3", "v4"]
    assert [entry[:2] for entry in audited(store)] == [("restore", "v3"), ("retire", "v3")]


def test_a_store_that_fails_changes_nothing(store, registry, capsys, monkeypatch):
    def lost(_table, act, _at_us):
        act(CONFIGURATION)
        raise StoreUnavailable("the store cannot be used: the server went away")

    monkeypatch.setattr(DecisionTable, "record", lost)
    assert main(["retire", "v3"]) == 1
    assert "went away; it says which versions are in use and which are retired" in capsys.readouterr().err
    assert served(capsys) == ["v1", "v2", "v3", "v4"]
    assert not (registry.root / "retired.json").exists()


def test_an_alias_that_cannot_be_freed_is_said_and_the_version_is_retired(store, registry, capsys, monkeypatch):
    registry.point("challenger", "v3")
    monkeypatch.setattr(ModelRegistry, "unpoint", full_disk)
    assert main(["retire", "v3"]) == 0
    assert "aliases that name v3 stay, which does no harm: No space left" in capsys.readouterr().err
    assert audited(store)[0][:2] == ("retire", "v3")


def test_the_store_has_who_published_a_version(store, registry):
    with registry_of(Settings.from_environ()) as own:
        own.publish(manifest(), FILES)
    with store.begin(READING) as connection:
        rows = connection.execute(text("SELECT version, ordinal, actor FROM versions")).all()
    assert [tuple(row) for row in rows] == [("v5", 5, user_name())]


def test_models_marks_retired_versions_and_says_who_retired_them(store, capsys):
    main(["retire", "v3", "--actor", "ann", "--note", "old"])
    capsys.readouterr()
    assert main(["models"]) == 0
    assert "\nv3 (retired)  " in capsys.readouterr().out
    assert main(["models", "--json"]) == 0
    third = json.loads(capsys.readouterr().out)["versions"][2]["retired"]
    assert (third["by"], third["note"]) == ("ann", "old")


def test_models_and_doctor_name_a_damaged_table(store, registry, capsys):
    (registry.root / "retired.json").write_text("[")
    assert main(["models"]) == 0
    assert "restore it from a backup" in capsys.readouterr().err
    main(["doctor", "--json"])
    findings = {each["name"]: each for each in json.loads(capsys.readouterr().out)["findings"]}
    assert "restore it from a backup" in findings["shelf"]["advice"]


def test_the_doctor_does_not_call_a_damaged_retired_version_broken(store, registry, capsys):
    main(["retire", "v3"])
    (registry.root / "v3" / "model.joblib").write_bytes(b"other")
    capsys.readouterr()
    main(["doctor", "--json"])
    findings = {each["name"]: each for each in json.loads(capsys.readouterr().out)["findings"]}
    assert (findings["version v3"]["state"], findings["version v3"]["detail"][:8]) == ("warn", "retired;")
    assert "of 3 versions" in findings["shelf"]["detail"]


def test_a_restored_backup_knows_what_is_retired(store, registry, capsys, tmp_path):
    main(["retire", "v3"])
    assert main(["backup", "--to", str(tmp_path / "b.tar.gz")]) == 0
    store.close()
    shutil.rmtree(registry.root)
    shutil.rmtree(tmp_path / "data")
    assert main(["restore", str(tmp_path / "b.tar.gz")]) == 0
    assert served(capsys) == ["v1", "v2", "v4"]
