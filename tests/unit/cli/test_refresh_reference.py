"""`bakeoff publish --refresh-reference`: what it asks for, what it says, and what `bakeoff models` shows afterwards."""

from __future__ import annotations

import json

import pytest

from app.cli import main

REFRESH = ("publish", "--refresh-reference", "v1")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A registry with v1 and v2 of iris, as environment variables."""
    home = tmp_path_factory.mktemp("home")
    settings = {"MODEL_DIR": str(home / "models"), "DATA_DIR": str(home / "data")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        assert main(["train"]) == 0
    return settings


@pytest.fixture
def run(trained, monkeypatch, capsys):
    """Run a command on it, and give the exit status and both outputs."""
    for name, value in trained.items():
        monkeypatch.setenv(name, value)

    def command(*words):
        capsys.readouterr()
        status = main(list(words))
        return (status, *capsys.readouterr())

    return command


def test_a_newer_reference_is_shown_with_what_it_cannot_show_and_when_it_counts(run):
    status, out, _ = run(*REFRESH)
    assert status == 0
    assert "v1 has reference 1 now: 150 rows of iris" in out
    assert "drift: Answers and errors of v1 are not watched" in out
    assert "the monitor then begins the drift of v1 anew" in out
    assert "v1 is compared with reference 1 (150 rows of iris) since" in run("models")[1]
    [first, second] = json.loads(run("models", "--json")[1])["versions"]
    assert (first["reference"]["number"], second["reference"]["number"]) == (1, 0)


def test_as_json_it_is_one_document(run):
    found = json.loads(run(*REFRESH, "--reference-is", "holdout", "--json")[1])
    assert (found["version"], found["rows"], found["dataset"], found["answers_from"]) == ("v1", 150, "iris", "holdout")
    assert found["notes"] == []


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("publish", "model.joblib"), "the following arguments are required: --reference, --target"),
        (("publish",), "the following arguments are required: MODEL, --reference, --target"),
        ((*REFRESH, "--version", "v3"), "takes no MODEL"),
        (("publish", "model.joblib", *REFRESH[1:]), "takes no MODEL"),
    ],
)
def test_arguments_that_do_not_fit_together_are_wrong_usage(run, capsys, words, complaint):
    with pytest.raises(SystemExit) as ended:
        run(*words)
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("publish", "--refresh-reference", "v9"), "there is no version 'v9' in the model registry"),
        ((*REFRESH, "--reference", "nowhere.csv"), "nowhere.csv"),
    ],
)
def test_what_is_not_there_is_named(run, words, complaint):
    status, _, err = run(*words)
    assert (status, complaint in err) == (1, True)
