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


@pytest.mark.parametrize("option", ["--challenger", "--metric"])
def test_what_goes_with_by_is_refused_alone(api, capsys, option):
    assert main(["report", option, "v2"]) != 0
    assert f"{option} goes with --by" in capsys.readouterr().err


def test_a_secondary_metric_is_asked_for_and_it_is_said_what_the_figures_are_of(api, found, capsys):
    recall = {**found["class"], "metric": "recall", "computed_from": "the newest 64 labelled requests"}
    api.answer("/experiment/e1/breakdown?by=class&metric=recall", recall)
    assert main(["report", "--by", "class", "--metric", "recall"]) == 0
    assert "Computed from the newest 64 labelled requests." in capsys.readouterr().out


@pytest.mark.parametrize("width", [40, 100])
def test_no_line_is_wider_than_the_terminal(found, width):
    for each in found.values():
        assert max(map(len, breakdown_lines(each, width))) <= width
