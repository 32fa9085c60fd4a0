"""`bakeoff train --variants`: the table, the published versions, and what is refused."""

import json

import pytest

from app.cli import main


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.setenv("MODEL_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    return tmp_path


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """The printed text of a comparison of three variants, and of another one as JSON into the same registry."""
    home = tmp_path_factory.mktemp("home")
    printed = {}
    with pytest.MonkeyPatch.context() as patch, pytest.MonkeyPatch.context() as output:
        patch.setenv("MODEL_DIR", str(home / "models"))
        patch.setenv("DATA_DIR", str(home / "data"))
        lines = []
        output.setattr("builtins.print", lambda *parts, **_: lines.append(" ".join(map(str, parts))))
        names = "logistic_regression,conservative,small_samples"
        assert main(["train", "--variants", names]) == 0
        printed["text"] = "\n".join(lines)
        lines.clear()
        assert main(["train", "--variants", names, "--top", "1", "--json"]) == 0
        printed["json"] = json.loads("\n".join(lines))
    return printed


def test_the_table_has_every_figure_of_every_variant(compared):
    title, heading, *rows = compared["text"].splitlines()[:5]
    assert "on the 120 training rows" in title
    assert heading.split() == [
        *("VARIANT", "ACCURACY", "PRECISION", "RECALL", "F1", "LOG", "LOSS"),
        *("FIT", "SIZE", "LATENCY", "VERSION"),
    ]
    assert {row.split()[1] for row in rows} == {"logistic_regression", "conservative", "small_samples"}
    assert [row.split()[-1] for row in rows] == ["v1", "v2", "–"]


def test_the_text_says_why_the_published_ones_come_first(compared):
    assert "\nv1 is " in compared["text"]
    assert "Published v1 and v2" in compared["text"]


def test_the_json_has_the_comparison_and_the_published_version(compared):
    data = compared["json"]
    best, *others = data["comparison"]["variants"]
    assert [version["version"] for version in data["versions"]] == ["v3"] == [best["version"]]
    assert all(other["version"] is None for other in others)
    assert best["cross_validated"]["accuracy"] >= 0.9
    assert data["versions"][0]["metrics"]["holdout"]["accuracy"] >= 0.95
    assert data["comparison"]["failed"] == {}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--variants", "deep_forest,nope"], "there is no 'nope'"),
        (["--variants", "deep_forest"], "name at least two"),
        (["--variants", "deep_forest,conservative", "--top", "3"], "--top 3 is more than the 2 variants"),
        (["--variants", "all", "--version", "mine"], "add --top 1"),
        (["--top", "2"], "add --variants"),
    ],
)
def test_an_error_is_one_line_and_status_1(empty, capsys, arguments, complaint):
    assert main(["train", *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert complaint in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--variants", "all", "--variant", "deep_forest"], ["--top", "0"]])
def test_a_wrong_argument_is_status_2(empty, arguments):
    with pytest.raises(SystemExit) as stop:
        main(["train", *arguments])
    assert stop.value.code == 2
