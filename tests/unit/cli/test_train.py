import json
import sys

import joblib
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier

from app.cli import main
from app.domain.outcome import Outcome
from app.domain.prediction_id import ServedFact
from app.errors import DataRefused
from app.inference.loader import load_models
from app.inference.registry import ModelRegistry
from app.store.engine import Database
from app.store.keys import load_or_create
from app.store.outcomes import FeedbackLog
from app.store.predictions import PredictionLog
from app.training.dataset import from_export
from tests.unit.store.stored_rows import id_of, logged
from tests.unit.training.mlflow_stand_in import StandIn

IRIS = load_iris(as_frame=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An installation's environment with the two versions that `train` makes without options."""
    home = tmp_path_factory.mktemp("home")
    environment = {"MODEL_DIR": str(home / "models"), "DATA_DIR": str(home / "data")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        assert main(["train"]) == 0
    return environment


@pytest.fixture
def installation(trained, monkeypatch):
    for name, value in trained.items():
        monkeypatch.setenv(name, value)
    return trained


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.setenv("MODEL_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    return tmp_path


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "iris.csv"
    IRIS.frame.to_csv(path, index=False)
    return path


def test_train_publishes_two_versions_that_models_lists(installation, capsys):
    assert main(["models", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["versions"]
    assert (first["version"], first["aliases"], first["variant"]) == ("v1", ["champion"], "small_samples")
    assert (second["version"], second["aliases"], second["variant"]) == ("v2", ["challenger"], "deep_forest")
    assert first["metrics"]["holdout"]["accuracy"] >= 0.9
    assert first["refused"] is None


def test_models_prints_a_line_for_each_version(installation, capsys):
    assert main(["models"]) == 0
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == ["VERSION", "ALIASES", "ESTIMATOR", "VARIANT", "TRAINED", "RUNTIME", "HOLD-OUT"]
    assert [line.split()[0] for line in lines] == ["v1", "v2"]


def test_a_published_name_is_refused_in_one_line(installation, capsys):
    assert main(["train", "--version", "v1"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: version 'v1' is already published, and versions never change: choose another name\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--dataset", "no_such_file.csv", "--target", "y"], "there is no file no_such_file.csv"),
        (["--dataset", "iriss"], "neither a file nor one of"),
        (["--variant", "nope"], "there is no 'nope'"),
        (["--min-accuracy", "1.0", "--variant", "logistic_regression"], "nothing was published"),
        (["--min-r2", "0.5"], "use --min-accuracy"),
        (["--version", "Not-A-Name"], "is not a version name"),
    ],
)
def test_an_error_is_one_line_and_status_1(empty, capsys, arguments, complaint):
    assert main(["train", *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert complaint in captured.err
    assert captured.err.count("\n") == 1


AWAY = "http://127.0.0.1:1"


def test_a_tracking_server_that_is_away_changes_nothing_but_a_line(empty, monkeypatch, capsys):
    arguments = ["train", "--version", "v1", "--variant", "logistic_regression"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", AWAY)
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith(f"warning: MLflow at {AWAY} lacks all of ")
    assert "lacks all of v1: it refuses connections. Here nothing is missing" in captured.err
    assert "Published v1 in " in captured.out


def test_what_a_tracking_server_missed_is_logged_later_by_publish(empty, monkeypatch, capsys):
    assert main(["train", "--version", "v1", "--variant", "logistic_regression"]) == 0
    server = StandIn()
    capsys.readouterr()
    assert main(["publish", "--to-mlflow", "v1"]) == 1
    assert "MLFLOW_TRACKING_URI is not set" in capsys.readouterr().err
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    assert main(["publish", "--to-mlflow", "v1"]) == 0
    assert capsys.readouterr().out == f"MLflow at {server.uri} has v1\n"
    assert server.aliases == {("bakeoff", "champion"): "1"}
    assert main(["publish", "--to-mlflow"]) == 0
    assert capsys.readouterr().out == f"MLflow at {server.uri} has v1 already\n"
    assert main(["publish", "--to-mlflow", "v7"]) == 1
    assert "v7" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["publish", "--to-mlflow", "v1", "--candidate"])
    server.stop()
    assert main(["publish", "--to-mlflow", "v1"]) == 1
    assert "it refuses connections" in capsys.readouterr().err


def test_a_refusal_stays_the_last_line_and_status_1_with_a_tracking_server(empty, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", AWAY)
    assert main(["train", "--dataset", "no_such_file.csv", "--target", "y"]) == 1
    warning, error = capsys.readouterr().err.splitlines()
    assert warning.startswith(f"warning: MLflow at {AWAY} lacks all of training: ")
    assert error == "error: there is no file no_such_file.csv"


@pytest.mark.parametrize(
    "arguments", [["--min-accuracy", "90"], ["--seed", "-1"], ["--min-r2", "nan"], ["--task", "clustering"]]
)
def test_a_wrong_argument_is_status_2(empty, arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", *arguments])
    assert stop.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_named(empty, monkeypatch, capsys):
    (empty / "file").write_text("")
    monkeypatch.setenv("MODEL_DIR", str(empty / "file" / "models"))
    assert main(["train", "--variant", "logistic_regression", "--version", "a"]) == 1
    assert capsys.readouterr().err.startswith("error: MODEL_DIR: ")


@pytest.fixture
def serving(empty):
    """An installation with one version, of which nothing was served yet."""
    assert main(["train", "--variant", "logistic_regression", "--version", "v1"]) == 0
    return empty


def retrained(capsys, *words):
    capsys.readouterr()
    assert main(["train", "--variant", "conservative", "--candidate", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def states(capsys):
    capsys.readouterr()
    assert main(["models", "--json"]) == 0
    versions = json.loads(capsys.readouterr().out)["versions"]
    return {each["version"]: "candidate" if each["candidate"] else bool(each["retired"]) for each in versions}


def test_a_retrained_version_waits_and_the_same_model_is_not_published_again(serving, capsys):
    (first,) = retrained(capsys)["versions"]
    assert (first["version"], first["alias"]) == ("v2", None)
    assert retrained(capsys) == {"versions": [], "unchanged": "v2"}
    retrained(capsys, "--seed", "7")
    assert states(capsys) == {"v1": False, "v2": True, "v3": "candidate"}
    assert main(["models"]) == 0
    assert "v3 (candidate)" in capsys.readouterr().out


def test_of_several_variants_one_waits(serving, capsys):
    assert main(["train", "--candidate", "--variants", "conservative,logistic_regression", "--top", "2"]) == 1
    assert "one candidate waits at most: add --top 1" in capsys.readouterr().err
    several = ["train", "--candidate", "--variants", "conservative,small_samples", "--json"]
    assert main(several) == 0
    assert [each["version"] for each in json.loads(capsys.readouterr().out)["versions"]] == ["v2"]
    assert main(several) == 0
    assert json.loads(capsys.readouterr().out)["unchanged"] == "v2"
    assert states(capsys) == {"v1": False, "v2": "candidate"}


def labelled(folder, rows, label_every=1):
    """A log of these rows of iris, each served by v1, with the true species of every so-many-th."""
    database = Database(f"sqlite:///{folder / 'data' / 'bakeoff.sqlite'}")
    answers = '{"v1":{"c":0}}'
    values = [[float(value) for value in IRIS.data.iloc[number]] for number in rows]
    log = [
        logged(number, features=json.dumps(row), answers=answers, synthetic=number == rows[0])
        for number, row in zip(rows, values, strict=True)
    ]
    PredictionLog(database).append(log)
    fact = ServedFact(served_at_us=1, version_ordinal=1, epoch=3, counts=True, randomised=True, user_hash=0, answer=0.0)
    told = [Outcome(id_of(n), "actual", int(IRIS.target[n]), fact) for n in rows if n % label_every == 0]
    FeedbackLog(database, lambda: 5).commit([told])
    database.close()


def test_the_log_is_a_data_set_of_its_labelled_rows(serving, capsys):
    labelled(serving, range(150), label_every=2)
    (version,) = retrained(capsys, "--from-log", "--min-accuracy", "0.5")["versions"]
    assert (version["source"]["dataset"], version["source"]["rows"]) == ("log", 74)
    main(["models", "--json"])
    first, second = json.loads(capsys.readouterr().out)["versions"]
    assert (first["dataset"], second["dataset"]) == ("iris", "log")
    assert main(["retire", "--undo", "v2"]) == 0
    registry = ModelRegistry(serving / "models", load_or_create(serving / "data").registry)
    assert load_models(registry).compatible == ("v1", "v2")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--from-log"], "nothing has been logged yet"),
        (["--from-log", "--target", "species"], "leave --target out"),
        (["--from-log", "--missing", "NA"], "leave --missing out"),
        (["--since", "2026-11-01"], "--since needs --from-log"),
    ],
)
def test_a_log_that_cannot_be_trained_on_is_refused(serving, capsys, words, complaint):
    assert main(["train", *words]) == 1
    assert complaint in capsys.readouterr().err


def test_a_log_without_labels_is_refused(serving, capsys):
    labelled(serving, range(20), label_every=50)
    assert main(["train", "--from-log"]) == 1
    assert "none of the 20 predictions in the log of versions that can be compared" in capsys.readouterr().err


def exported(folder, labels, versions=("v1",), columns=("x",)):
    """An export of a row for each label, served by these versions in turn."""
    rows = range(len(labels))
    table = {f"feature.{name}": [float(row) for row in rows] for name in columns}
    table |= {"version": [versions[row % len(versions)] for row in rows], "synthetic": [False] * len(labels)}
    path = folder / "export.parquet"
    pq.write_table(pa.table({**table, "actual": labels}), path)
    return path


def test_rows_of_versions_for_another_task_are_not_trained_on(tmp_path):
    path = exported(tmp_path, ["yes", "3.5", "no", "setosa"], ("v2", "v1"))
    data, rows = from_export(path, {"feature.x": "x"}, "y", ("no", "yes"), ["v2", "v3"])
    assert (data.target.values.tolist(), rows) == (["yes", "no"], 2)


def test_labels_of_a_regression_are_numbers_in_a_log_that_has_classes_too(tmp_path):
    path = exported(tmp_path, ["setosa", "3.5", "setosa", "4"], ("v1", "v2"))
    data, _ = from_export(path, {"feature.x": "x"}, "y", (), ["v2"])
    assert [float(value) for value in data.target.values] == [3.5, 4.0]


@pytest.mark.parametrize(("columns", "classes", "lacks"), [("xz", ("a", "b"), "'z'"), ("x", ("a", "b", "c"), "'c'")])
def test_a_log_without_a_column_or_a_class_of_the_champion_is_refused(tmp_path, columns, classes, lacks):
    with pytest.raises(DataRefused, match=lacks):
        from_export(exported(tmp_path, ["a", "b"]), {f"feature.{x}": x for x in columns}, "y", classes, ["v1"])


def test_models_of_an_empty_registry_says_what_to_run(empty, capsys):
    assert main(["models"]) == 0
    assert "bakeoff train" in capsys.readouterr().out


def test_publish_reports_the_checks_and_the_figures(empty, csv, capsys):
    joblib.dump(DecisionTreeClassifier(random_state=0).fit(IRIS.data, IRIS.target), empty / "model.joblib")
    arguments = [str(empty / "model.joblib"), "--version", "v3", "--reference", str(csv), "--target", "target"]
    assert main(["publish", *arguments]) == 0
    printed = capsys.readouterr().out
    assert "duplicates" in printed
    assert "the reference data given to publish (150 rows): accuracy 1" in printed
    assert "Published v3" in printed


def test_a_changed_file_is_listed_as_refused_with_its_reason(empty, csv, capsys):
    joblib.dump(DecisionTreeClassifier(random_state=0).fit(IRIS.data, IRIS.target), empty / "model.joblib")
    main(["publish", str(empty / "model.joblib"), "--reference", str(csv), "--target", "target", "--json"])
    assert json.loads(capsys.readouterr().out)["versions"][0]["version"] == "v1"
    with (empty / "models" / "v1" / "model.joblib").open("ab") as artefact:
        artefact.write(b"!")
    assert main(["models"]) == 0
    assert "v1 is refused: " in capsys.readouterr().out


@pytest.mark.parametrize("command", ["train", "publish", "models"])
def test_help_needs_no_libraries(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert "--json" in capsys.readouterr().out


def test_damaged_aliases_are_a_warning_that_says_what_to_do(empty, capsys):
    (empty / "models").mkdir()
    (empty / "models" / "aliases.json").write_text("{")
    assert main(["models"]) == 0
    assert "start the API: it writes that file again" in capsys.readouterr().err


def test_a_wrong_setting_is_reported_before_anything_is_loaded(empty, monkeypatch, capsys):
    monkeypatch.setenv("WEB_THREADS", "many")
    monkeypatch.setitem(sys.modules, "app.training.session", None)
    assert main(["train"]) == 1
    assert "WEB_THREADS" in capsys.readouterr().err
