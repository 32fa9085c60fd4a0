"""Training and publishing as two steps, as pipelines take them: gate, publication, candidate; data checks alone."""

from __future__ import annotations

import json

import pytest

from app.cli import main
from app.inference.loader import load_models
from app.inference.registry import ModelRegistry
from app.store.keys import load_or_create


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with an installation's data, and `built/trained`, a version that was trained there."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA_DIR", str(home / "data"))
        patch.setenv("MODEL_DIR", str(home / "models"))
        assert main(["train", "--to", str(home / "built" / "trained"), "--variant", "conservative"]) == 0
    return home


@pytest.fixture
def registry(built, tmp_path, monkeypatch):
    """An empty registry of the installation."""
    monkeypatch.setenv("DATA_DIR", str(built / "data"))
    monkeypatch.setenv("MODEL_DIR", str(tmp_path / "models"))
    return ModelRegistry(tmp_path / "models", load_or_create(built / "data").registry)


@pytest.fixture
def publish(built, registry, capsys):
    def run(*options):
        capsys.readouterr()
        status = main(["publish", str(built / "built" / "trained"), "--json", *options])
        said = capsys.readouterr()
        return status, json.loads(said.out or "{}"), said.err

    return run


def test_it_is_published_as_it_was_trained(publish, registry, built):
    status, said, _ = publish()
    trained = ModelRegistry(built / "built", load_or_create(built / "data").registry).manifest("trained")
    published = registry.manifest("v1")
    assert status == 0
    assert (said["versions"][0]["version"], said["versions"][0]["alias"]) == ("v1", "champion")
    assert (published.model_sha256, published.metrics) == (trained.model_sha256, trained.metrics)
    assert published.source.holdout_rows == trained.source.holdout_rows == 30


def test_the_same_model_is_not_published_twice(publish, registry):
    publish()
    assert publish() == (0, {"versions": [], "unchanged": "v1"}, "")
    assert registry.names() == ("v1",)


def test_a_dry_run_prints_the_figures_and_publishes_nothing(publish, registry):
    status, said, _ = publish("--dry-run")
    assert (status, said["holdout"]["rows"], registry.names()) == (0, 30, ())


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_below_the_gate_nothing_is_published(publish, registry, options):
    status, said, err = publish("--min-accuracy", "1", *options)
    assert status == 1
    assert err.startswith("error: trained (conservative): hold-out accuracy 0.")
    assert registry.names() == ()
    assert ("holdout" in said) == bool(options)


def test_a_gate_of_another_task_is_refused(publish):
    status, _, err = publish("--min-r2", "0.5")
    assert (status, "use --min-accuracy" in err) == (1, True)


def test_a_candidate_waits(publish, registry, tmp_path):
    assert main(["train", "--variant", "logistic_regression", "--version", "v1"]) == 0
    status, said, _ = publish("--candidate")
    assert (status, said["next"].split("`")[1]) == (0, "bakeoff retire --undo v2")
    assert list(load_models(registry).versions) == ["v1"]


def test_a_version_of_another_installation_is_refused(publish, registry, tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "other"))
    status, _, err = publish()
    assert (status, "signed with another deployment's key" in err, registry.names()) == (1, True, ())


@pytest.mark.parametrize(
    "arguments",
    [
        ["publish", "a.joblib", "--candidate", "--reference", "x.csv", "--target", "y"],
        ["publish", "a.joblib", "--min-accuracy", "0.9", "--reference", "x.csv", "--target", "y"],
        ["publish", "--refresh-reference", "v1", "--dry-run"],
    ],
)
def test_gate_and_candidate_need_a_versions_folder(registry, arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "--dry-run" in capsys.readouterr().err


def test_the_data_can_be_checked_alone(registry, tmp_path, capsys):
    table = tmp_path / "rows.csv"
    table.write_text("a,b,kind\n" + "".join(f"{n % 7},{n * n % 11},{'xy'[n % 2]}\n" for n in range(40)))
    assert main(["train", "--check", "--dataset", str(table), "--target", "kind", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["task"], said["data_report"]["rows"], registry.names()) == ("classification", 40, ())
    table.write_text("a,kind\n" + "1,x\n" * 12)
    assert main(["train", "--check", "--dataset", str(table), "--target", "kind"]) == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_training_into_a_folder_publishes_nothing_and_leaves_the_version_alone(built):
    assert [path.name for path in (built / "built").iterdir()] == ["trained"]
    assert not (built / "models").exists()


def test_it_has_no_gate_unless_one_is_given(registry, tmp_path, capsys):
    train = ["train", "--to", str(tmp_path / "t"), "--variant", "conservative"]
    assert main([*train, "--min-accuracy", "1"]) == 1
    assert not (tmp_path / "t").exists()
    assert main(train) == 0
    assert capsys.readouterr().out.endswith(f"Trained. To publish it: `bakeoff publish {tmp_path / 't'}`.\n")


def test_a_version_in_the_folder_is_replaced_and_nothing_else(registry, tmp_path, capsys):
    train = ["train", "--to", str(tmp_path / "t"), "--variant", "logistic_regression"]
    assert [main(train), main(train)] == [0, 0]
    (tmp_path / "t" / "manifest.json").unlink()
    assert main(train) == 1
    assert "was not made by --to: it is not replaced" in capsys.readouterr().err


@pytest.mark.parametrize(
    "manifest", ['{"version": "v3"}', '{"name": "a web page", "version": "1.0"}', "{}", "[1]", "no"]
)
def test_a_published_version_or_anybodys_folder_is_not_replaced(registry, tmp_path, capsys, manifest):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "manifest.json").write_text(manifest)
    assert main(["train", "--to", str(tmp_path / "t"), "--variant", "conservative"]) == 1
    assert (tmp_path / "t" / "manifest.json").read_text() == manifest
    assert "it is not replaced" in capsys.readouterr().err


def test_several_variants_give_the_best_one(registry, tmp_path):
    train = ["train", "--to", str(tmp_path / "t"), "--variants", "logistic_regression,shallow_wide"]
    assert main(train) == 0
    assert main(["publish", str(tmp_path / "t"), "--dry-run"]) == 0
    assert main([*train, "--top", "2"]) == 1
