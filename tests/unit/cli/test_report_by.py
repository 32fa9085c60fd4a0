import json

import msgspec
import pytest

from app.cli import main
from app.cli.breakdown import breakdown_lines
from tests.unit.cli.small_api import small_api
from tests.unit.monitor.broken_down import BrokenDown
from tests.unit.services.control.deciders import report


@pytest.fixture(scope="module")
def found():
    """The answers of the call, by what they are by."""
    made = BrokenDown()
    made.random_traffic(80, seed=2)
    return {by: msgspec.to_builtins(made.breakdown(by)) for by in ("class", "feature:colour")}


@pytest.fixture
def api(monkeypatch, found):
    with small_api() as api:
        monkeypatch.setenv("API_URL", api.url)
        api.answer("/experiment", msgspec.to_builtins(report()))
        for query, by in (("by=class", "class"), ("by=feature%3Acolour&challenger=v2", "feature:colour")):
            api.answer(f"/experiment/e1/breakdown?{query}", found[by])
        yield api


def test_by_class_the_scores_of_both_versions_follow_the_rows(api, capsys):
    assert main(["report", "--by", "class"]) == 0
    shown = capsys.readouterr().out
    assert "accuracy of v2 against v1 by class, exploratory" in shown
    for heading in ("PART", "v1: TRUE CLASS", "v2: TRUE CLASS", "PRECISION", "NO ANSWER"):
        assert heading in shown


def test_by_feature_each_part_is_a_row(api, capsys):
    assert main(["report", "--by", "feature:colour", "--challenger", "v2", "--ascii"]) == 0
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines() if line[:3] in ("red", "gre", "blu", "(ot", "all")] == [
        "red",
        "green",
        "blue",
        "(other)",
        "all",
    ]
    assert shown.isascii()


def test_json_is_the_answer_of_the_call(api, found, capsys):
    assert main(["report", "--by", "class", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(found["class"]))


def test_a_challenger_alone_is_refused(api, capsys):
    assert main(["report", "--challenger", "v2"]) != 0
    assert "--challenger goes with --by" in capsys.readouterr().err


@pytest.mark.parametrize("width", [40, 100])
def test_no_line_is_wider_than_the_terminal(found, width):
    for each in found.values():
        assert max(map(len, breakdown_lines(each, width))) <= width
